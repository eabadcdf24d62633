#!/usr/bin/env bash
set -euo pipefail

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# sbatch runs a copy of this script from its spool folder; the checkout is where the job was submitted.
if [ ! -f "$REPOSITORY/main.py" ] && [ -n "${SLURM_SUBMIT_DIR:-}" ]; then
    REPOSITORY=$SLURM_SUBMIT_DIR
fi
# shellcheck source=helper_scripts/environment.sh
. "$REPOSITORY/helper_scripts/environment.sh"
run_python check_and_sync_data.py "$@"
