#!/usr/bin/env bash
# Prepare a dataset and then train on it, as two jobs; the second is cancelled if the first fails.
#
#   helper_scripts/slurm/prepare_and_train.sh PREPARE_CONFIG CONFIG JOB_ID [ARGUMENTS OF train.sh …]
#
# PREPARE_TASKS=8 prepares with an array of 8 jobs side by side. Partition, account and the like are taken from
# helper_scripts/project_variables.sh; more in PREPARE_OPTIONS and TRAIN_OPTIONS, e.g. TRAIN_OPTIONS="--gres=gpu:1".
set -euo pipefail

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=helper_scripts/project_variables.sh
. "$REPOSITORY/helper_scripts/project_variables.sh"

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

case ${1:-} in -h | --help)
    usage
    exit 0
    ;;
esac
if [ $# -lt 3 ]; then
    usage >&2
    exit 2
fi
case ${PREPARE_TASKS:-1} in *[!0-9]* | 0*) fail "PREPARE_TASKS=$PREPARE_TASKS: expected a number from 1" ;; esac
command -v sbatch >/dev/null || fail "there is no sbatch here; run ./prepare_data.sh $1, then ./train.sh ${*:2}"
prepare=$1
shift
read -r -a first <<<"${PREPARE_OPTIONS:-}"
read -r -a second <<<"${TRAIN_OPTIONS:-}"
[ -z "${PREPARE_TASKS:-}" ] || first+=(--array="1-$PREPARE_TASKS")

job=$(sbatch --parsable ${first[@]+"${first[@]}"} "$REPOSITORY/prepare_data.sh" "$prepare")
job=${job%%;*}
printf 'prepare: job %s\n' "$job"
train=$(sbatch --parsable --dependency="afterok:$job" --kill-on-invalid-dep=yes ${second[@]+"${second[@]}"} \
    "$REPOSITORY/train.sh" "$@")
printf 'train: job %s, when %s has ended well\n' "${train%%;*}" "$job"
