.PHONY: setup fmt lint check test test-cluster test-kill smoke lock

PYTHON := .venv/bin/python
SHELL_SCRIPTS := $(wildcard *.sh helper_scripts/*.sh helper_scripts/*/*.sh singularity/*.sh tests/*.sh tests/*/*.sh) .ci/run
PYTHON_FILES := src tests benchmarks helper_scripts requirements singularity $(wildcard *.py)

setup:  ## .venv with everything that development needs
	helper_scripts/setup_environment.sh --dev

fmt: setup  ## format the code
	$(PYTHON) -m ruff format $(PYTHON_FILES)
	$(PYTHON) -m ruff check --fix $(PYTHON_FILES)

lint: setup  ## format, lint, types, shell
	$(PYTHON) -m ruff format --check $(PYTHON_FILES)
	$(PYTHON) -m ruff check $(PYTHON_FILES)
	$(PYTHON) -m mypy
	.venv/bin/shellcheck -x $(SHELL_SCRIPTS)

check: lint  ## before every commit: lint and the fast tests
	$(PYTHON) -m pytest -q -n auto --dist loadfile -m "not integration and not cluster and not gpu and not slow"

test: setup  ## everything but gpu and slow
	./run_tests.sh

test-cluster: setup  ## the tests on a real SLURM, sshd and Apptainer, which they install (Debian, root or sudo) and start
	./run_tests.sh -m cluster tests/cluster

test-kill: setup  ## the full counts: training, staging, preparing and transfers killed again and again (half an hour)
	./run_tests.sh -n 0 -s -m slow tests/integration/test_train_kill.py tests/integration/test_staging_kill.py \
		tests/integration/test_prepare_kill.py tests/cluster/test_cluster_sync_kill.py

smoke: setup  ## the quick start, shortened
	./train.sh configs/quickstart.yaml smoke --fresh --override "train.epochs=1"

lock:  ## new versions in requirements/*.lock
	python3 requirements/lock.py
