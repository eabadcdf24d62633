#!/usr/bin/env bash
# Train every run of a sweep: as a SLURM job array, or here, one after another.
#
#   helper_scripts/slurm/sweep.sh SWEEP.yaml [--dry-run] [--local] [--max-parallel N] [-- OPTIONS OF SBATCH]
#
#   --dry-run         print what would be submitted or run
#   --local           no SLURM: run them here; a second call goes on where the first was stopped
#   --max-parallel N  at most N tasks of the array at a time
#
# What a sweep file holds: helper_scripts/slurm/sweep_tasks.py. Example: configs/sweeps/digits_seeds.yaml
set -euo pipefail

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=helper_scripts/project_variables.sh
. "$REPOSITORY/helper_scripts/project_variables.sh"
# shellcheck source=helper_scripts/inside_container.sh
. "$REPOSITORY/helper_scripts/inside_container.sh"

fail() {
    printf 'error: %s\n' "$1" >&2
    exit "${2:-2}"
}

sweep='' dry=no here=no parallel=''
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry=yes ;;
    --local) here=yes ;;
    --max-parallel)
        parallel=${2:-}
        case $parallel in '' | *[!0-9]* | 0*) fail "--max-parallel: expected a number from 1, found '$parallel'" ;; esac
        shift
        ;;
    -h | --help)
        sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    --)
        shift
        break
        ;;
    -*) fail "unknown option $1; see helper_scripts/slurm/sweep.sh --help" ;;
    *)
        [ -z "$sweep" ] || fail "one sweep file at a time; options of sbatch come after --"
        sweep=$1
        ;;
    esac
    shift
done
[ -n "$sweep" ] || fail "no sweep file; e.g. helper_scripts/slurm/sweep.sh configs/sweeps/digits_seeds.yaml --dry-run"

list_tasks() {
    local script=$REPOSITORY/helper_scripts/slurm/sweep_tasks.py
    if inside_container; then
        python3 "$script" "$sweep"
    elif [ -r "${SINGULARITY_CONTAINER:-}" ]; then
        "$REPOSITORY/helper_scripts/container.sh" "$script" "$sweep"
    else
        "$REPOSITORY/helper_scripts/setup_environment.sh" || return
        "$REPOSITORY/.venv/bin/python" "$script" "$sweep"
    fi
}

tasks=$(list_tasks) || exit
n=$(wc -l <<<"$tasks")

if [ "$here" = yes ]; then
    failed=0
    while IFS= read -r -u 3 task; do
        words=()
        eval "words=($task)"
        printf './train.sh %s\n' "$task"
        [ "$dry" = no ] || continue
        code=0
        "$REPOSITORY/train.sh" "${words[@]}" || code=$?
        case $code in
        0) ;;
        75 | 130) exit "$code" ;; # somebody wants all of it to stop
        *) failed=$((failed + 1)) ;;
        esac
    done 3<<<"$tasks"
    [ "$failed" -eq 0 ] || fail "$failed of $n runs failed" 1
    exit 0
fi

list=${PROJECT_STORAGE_DIR:-${SCRATCH_STORAGE_DIR:-$REPOSITORY/storage}}/slurm/sweep-$(cksum <<<"$tasks" | cut -d ' ' -f 1).txt
command=(sbatch --parsable --array="1-$n${parallel:+%$parallel}" --job-name="$(basename "$sweep" .yaml)" "$@"
    "$REPOSITORY/helper_scripts/slurm/array_task.sh" "$REPOSITORY" "$list")
if [ "$dry" = yes ]; then
    printf '%q ' "${command[@]}"
    printf '\n'
    printf '%s\n' "$tasks"
    exit 0
fi
command -v sbatch >/dev/null || fail "there is no sbatch here; add --local to train the $n runs one after another"
mkdir -p "$(dirname "$list")"
printf '%s\n' "$tasks" >"$list.$$"
mv "$list.$$" "$list"
job=$("${command[@]}") || exit
printf 'submitted %s runs as job %s; watch: squeue -j %s; what each does: %s\n' "$n" "${job%%;*}" "${job%%;*}" "$list"
