# `make` alone lists what there is.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.setup-done
# Two processes of tests, a file on one of them; each needs up to 4 GiB.
ON_TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder

# What was compiled once is read: each process of tests would compile all of them again (5 s).
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-fast test-other-precision coverage check bench topologies docs build

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## .venv with Regraft and what its development needs (once; some minutes)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Regraft needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>/dev/null || echo not there)." >&2; \
	  echo "Name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	$(BIN)/python -m compileall -q src
	@touch $@

demo: $(STAMP)  ## the main job on real images that come along
	$(BIN)/regraft demo

test: $(STAMP)  ## all tests and the examples in the docstrings
	$(BIN)/python -m pytest $(ON_TWO)

test-fast: $(STAMP)  ## the same without the slow ones
	$(BIN)/python -m pytest $(ON_TWO) -m 'not slow'

OTHER_PRECISION = $(BIN)/python -c 'from regraft.machine.processor import PRECISIONS, precision; print(*set(PRECISIONS) - {precision()})'

test-other-precision: $(STAMP)  ## what depends on the engine's arithmetic, in the one that this machine would not choose
	REGRAFT_PRECISION=$$($(OTHER_PRECISION)) $(BIN)/python -m pytest $(ON_TWO) -m 'numerics and not slow' tests

coverage: $(STAMP)  ## all tests, and which lines of src none of them reaches
	$(BIN)/python -m pytest $(ON_TWO) --cov --cov-report=term

check: $(STAMP)  ## format, lint, types, and who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## speed on this machine, each script of benchmarks/ once
	@ls benchmarks/*.py >/dev/null 2>&1 || { echo "benchmarks/ holds no script" >&2; exit 1; }
	@for script in $(filter-out benchmarks/measure.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

topologies: $(STAMP)  ## the graphs of the default backbones without weights, for when a tap or the graph's version changes
	$(BIN)/python tools/make_topologies.py

docs: $(STAMP)  ## write docs/help.md and the file map of docs/architecture.md again; the site, in site/
	$(BIN)/python docs/make_help.py
	$(BIN)/python docs/make_files.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

build: $(STAMP)  ## the wheel and the source archive, in dist/
	$(BIN)/python -m build
