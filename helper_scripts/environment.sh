# shellcheck shell=bash
# Sourced by the wrappers: where Python runs. `run_python SCRIPT ARGUMENTS…` starts it in the container that
# SINGULARITY_CONTAINER names, or else in the virtual environment .venv of the checkout, which is made on first use.

fail() {
    printf 'error: %s\n' "$1" >&2
    exit "${2:-1}"
}

# Inside a container the runtime has overwritten SINGULARITY_CONTAINER with the image it runs, so ask for its traces.
inside_container() {
    [ -d /.singularity.d ] || [ -n "${APPTAINER_NAME:-}${SINGULARITY_NAME:-}" ]
}

run_python() {
    local script="$REPOSITORY/$1"
    shift
    answer_help "$script" "$@"
    if inside_container; then
        exec python3 "$script" "$@"
    fi
    if [ -n "${SINGULARITY_CONTAINER:-}" ]; then
        if [ -r "$SINGULARITY_CONTAINER" ]; then
            run_in_container "$script" "$@"
        fi
        printf 'note: SINGULARITY_CONTAINER=%s is not readable; using %s\n' \
            "$SINGULARITY_CONTAINER" "$REPOSITORY/.venv" >&2
    fi
    "$REPOSITORY/helper_scripts/setup_environment.sh" --check "$script" "$@" || exit
    exec "$REPOSITORY/.venv/bin/python" "$script" "$@"
}

# --help needs no environment: any Python can answer it.
answer_help() {
    local word
    for word in "${@:2}"; do
        if [ "$word" = --help ] || [ "$word" = -h ]; then
            exec python3 "$REPOSITORY/helper_scripts/check_command.py" arguments "$@"
        fi
    done
}

run_in_container() {
    local runtime place
    runtime=$(command -v apptainer || command -v singularity) ||
        fail "SINGULARITY_CONTAINER is set but neither apptainer nor singularity is installed; unset it to use .venv" 2
    local -a options=(--bind "$REPOSITORY")
    for place in "${PROJECT_STORAGE_DIR:-}" "${SCRATCH_STORAGE_DIR:-}"; do
        if [ -n "$place" ]; then
            mkdir -p "$place" || fail "storage place $place cannot be made; check PROJECT_STORAGE_DIR and SCRATCH_STORAGE_DIR" 5
            options+=(--bind "$place")
        fi
    done
    if command -v nvidia-smi >/dev/null 2>&1; then
        options+=(--nv)
    fi
    # ~/.local is visible inside and would shadow the packages of the image.
    export PYTHONNOUSERSITE=1
    exec "$runtime" exec "${options[@]}" "$SINGULARITY_CONTAINER" python3 "$@"
}
