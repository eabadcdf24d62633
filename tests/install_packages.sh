#!/usr/bin/env bash
# The programs that some tests run, from Debian's packages. Nothing happens where all of them are there.
#
#   tests/install_packages.sh           all
#   tests/install_packages.sh slurmd …  only what brings these commands; `apptainer` has a script of its own
#
# root installs them; anybody else gets the command to run, and the tests that miss a program are skipped with a reason.
# With CI=true it is an error if a program cannot be had, and such tests fail.
set -euo pipefail

# command and package
PROGRAMS=(
    "slurmctld slurmctld"
    "slurmd slurmd"
    "sbatch slurm-client"
    "munged munge"
    "sshd openssh-server"
    "ssh openssh-client"
    "rsync rsync"
    "tcsh tcsh"
    "fish fish"
    "patchelf patchelf"
    "mksquashfs squashfs-tools"
    "iverilog iverilog"
    "verilator verilator"
    "yosys yosys"
    "berkeley-abc berkeley-abc"
    "clang clang"
    "aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    "qemu-aarch64-static qemu-user-static"
    "chromium chromium"
)
# Daemons lie where the path of an ordinary user does not lead.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing_packages() {
    local program command packages
    for program in "${PROGRAMS[@]}"; do
        read -r command packages <<<"$program"
        if [ $# -gt 0 ] && [[ " $* " != *" $command "* ]]; then
            continue
        fi
        command -v "$command" >/dev/null || printf '%s\n' "$packages"
    done
}

give_up() {
    if [ "${CI:-}" = true ]; then
        printf 'error: %s\n' "$1" >&2
        exit 1
    fi
    printf 'note: %s; the tests that need them are skipped\n' "$1" >&2
    exit 0
}

install_apptainer() {
    if [ $# -eq 0 ] || [[ " $* " == *" apptainer "* ]]; then
        "$(dirname "${BASH_SOURCE[0]}")/cluster/install_apptainer.sh" || give_up "Apptainer could not be installed"
    fi
}

mapfile -t PACKAGES < <(missing_packages "$@" | tr ' ' '\n')
if [ "${#PACKAGES[@]}" -eq 0 ]; then
    install_apptainer "$@"
    exit 0
fi
INSTALL="apt-get install -y --no-install-recommends ${PACKAGES[*]}"
command -v apt-get >/dev/null || give_up "not installed: ${PACKAGES[*]}; use your package manager"
[ "$(id -u)" -eq 0 ] || give_up "not installed: run sudo $INSTALL"
printf 'installing %s\n' "${PACKAGES[*]}" >&2
LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && $INSTALL; } >"$LOG" 2>&1 || {
    tail -n 5 "$LOG" >&2
    give_up "apt-get could not install ${PACKAGES[*]}"
}
install_apptainer "$@"
