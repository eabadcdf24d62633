# shellcheck shell=bash
# Sourced by the wrappers: where Python runs. `run_python SCRIPT ARGUMENTS…` starts it in the container that
# SINGULARITY_CONTAINER names, or else in the virtual environment .venv of the checkout, which is made on first use.

# shellcheck source=helper_scripts/project_variables.sh
. "$REPOSITORY/helper_scripts/project_variables.sh"
# shellcheck source=helper_scripts/inside_container.sh
. "$REPOSITORY/helper_scripts/inside_container.sh"
# shellcheck source=helper_scripts/slurm/batch.sh
. "$REPOSITORY/helper_scripts/slurm/batch.sh"
begin_batch

fail() {
    printf 'error: %s\n' "$1" >&2
    exit "${2:-1}"
}

run_python() {
    local script="$REPOSITORY/$1"
    shift
    answer_help "$script" "$@"
    if inside_container; then
        launch python3 "$script" "$@"
    fi
    if [ -n "${SINGULARITY_CONTAINER:-}" ]; then
        if [ -r "$SINGULARITY_CONTAINER" ]; then
            launch "$REPOSITORY/helper_scripts/container.sh" "$script" "$@"
        fi
        printf 'note: SINGULARITY_CONTAINER=%s is not readable; using %s\n' \
            "$SINGULARITY_CONTAINER" "$REPOSITORY/.venv" >&2
    fi
    attend "$REPOSITORY/helper_scripts/setup_environment.sh" --check "$script" "$@" || end_batch $?
    launch "$REPOSITORY/.venv/bin/python" "$script" "$@"
}

# `run_any_python SCRIPT ARGUMENTS…` is for what needs no package, and must work before there is an environment or container:
# any Python that is new enough. Returns where there is none.
run_any_python() {
    local script="$REPOSITORY/$1" python
    shift
    answer_help "$script" "$@"
    for python in "$REPOSITORY/.venv/bin/python" python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            launch "$python" "$script" "$@"
        fi
    done
}

# --help needs no environment: any Python can answer it that can read the code. The container's does where this one cannot.
answer_help() {
    local word
    for word in "${@:2}"; do
        if [ "$word" = --help ] || [ "$word" = -h ]; then
            python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || return 0
            exec python3 "$REPOSITORY/helper_scripts/check_command.py" arguments "$@"
        fi
    done
}
