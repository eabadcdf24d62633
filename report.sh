#!/usr/bin/env bash
set -euo pipefail

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# sbatch runs a copy of this script from its spool folder; the checkout is where the job was submitted.
if [ ! -f "$REPOSITORY/main.py" ] && [ -n "${SLURM_SUBMIT_DIR:-}" ]; then
    REPOSITORY=$SLURM_SUBMIT_DIR
fi
if [ ! -f "$REPOSITORY/main.py" ]; then
    printf 'error: %s is no checkout of this project; submit the script from one: cd CHECKOUT && sbatch report.sh …\n' "$REPOSITORY" >&2
    exit 2
fi
# shellcheck source=helper_scripts/environment.sh
. "$REPOSITORY/helper_scripts/environment.sh"
run_python report.py "$@"
