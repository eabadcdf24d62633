#!/usr/bin/env bash
# Make .venv from requirements/*.lock. Does nothing, at once, if it is there and the lock files have not changed.
#
#   helper_scripts/setup_environment.sh                    what training needs
#   helper_scripts/setup_environment.sh --dev              also what tests and checks need
#   helper_scripts/setup_environment.sh --check SCRIPT …   first let SCRIPT check its arguments, as soon as it can run
#
# Where there is an NVIDIA driver the CUDA build of torch is installed, elsewhere a CPU build, from the package index that
# pip is configured for. An index that serves only CUDA builds is fine too, just larger.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=$ROOT/.venv
LOCKS=$ROOT/requirements
LOG=$VENV/setup.log

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

say() {
    printf '%s\n' "$*" >&2
}

# The first Python that is new enough.
find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "no Python 3.11 or newer found; install one (Debian, Ubuntu: sudo apt-get install python3 python3-venv)"
}

# Debian keeps the part of venv that brings pip in a package of its own.
ensure_venv_module() {
    local python=$1 package runner=()
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" -ne 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            fail "$python cannot make virtual environments; run: sudo apt-get install $package"
        fi
        runner=(sudo -n)
    fi
    command -v apt-get >/dev/null || fail "$python has no venv module; install it with your package manager"
    say "installing $package"
    "${runner[@]}" apt-get update -qq >&2 || true
    DEBIAN_FRONTEND=noninteractive "${runner[@]}" apt-get install -y -qq "$package" >&2 ||
        fail "$package could not be installed; run: sudo apt-get install $package"
}

# A part is done when its mark holds the checksums of the lock files that it was installed from.
is_done() {
    [ -x "$VENV/bin/python" ] && [ "$(cat "$VENV/$1.done" 2>/dev/null)" = "$(mark_of "$1")" ]
}

mark_of() {
    case $1 in
    config) cksum <"$LOCKS/config.lock" ;;
    training) cat "$LOCKS"/config.lock "$LOCKS"/base.lock "$LOCKS"/torch-*.lock | cksum ;;
    dev) cat "$LOCKS"/*.lock | cksum ;;
    esac
}

set_done() {
    mark_of "$1" >"$VENV/$1.done.new"
    mv "$VENV/$1.done.new" "$VENV/$1.done"
}

pip_install() {
    "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --quiet "$@" >>"$LOG" 2>&1 || {
        tail -n 5 "$LOG" >&2
        fail "pip could not install $* (see $LOG); check the network and pip's index, then run the same command again"
    }
}

install_config() {
    is_done config && return
    ensure_venv_module "$PYTHON"
    if [ ! -x "$VENV/bin/python" ]; then
        say "making the virtual environment $VENV with $PYTHON (once)"
        "$PYTHON" -m venv "$VENV" || fail "$VENV could not be made; remove it and run the same command again"
    fi
    pip_install -r "$LOCKS/config.lock"
    set_done config
}

has_nvidia_driver() {
    command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1
}

# Without a driver the CUDA libraries would be gigabytes for nothing, so torch comes without its dependencies (they are
# in base.lock). If the index served a CUDA build, it does not import without those libraries: then they are installed.
install_torch() {
    if has_nvidia_driver; then
        pip_install -r "$LOCKS/torch-cuda.lock"
        return
    fi
    pip_install --no-deps -r "$LOCKS/torch-cpu.lock"
    if "$VENV/bin/python" -c 'import importlib.metadata as m, sys
sys.exit(not any(r.startswith(("nvidia", "cuda")) for r in m.requires("torch") or []))'; then
        say "the package index offers the CUDA build of torch only; installing its libraries too"
        pip_install -r "$LOCKS/torch-cuda.lock"
    fi
}

install_training() {
    is_done training && return
    say "installing the locked packages into $VENV (once; a few minutes)"
    pip_install -r "$LOCKS/base.lock"
    install_torch
    build_kernels
    set_done training
}

# Here, where there is a compiler, rather than on a compute node that may have none. Without one everything works, slower.
build_kernels() {
    local said kernel
    for kernel in nets.logic.cpu_build netlist.library; do
        said=$(PYTHONPATH=$ROOT/src "$VENV/bin/python" -m "difflogic_tonic.$kernel" --cache 2>&1) ||
            say "${said##*$'\n'}"
    done
}

install_dev() {
    is_done dev && return
    say "installing the tools for tests and checks (once)"
    pip_install -r "$LOCKS/dev.lock"
    pip_install --no-deps -r "$LOCKS/peers.lock"
    set_done dev
}

wanted=training
check=()
case ${1:-} in
"") ;;
--dev) wanted=dev ;;
--check)
    shift
    check=("$@")
    ;;
*) fail "unknown argument $1; usage: helper_scripts/setup_environment.sh [--dev]" ;;
esac

if is_done config && is_done training && { [ $wanted != dev ] || is_done dev; }; then
    exit 0
fi

PYTHON=$(find_python)
# Arguments that need no config to be judged are answered by any Python, before anything is installed.
if [ ${#check[@]} -gt 0 ]; then
    "$PYTHON" "$ROOT/helper_scripts/check_command.py" arguments "${check[@]}" || exit
fi

mkdir -p "$VENV" 2>/dev/null || fail "$VENV cannot be made; the checkout must be writable for its first use"
[ -w "$VENV" ] || fail "$VENV cannot be written by $(id -un); use a checkout of your own"
exec 9>"$VENV/.lock"
if ! flock -n 9; then
    say "waiting for another process that is setting up $VENV"
    flock 9
fi
install_config
if [ ${#check[@]} -gt 0 ]; then
    "$VENV/bin/python" "$ROOT/helper_scripts/check_command.py" config "${check[@]}" || exit
fi
install_training
if [ $wanted = dev ]; then
    install_dev
fi
