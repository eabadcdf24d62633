#!/usr/bin/env bash
# Set up what the tests need and run them: all layers but `gpu` and `slow`. Arguments go to pytest, e.g.
#   ./run_tests.sh tests/events -x      one room
#   ./run_tests.sh -m slow              full accuracy runs, long fuzz and kill counts
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
helper_scripts/setup_environment.sh --dev
tests/install_packages.sh
# Files are spread over the cores; a test that measures nothing loses nothing by sharing them.
exec .venv/bin/python -m pytest -n auto --dist loadfile -m "not gpu and not slow" "$@"
