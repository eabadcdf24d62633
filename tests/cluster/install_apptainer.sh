#!/usr/bin/env bash
# Install Apptainer on Debian, as root, for the tests of the container: tests/cluster/install_apptainer.sh
#
# Installs nothing where there is an apptainer or singularity already. Debian 12 has none in its release: then the binary comes
# from the unstable suite of the mirror that apt is configured for, with the C library of that suite beside it, which only
# these binaries use. Mirrors and keys are those of the machine; nothing else of that suite is installed.
set -euo pipefail

LIBC=/usr/local/lib/apptainer-libc
SUITE=sid
TESTER=difflogic-tester
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
export DEBIAN_FRONTEND=noninteractive

fail() {
    printf 'error: Apptainer cannot be installed: %s\n' "$1" >&2
    exit 1
}

# What the tests need beside it: programs, Debian's Python for their base image, a user without privileges (root without
# all capabilities cannot build) and /dev/fuse, which some virtual machines keep for root.
prepare_machine() {
    local packages=(squashfs-tools squashfuse fuse3 uidmap patchelf libseccomp2 libsqlite3-0 python3 python3-venv)
    if ! dpkg-query -W "${packages[@]}" >/dev/null 2>&1; then
        apt-get update -qq >&2 || true
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2 ||
            fail "the Debian packages it needs cannot be installed"
    fi
    id "$TESTER" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$TESTER"
    [ ! -e /dev/fuse ] || chmod 666 /dev/fuse
}

mirrors() {
    # shellcheck disable=SC2016  # apt replaces it
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' | awk '!seen[$0]++'
}

# apt with the lists of SUITE alone, in FOLDER, so that the machine's own lists stay as they are.
apt_of_suite() {
    apt-get -qq -oDir::Etc::SourceList="$FOLDER/sources.list" -oDir::Etc::SourceParts=/dev/null \
        -oDir::State::Lists="$FOLDER/lists" -oDir::Cache="$FOLDER/cache" "$@"
}

download() {
    local mirror
    mkdir -p "$FOLDER/lists/partial" "$FOLDER/cache/archives/partial"
    for mirror in $(mirrors); do
        echo "deb [signed-by=$KEYS] $mirror $SUITE main" >"$FOLDER/sources.list"
        if apt_of_suite update >&2 && (cd "$FOLDER" && apt_of_suite download apptainer libc6 >&2); then
            return
        fi
    done
    fail "no mirror in apt's sources offers apptainer and libc6 of Debian's $SUITE suite"
}

# RPATH rather than RUNPATH, which would lose to the LD_LIBRARY_PATH that Apptainer sets.
use_own_libc() {
    local binary=$1 here
    here=/usr/lib/$(uname -m)-linux-gnu
    patchelf --set-interpreter "$LIBC/$(basename "$(patchelf --print-interpreter "$binary")")" "$binary"
    patchelf --force-rpath --set-rpath "$LIBC:/lib/$(basename "$here"):$here" "$binary"
}

install_from_suite() {
    local libraries name
    libraries=usr/lib/$(uname -m)-linux-gnu
    download
    dpkg -x "$FOLDER"/apptainer_*.deb "$FOLDER/apptainer"
    dpkg -x "$FOLDER"/libc6_*.deb "$FOLDER/libc"
    use_own_libc "$FOLDER/apptainer/usr/bin/apptainer"
    use_own_libc "$FOLDER/apptainer/$libraries/apptainer/bin/starter"
    mkdir -p "$LIBC"
    for name in ld-linux\* libc.so.6 libm.so.6 libresolv.so.2 libpthread.so.0 libdl.so.2 librt.so.1 libnss_\*; do
        # shellcheck disable=SC2086  # the patterns are meant to be expanded
        cp -a "$FOLDER/libc/$libraries"/$name "$LIBC/"
    done
    cp -a "$FOLDER/apptainer/." /
    [ -e /usr/bin/singularity ] || ln -s apptainer /usr/bin/singularity
}

exec 9>"${TMPDIR:-/tmp}/difflogic-tonic-apptainer-$(id -u).lock"
flock 9
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    prepare_machine
fi
if command -v apptainer >/dev/null || command -v singularity >/dev/null; then
    exit 0
fi
command -v apt-get >/dev/null || fail "this is not Debian; install it as apptainer.org says"
[ "$(id -u)" -eq 0 ] || fail "run as root: sudo $0"
[ -r "$KEYS" ] || fail "$KEYS is missing (Debian's package debian-archive-keyring)"
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
install_from_suite
apptainer --version >&2 || fail "it was installed, but does not run"
