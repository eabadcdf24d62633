#!/usr/bin/env bash
# usage: helper_scripts/sync_code_to_remote.sh [--dry-run] [--help]
#
# Bring this checkout to REMOTE_CODE_DIR on REMOTE_HOST: every file but what .gitignore and sync_exclude.txt name.
#
# Of what lies there only files are removed that an earlier call sent and that are no more here; so logs, storage, .venv and
# whatever else a job or you put there stay. Each file is replaced whole, all near the end of the transfer. A job that is
# running keeps what it has imported, but may import the rest from the new code: where that matters, wait for it or name
# another REMOTE_CODE_DIR.
#
#   --dry-run   only list what would be sent and removed
#   SYNC_KBYTES_PER_SECOND=N limits the speed.
set -euo pipefail
# shellcheck source=helper_scripts/sync_functions.sh
. "$(dirname "${BASH_SOURCE[0]}")/sync_functions.sh"

SENT=.synced-files # at the other end: what the last call sent, one path a line

DRY_RUN=
for word in "$@"; do
    case $word in
    -h | --help) show_help ;;
    --dry-run) DRY_RUN=yes ;;
    *) fail "unknown argument $word; see $NAME --help" 2 ;;
    esac
done

read_settings
need_absolute REMOTE_CODE_DIR "the checkout on the cluster"
[ "$REMOTE_CODE_DIR" != "" ] || fail "REMOTE_CODE_DIR=/: expected a folder of its own" 2
connect
make_folder "$REMOTE_CODE_DIR"

mkdir "$WORK/nothing"
"${RSYNC[@]}" -8 --dry-run --out-format='%n' --filter=':- .gitignore' --exclude-from="$HELPERS/sync_exclude.txt" \
    "$REPOSITORY/" "$WORK/nothing/" | grep -v '/$' >"$WORK/here"
remote "cat -- $(quoted "$REMOTE_CODE_DIR/$SENT") 2>/dev/null || true" >"$WORK/before"
LC_ALL=C sort -u "$WORK/before" | awk '!/^\// && !/(^|\/)\.\.(\/|$)/' >"$WORK/sent"
LC_ALL=C sort -u "$WORK/here" >"$WORK/names"
# What was sent once and is still here, but on a list now, is left alone there.
LC_ALL=C comm -13 "$WORK/names" "$WORK/sent" | while IFS= read -r path; do
    if [ ! -e "$REPOSITORY/$path" ] && [ ! -L "$REPOSITORY/$path" ]; then
        printf '%s\n' "$path"
    fi
done >"$WORK/gone"
cat "$WORK/gone" >>"$WORK/names"

run_rsync "code" --perms --delay-updates --files-from="$WORK/names" --delete-missing-args \
    "$REPOSITORY/" "$HOST:$REMOTE_CODE_DIR/"
if [ -n "$DRY_RUN" ]; then
    listed
    say "would send $N_FILES files to $HOST:$REMOTE_CODE_DIR"
    exit 0
fi
removed=$(grep -c '\*deleting' "$WORK/files" || true)
sent=$N_FILES
bytes=$N_BYTES
if ! cmp -s "$WORK/here" "$WORK/before"; then # written last: an interrupted call removes less, never more
    cp "$WORK/here" "$WORK/$SENT"
    run_rsync "the list of files" "$WORK/$SENT" "$HOST:$REMOTE_CODE_DIR/"
fi
say "$sent files sent ($(size_text "$bytes")), $removed removed at $HOST:$REMOTE_CODE_DIR"
