#!/usr/bin/env bash
# Build the container image: singularity/build.sh [OPTIONS] [IMAGE]; --help lists the options.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
DEFINITION=singularity/difflogic.def

usage() {
    cat <<'END'
usage: singularity/build.sh [OPTIONS] [IMAGE]

Build IMAGE from singularity/difflogic.def and requirements/*.lock, run its test, and put it in place when both succeeded.
IMAGE is a new .sif file; default: SINGULARITY_CONTAINER, else singularity/difflogic.sif of the checkout. An image that is
there is replaced at the end, at once.

options:
  --base SOURCE   base in place of the pinned one: a .sif or .sqsh file, a folder with a root file system, or a URI such as
                  docker://python:3.11-slim-bookworm. It needs Python >= 3.11 with venv; without a gcc, apt-get too
  --torch WHICH   cuda (default) or cpu: which of requirements/torch-*.lock
  --compress NAME how the image is compressed: gzip (default), zstd, lz4 (fast to build, about a third larger)
  --no-test       leave out the test at the end
  --remote        let the remote builder build it that `singularity remote login` names (SingularityCE; Apptainer has none)
  --help          this text

As an ordinary user it builds with --fakeroot, for which the user needs a line in /etc/subuid and /etc/subgid, or a kernel
with unprivileged user namespaces. pip's settings on this machine (pip.conf, PIP_*) hold inside, too.
The build needs about 15 GB in TMPDIR (or APPTAINER_TMPDIR) for CUDA, 4 GB for a CPU.
END
}

fail() {
    printf 'error: %s\n' "$1" >&2
    exit "${2:-1}"
}

say() {
    printf '%s\n' "$*" >&2
}

# Bootstrap and From of the header for one --base.
name_base() {
    local base=$1
    if [ -e "$base" ]; then
        build_arguments+=(--build-arg BOOTSTRAP=localimage --build-arg "FROM=$(realpath "$base")")
        return
    fi
    case $base in
    *://*) build_arguments+=(--build-arg "BOOTSTRAP=${base%%://*}" --build-arg "FROM=${base#*://}") ;;
    *) fail "--base $base: no such file or folder; expected one, or a URI such as docker://NAME" 2 ;;
    esac
}

find_runtime() {
    command -v apptainer || command -v singularity ||
        fail "neither apptainer nor singularity is installed; build on a machine that has one (apptainer.org/docs/admin), then copy the image" 2
}

# pip's settings of this machine go to a folder that is bound at /mnt during the build.
bind_pip_settings() {
    local python bind
    python=$(command -v python3) || return 0
    mkdir "$work/mnt"
    "$python" "$ROOT/singularity/pip_settings.py" "$work/mnt" >"$work/binds" || exit # it has said why
    build_arguments+=(--bind "$work/mnt:/mnt")
    while IFS= read -r bind; do
        [ -z "$bind" ] || build_arguments+=(--bind "$bind")
    done <"$work/binds"
}

# Not through a pipe to grep -q, which would end the runtime by SIGPIPE.
builds_with() {
    case $("$runtime" build --help 2>/dev/null) in *"$1"*) ;; *) return 1 ;; esac
}

choose_mode() {
    if [ "$remote" = yes ]; then
        builds_with --remote ||
            fail "--remote: this is $("$runtime" --version), which has no remote builder; build on another machine and copy the image: helper_scripts/sync_container_to_remote.sh" 2
        [ -z "$base" ] || [ ! -e "$base" ] || fail "--remote: the builder cannot see $base; give a URI, or build here without --remote" 2
        build_arguments+=(--remote)
        return
    fi
    bind_pip_settings
    if [ "$(id -u)" -ne 0 ]; then
        build_arguments+=(--fakeroot)
    fi
}

image='' base='' torch=cuda compress='' remote=no
build_arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h)
        usage
        exit 0
        ;;
    --base | --torch | --compress)
        [ $# -ge 2 ] || fail "$1 needs a value; see singularity/build.sh --help" 2
        declare "${1#--}=$2"
        shift
        ;;
    --no-test) build_arguments+=(--notest) ;;
    --remote) remote=yes ;;
    -*) fail "unknown option $1; see singularity/build.sh --help" 2 ;;
    *)
        [ -z "$image" ] || fail "two images, $image and $1; expected one" 2
        image=$1
        ;;
    esac
    shift
done

case $torch in cuda | cpu) ;; *) fail "--torch $torch: expected cuda or cpu" 2 ;; esac
case $compress in '' | gzip | zstd | lz4) ;; *) fail "--compress $compress: expected gzip, zstd or lz4" 2 ;; esac
image=${image:-${SINGULARITY_CONTAINER:-$ROOT/singularity/difflogic.sif}}
case $image in *.sif) ;; *) fail "$image: the image is a file whose name ends in .sif" 2 ;; esac
[ ! -d "$image" ] || fail "$image is a folder; the image is a file whose name ends in .sif" 2
[ -z "$base" ] || name_base "$base"
build_arguments+=(--build-arg "TORCH=$torch")
[ -z "$compress" ] || build_arguments+=(--mksquashfs-args "-comp $compress")
runtime=$(find_runtime)
builds_with --build-arg ||
    fail "$("$runtime" --version) cannot build it: this takes Apptainer 1.2, SingularityCE 4.0 or newer; older ones can run the image" 2

mkdir -p "$(dirname "$image")" || fail "$(dirname "$image") cannot be made; name another image: singularity/build.sh IMAGE" 5
image=$(realpath -m "$image")
partial=$image.$HOSTNAME.$$.partial.sif
work=$(mktemp -d)
trap 'rm -rf "$work" "$partial"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
choose_mode

say "building $image with $("$runtime" --version)"
cd "$ROOT"
"$runtime" build "${build_arguments[@]}" "$partial" "$DEFINITION" >&2 ||
    fail "$runtime build failed (see above); nothing was changed. Without rights for --fakeroot, build on a machine of your own; without a network, give a local --base"
sync -f "$partial"
mv -f "$partial" "$image"
say "built $image ($(du -h "$image" | cut -f1))"
say "next: export SINGULARITY_CONTAINER=$(printf %q "$image") and run ./train.sh, or copy it: helper_scripts/sync_container_to_remote.sh"
