# make demo   the whole loop on real images, from a bare checkout       make test   everything CI runs
# make check  the fast suite      make lint   ruff and mypy      make bench   every benchmark
# make bench-tuning, make bench-monitoring   the tuner, the monitor beside its peers, each in an environment of its own;
#             hours for the tuner, kept in build/, can be stopped
# Needs python3 (3.11 or newer) and make; everything else goes into .venv in this folder.

PYTHON ?= python3
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test check lint bench bench-tuning bench-monitoring lock clean

demo: $(INSTALLED)
	$(BIN)/visutility demo

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

BENCH := build/bench-venv
bench-tuning: $(BENCH)/.installed
	$(BENCH)/bin/python -m benchmarks tuning

$(BENCH)/.installed: requirements/bench.txt requirements/bench-peers.txt pyproject.toml
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/bench.txt -e '.[sklearn]'
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/bench-peers.txt
	touch $@

MONITORING := build/bench-monitoring-venv
bench-monitoring: $(MONITORING)/.installed
	$(MONITORING)/bin/python -m benchmarks monitoring

$(MONITORING)/.installed: requirements/bench-monitoring.txt requirements/bench-monitoring-peers.txt pyproject.toml
	test -x $(MONITORING)/bin/python || $(PYTHON) -m venv $(MONITORING)
	$(MONITORING)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/bench-monitoring.txt -e '.[sklearn]'
	$(MONITORING)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/bench-monitoring-peers.txt
	touch $@

# The lock holds exact versions with hashes for every supported Python; `make lock` writes it again.
lock:
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet "uv>=0.9"
	.venv-lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
	    --group dev --extra demo --custom-compile-command "make lock" --output-file requirements/dev.txt pyproject.toml

$(INSTALLED): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf .venv .venv-lock build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
