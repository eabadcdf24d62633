#!/usr/bin/env bash
# usage: helper_scripts/sync_container_to_remote.sh [IMAGE] [--dry-run] [--verify] [--help]
#
# Bring a container image to REMOTE_PROJECT_STORAGE_DIR/singularity/ on REMOTE_HOST, as its difflogic.sif.
# IMAGE is SINGULARITY_CONTAINER, or else singularity/difflogic.sif of the checkout, if it is not given.
#
# The image there is replaced when the new one is complete; jobs that are running keep the old one. An interrupted transfer
# goes on where it was.
#
#   --dry-run   only say what would be sent
#   --verify    compare all bytes, not size and time
#   SYNC_KBYTES_PER_SECOND=N limits the speed.
set -euo pipefail
# shellcheck source=helper_scripts/sync_functions.sh
. "$(dirname "${BASH_SOURCE[0]}")/sync_functions.sh"

DRY_RUN=
image=
options=()
for word in "$@"; do
    case $word in
    -h | --help) show_help ;;
    --dry-run) DRY_RUN=yes ;;
    --verify) options=(--checksum) ;;
    -*) fail "unknown argument $word; see $NAME --help" 2 ;;
    *)
        [ -z "$image" ] || fail "one image at a time; see $NAME --help" 2
        image=$word
        ;;
    esac
done

read_settings
need_absolute REMOTE_PROJECT_STORAGE_DIR "project storage on the cluster"
if [ -z "$image" ]; then
    image=${SINGULARITY_CONTAINER:-$REPOSITORY/singularity/difflogic.sif} # what singularity/build.sh makes
fi
[ -f "$image" ] && [ -r "$image" ] || fail "$image: no such image; build it with singularity/build.sh, or name one" 2
connect

target=$REMOTE_PROJECT_STORAGE_DIR/singularity
make_folder "$target"
run_rsync "$image" --perms "${options[@]}" "$image" "$HOST:$target/difflogic.sif"
if [ -n "$DRY_RUN" ]; then
    if [ "$N_FILES" -eq 0 ]; then
        say "nothing to send: $HOST:$target/difflogic.sif is this image"
    else
        say "would send $image to $HOST:$target/difflogic.sif"
    fi
    exit 0
fi
say "$N_FILES files sent ($(size_text "$N_BYTES")): $HOST:$target/difflogic.sif"
say "there: export SINGULARITY_CONTAINER=$(quoted "$target/difflogic.sif")"
