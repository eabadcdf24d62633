#!/usr/bin/env bash
# Run a script of the checkout in the container image that SINGULARITY_CONTAINER names; the wrappers call it:
#     helper_scripts/container.sh SCRIPT ARGUMENTS…
#
# It becomes the container runtime (exec), so signals and exit codes pass through. Of several tasks that srun starts each
# runs it, so that an image is staged on every node. docs/container.md says what is bound, passed and staged.
set -euo pipefail

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=helper_scripts/container_binds.sh
. "$REPOSITORY/helper_scripts/container_binds.sh"
LOCK_WAIT_SECONDS=1800

fail() {
    printf 'error: %s\n' "$1" >&2
    exit "${2:-1}"
}

say() {
    printf '%s\n' "$*" >&2
}

# --- the image on this node's scratch -------------------------------------------------------------------------------

# A copy is named after the size and the time of its source, so one of another image is never taken for it.
staged_name() {
    local facts
    facts=$(stat -L -c '%s-%Y' "$1") && printf '%s.%s.sif' "$(basename "$1" .sif)" "$facts"
}

is_under() {
    case "$(realpath -m "$1")/" in "$(realpath -m "$2")"/*) ;; *) return 1 ;; esac
}

worth_staging() {
    [ -f "$1" ] && [ "${DIFFLOGIC_STAGE_IMAGE:-yes}" != no ] && [ -n "${SCRATCH_STORAGE_DIR:-}" ] &&
        ! is_under "$1" "$SCRATCH_STORAGE_DIR" &&
        [ "$(realpath -m "$SCRATCH_STORAGE_DIR")" != "$(realpath -m "${PROJECT_STORAGE_DIR:-/}")" ]
}

# Make COPY of SOURCE, unless another job has meanwhile. The lock saves work where it works; what is right where it does
# not are the name of the partial file, which is nobody else's, the checksum and the rename.
stage() {
    local source=$1 copy=$2 partial facts
    mkdir -p "$(dirname "$copy")" || return
    exec 9>"$(dirname "$copy")/.$(basename "$source").lock" || return
    flock -w "$LOCK_WAIT_SECONDS" 9 2>/dev/null || true
    [ ! -f "$copy" ] || return 0
    remove_leftovers "$copy"
    facts=$(stat -L -c '%s %Y' "$source")
    if [ "$(df --output=avail -B1 "$(dirname "$copy")" | tail -n 1)" -le "${facts% *}" ]; then
        say "note: no room for the image in $(dirname "$copy")"
        return 1
    fi
    partial=$copy.$HOSTNAME.$BASHPID.partial
    if [ "$(tee "$partial" <"$source" | sha256sum)" != "$(sha256sum <"$partial")" ] ||
        [ "$(stat -L -c '%s %Y' "$source")" != "$facts" ] || [ "$(stat -c %s "$partial")" != "${facts% *}" ]; then
        rm -f "$partial"
        say "note: the copy of the image differs from $source"
        return 1
    fi
    chmod a+r "$partial"
    sync -f "$partial"
    mv -f "$partial" "$copy"
    say "staged $source to $copy"
}

# Partial files of writers that are gone, and copies of earlier images that no job on this node runs from. On a network
# file system those of other nodes are not seen, so nothing is removed there.
remove_leftovers() {
    local copy=$1 start old pid
    df --local "$(dirname "$copy")" >/dev/null 2>&1 || return 0
    start=$(dirname "$copy")/$(basename "$SINGULARITY_CONTAINER" .sif).
    for old in "$start"*.sif*; do
        # Not those of an image whose name only begins so, as of difflogic.v2.sif beside difflogic.sif.
        [[ ${old#"$start"} =~ ^[0-9]+-[0-9]+\.sif(\..+\.partial)?$ ]] || continue
        case $old in
        *.partial)
            pid=${old%.partial}
            pid=${pid##*.}
            kill -0 "$pid" 2>/dev/null || [ -d "/proc/$pid" ] || rm -f "$old"
            ;;
        *-*.sif) [ "$old" = "$copy" ] || flock -n -x "$old" rm -f "$old" 2>/dev/null || true ;;
        esac
    done
}

# Sets `image` to what is to be run. Bash would look at a signal only after a copy in the foreground.
choose_image() {
    image=$SINGULARITY_CONTAINER
    worth_staging "$image" || return 0
    local copy
    copy=$SCRATCH_STORAGE_DIR/singularity/$(staged_name "$image")
    if [ ! -f "$copy" ]; then
        set -m # a process group of its own, so that the copying ends as a whole
        (stage "$image" "$copy") &
        stager=$!
        set +m
        trap 'stop_staging 75' USR1 TERM
        trap 'stop_staging 130' INT
        wait "$stager" || true
        trap - USR1 TERM INT
    fi
    if [ ! -f "$copy" ]; then
        say "note: the image is not on scratch; using it from $image"
        return 0
    fi
    # Held as long as the container runs: `remove_leftovers` of a later job sees it.
    if exec 8<"$copy"; then
        flock -s -n 8 2>/dev/null || true
        image=$copy
    fi
}

stop_staging() {
    trap '' USR1 TERM INT
    kill -TERM -- "-$stager" 2>/dev/null || true
    wait "$stager" 2>/dev/null || true
    rm -f "$SCRATCH_STORAGE_DIR/singularity/$(staged_name "$SINGULARITY_CONTAINER").$HOSTNAME.$stager.partial"
    say "stopped while the image was copied to scratch; nothing was begun"
    exit "$1"
}

# --- running --------------------------------------------------------------------------------------------------------

has_gpu() {
    command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1
}

# Images that singularity/build.sh made say which lock files they were made from.
warn_of_an_older_image() {
    local built now
    [ "${SLURM_PROCID:-0}" = 0 ] || return 0
    built=$("$runtime" inspect --labels "$image" 2>/dev/null | sed -n 's/^difflogic-tonic.locks: *//p') || return 0
    now=$(cd "$REPOSITORY/requirements" && cat config.lock base.lock torch-cpu.lock torch-cuda.lock | sha256sum | cut -c 1-16)
    [ -z "$built" ] || [ "$built" = "$now" ] ||
        say "warning: $SINGULARITY_CONTAINER was built from other lock files than this checkout has; build it again: singularity/build.sh"
}

