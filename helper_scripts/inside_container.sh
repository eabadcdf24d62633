# shellcheck shell=bash
# Sourced by what has to choose between the container and .venv. Inside a container the runtime has overwritten
# SINGULARITY_CONTAINER with the image it runs, so ask for its traces.

inside_container() {
    [ -d /.singularity.d ] || [ -n "${APPTAINER_NAME:-}${SINGULARITY_NAME:-}" ]
}
