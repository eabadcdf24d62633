# shellcheck shell=bash
# The one place of what is particular to you and your cluster. Source it (`source helper_scripts/project_variables.sh`);
# the wrappers, helper_scripts/sync_*.sh and helper_scripts/slurm/*.sh do so themselves.
#
# Keep your values out of version control: copy this file to helper_scripts/project_variables.local.sh, which git
# ignores, and fill them in there, between `:=` and `}`. What the environment already says wins over both files.
# PROJECT_VARIABLES=FILE names another file in place of the local one; /dev/null leaves it out.

if [ -z "${_project_variables_reading:-}" ]; then
    _project_variables_reading=1
    _project_variables_local=${PROJECT_VARIABLES:-$(dirname "${BASH_SOURCE[0]:-$0}")/project_variables.local.sh}
    if [ -r "$_project_variables_local" ]; then
        # shellcheck source=/dev/null
        . "$_project_variables_local"
    elif [ -n "${PROJECT_VARIABLES:-}" ]; then
        printf 'warning: PROJECT_VARIABLES=%s cannot be read: no settings are taken from it\n' "$PROJECT_VARIABLES" >&2
    fi
    unset _project_variables_local _project_variables_reading
fi

# This machine: absolute paths. Project storage persists; scratch is fast and may be wiped at any time.
: "${PROJECT_STORAGE_DIR:=}"     # e.g. /project/$USER/difflogic-tonic; empty: ./storage of the checkout
: "${SCRATCH_STORAGE_DIR:=}"     # e.g. /scratch/$USER/difflogic-tonic; empty: the same place as project storage
: "${SINGULARITY_CONTAINER:=}"   # e.g. $PROJECT_STORAGE_DIR/singularity/difflogic.sif; empty: .venv of the checkout

# The cluster, as seen from your own machine.
: "${REMOTE_HOST:=}"                  # host name, or a Host of your ssh config
: "${REMOTE_USER:=}"                  # empty: what your ssh config says
: "${REMOTE_CODE_DIR:=}"              # the checkout there, an absolute path
: "${REMOTE_PROJECT_STORAGE_DIR:=}"   # PROJECT_STORAGE_DIR there
: "${REMOTE_SSH_CONFIG:=}"            # an ssh config file of its own (ssh -F); empty: the usual one

# SLURM. These are variables of sbatch itself: they win over the #SBATCH lines, and the command line over them.
: "${SBATCH_PARTITION:=}"   # e.g. gpu,preempt
: "${SBATCH_ACCOUNT:=}"
: "${SBATCH_QOS:=}"
: "${SBATCH_GRES:=}"        # e.g. gpu:1
: "${SBATCH_TIMELIMIT:=}"   # e.g. 4:00:00

# An empty variable would mean something else to sbatch and the container runtime than an unset one.
for _project_variable in PROJECT_STORAGE_DIR SCRATCH_STORAGE_DIR SINGULARITY_CONTAINER \
    REMOTE_HOST REMOTE_USER REMOTE_CODE_DIR REMOTE_PROJECT_STORAGE_DIR REMOTE_SSH_CONFIG \
    SBATCH_PARTITION SBATCH_ACCOUNT SBATCH_QOS SBATCH_GRES SBATCH_TIMELIMIT; do
    if eval "[ -n \"\$$_project_variable\" ]"; then
        export "${_project_variable?}"
    else
        unset "$_project_variable"
    fi
done
unset _project_variable
