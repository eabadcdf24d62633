#!/usr/bin/env bash
# Also a job script, from any folder: sbatch [--partition=… --gres=gpu:1 --time=4:00:00 …] check_and_sync_data.sh …
# Options of sbatch on the command line win over these; see helper_scripts/slurm/README.md.
#SBATCH --job-name=sync
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
    REPOSITORY=$(scontrol show job "${SLURM_JOB_ID:-}" 2>/dev/null | sed -n 's|^ *Command=\(/.*\)/check_and_sync_data\.sh.*|\1|p' | head -n 1) || true
    [ -f "$REPOSITORY/main.py" ] || REPOSITORY=$SLURM_SUBMIT_DIR
fi
if [ ! -f "$REPOSITORY/main.py" ]; then
    printf 'error: %s is no checkout of this project; submit the script from one: sbatch CHECKOUT/check_and_sync_data.sh …\n' "$REPOSITORY" >&2
    exit 2
fi
# shellcheck source=helper_scripts/environment.sh
. "$REPOSITORY/helper_scripts/environment.sh"
if [ "${1:-}" = doctor ]; then
    run_any_python check_and_sync_data.py "$@"
fi
run_python check_and_sync_data.py "$@"
