#!/usr/bin/env bash
# One task of a job array: `train.sh` with the words in line SLURM_ARRAY_TASK_ID of a file. Submitted by sweep.sh:
#   sbatch --array=1-N array_task.sh REPOSITORY FILE
#SBATCH --output=slurm-%x-%A_%a.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --cpus-per-task=4
set -euo pipefail

REPOSITORY=$1
line=$(sed -n "${SLURM_ARRAY_TASK_ID:?submit this with sbatch --array}p" "$2")
if [ -z "$line" ]; then
    printf 'error: %s has no line %s; submit the sweep again\n' "$2" "$SLURM_ARRAY_TASK_ID" >&2
    exit 2
fi
words=()
eval "words=($line)"
exec "$REPOSITORY/train.sh" "${words[@]}"
