#!/usr/bin/env bash
# Also a job script, from any folder: sbatch [--partition=… --gres=gpu:1 --time=4:00:00 …] prepare_data.sh CONFIG …
# Options of sbatch on the command line win over these; see helper_scripts/slurm/README.md.
#SBATCH --job-name=prepare
#SBATCH --output=slurm-%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --cpus-per-task=4
set -euo pipefail
[ -z "${SLURM_JOB_ID:-}" ] || trap 'batch_signal=TERM' USR1 TERM # until helper_scripts/slurm/batch.sh takes over

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# sbatch runs a copy of this script from its spool folder: SLURM knows where it came from.
if [ ! -f "$REPOSITORY/main.py" ] && [ -n "${SLURM_SUBMIT_DIR:-}" ]; then
    REPOSITORY=$(scontrol show job "${SLURM_JOB_ID:-}" 2>/dev/null | sed -n 's|^ *Command=\(/.*\)/prepare_data\.sh.*|\1|p' | head -n 1) || true
    [ -f "$REPOSITORY/main.py" ] || REPOSITORY=$SLURM_SUBMIT_DIR
fi
if [ ! -f "$REPOSITORY/main.py" ]; then
    printf 'error: %s is no checkout of this project; submit the script from one: sbatch CHECKOUT/prepare_data.sh …\n' "$REPOSITORY" >&2
    exit 2
fi
# shellcheck source=helper_scripts/environment.sh
. "$REPOSITORY/helper_scripts/environment.sh"
# Tasks 1 to N of a job array each prepare a part: sbatch --array=1-N prepare_data.sh CONFIG
if [ "${SLURM_ARRAY_TASK_MIN:-0}" = 1 ] && [ "$SLURM_ARRAY_TASK_COUNT" -gt 1 ] && [[ " $* " != *" --shard"* ]]; then
    set -- "$@" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
fi
run_python prepare_data.py "$@"