# The runtime passes variables on. These would put packages of the host before those of the image.
clean_variables() {
    local entry kept=
    unset PYTHONHOME LD_PRELOAD VIRTUAL_ENV
    while IFS= read -r -d : entry; do
        case $entry in '' | */site-packages | */dist-packages) ;; *) kept=$kept${kept:+:}$entry ;; esac
    done <<<"${PYTHONPATH:-}:"
    export PYTHONPATH=$kept
    [ -n "$kept" ] || unset PYTHONPATH
    # ~/.local is visible inside and would shadow the packages of the image.
    export PYTHONNOUSERSITE=1
}

[ -r "${SINGULARITY_CONTAINER:-}" ] ||
    fail "SINGULARITY_CONTAINER=${SINGULARITY_CONTAINER:-} cannot be read on $HOSTNAME; build it: singularity/build.sh, or correct the path" 5
runtime=$(command -v apptainer || command -v singularity) ||
    fail "SINGULARITY_CONTAINER is set but neither apptainer nor singularity is installed; unset it to use .venv" 2
clean_variables
collect_binds "$@"
choose_image
warn_of_an_older_image
DIFFLOGIC_IMAGE=$(realpath -s "$SINGULARITY_CONTAINER") # for commands that are printed to be used outside
export DIFFLOGIC_IMAGE
options=("${binds[@]}")
if has_gpu; then
    options+=(--nv)
fi
exec "$runtime" --quiet exec "${options[@]}" "$image" python3 "$@"
