#!/usr/bin/env bash
# usage: helper_scripts/sync_logs_from_remote.sh [JOB_ID]... [--models] [--to FOLDER] [--dry-run] [--help]
#
# Fetch run folders (metrics, TensorBoard curves, logs, summaries) of all jobs, or of those named, from
# REMOTE_PROJECT_STORAGE_DIR/runs on REMOTE_HOST, and the slurm-*.out of REMOTE_CODE_DIR, into FOLDER: runs/, slurm/.
# FOLDER is from_remote/ in project storage if it is not given. Nothing is removed, there or here.
#
#   --models    also models/: the trained models
#   --dry-run   only list what would be fetched
#   SYNC_KBYTES_PER_SECOND=N limits the speed.
#
# Then: .venv/bin/tensorboard --logdir FOLDER/runs
set -euo pipefail
# shellcheck source=helper_scripts/sync_functions.sh
. "$(dirname "${BASH_SOURCE[0]}")/sync_functions.sh"

DRY_RUN=
parts=(runs)
jobs=()
to=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) show_help ;;
    --dry-run) DRY_RUN=yes ;;
    --models) parts+=(models) ;;
    --to)
        [ $# -gt 1 ] || fail "--to needs a folder; see $NAME --help" 2
        to=$2
        shift
        ;;
    -*) fail "unknown argument $1; see $NAME --help" 2 ;;
    *)
        [[ $1 =~ ^[A-Za-z0-9._][A-Za-z0-9._-]*$ && $1 != . && $1 != .. ]] ||
            fail "job id '$1': expected letters, digits, '.', '_' or '-'" 2
        jobs+=("$1")
        ;;
    esac
    shift
done

read_settings
need_absolute REMOTE_PROJECT_STORAGE_DIR "project storage on the cluster"
to=${to:-${PROJECT_STORAGE_DIR:-${SCRATCH_STORAGE_DIR:-$REPOSITORY/storage}}/from_remote}
connect

# Of the named jobs everything, of others nothing; without names everything.
filters=(--exclude='*.tmp-*' --exclude='.*.lock' --exclude='.*.lease*')
for job in "${jobs[@]}"; do
    filters+=(--include="/$job/" --include="/$job/**")
done
[ ${#jobs[@]} -eq 0 ] || filters+=(--exclude='*')

fetched=0 bytes=0
fetch() {
    local what=$1 source=$2 target=$3
    shift 3
    grep -qxF -- "$source" "$WORK/folders" || return 0
    [ -n "$DRY_RUN" ] || mkdir -p "$target" 2>/dev/null || fail "$target cannot be made; name another folder with --to" 5
    run_rsync "$what" "$@" "$HOST:$source/" "$target/"
    fetched=$((fetched + N_FILES)) bytes=$((bytes + N_BYTES))
    [ -z "$DRY_RUN" ] || listed | sed "s/would send/would fetch $what:/"
}

places=("$REMOTE_PROJECT_STORAGE_DIR" "${parts[@]/#/$REMOTE_PROJECT_STORAGE_DIR/}" "${jobs[@]/#/$REMOTE_PROJECT_STORAGE_DIR/runs/}" ${REMOTE_CODE_DIR:+"${REMOTE_CODE_DIR%/}"})
words=$(for place in "${places[@]}"; do quoted "$place" && printf ' '; done)
remote "for place in $words; do if [ -d \"\$place\" ]; then printf '%s\n' \"\$place\"; fi; done" >"$WORK/folders"
grep -qxF -- "$REMOTE_PROJECT_STORAGE_DIR" "$WORK/folders" ||
    fail "$HOST has no folder $REMOTE_PROJECT_STORAGE_DIR; check REMOTE_PROJECT_STORAGE_DIR" 2
for job in "${jobs[@]}"; do
    grep -qxF -- "$REMOTE_PROJECT_STORAGE_DIR/runs/$job" "$WORK/folders" ||
        fail "$HOST has no job $job in $REMOTE_PROJECT_STORAGE_DIR/runs; nothing was fetched" 2
done
for part in "${parts[@]}"; do
    fetch "$part" "$REMOTE_PROJECT_STORAGE_DIR/$part" "$to/$part" "${filters[@]}"
done
if [ ${#jobs[@]} -eq 0 ] && [ -n "${REMOTE_CODE_DIR:-}" ]; then
    fetch slurm "${REMOTE_CODE_DIR%/}" "$to/slurm" --dirs --no-recursive --include='/slurm-*.out' --exclude='*'
fi
if [ -n "$DRY_RUN" ]; then
    say "would fetch $fetched files into $to"
else
    say "$fetched files fetched ($(size_text "$bytes")) into $to"
fi
