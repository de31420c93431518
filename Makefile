# Bare `make` prints help. Every target uses the environment in .venv, which `make setup` builds from the lock files.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SOURCE ?= simulated
DATA ?=
SIGNAL ?=
SPEED ?= 20
ROOT ?=
TORCH_INDEX ?=
ARGS ?=
# Processes of a test run; 0 runs the tests in one.
WORKERS ?= 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1

_root = $(if $(ROOT),--root $(ROOT))
_workers = $(if $(filter-out 0,$(WORKERS)),-n $(WORKERS) --dist loadscope)
_index = $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help setup setup-dev run up test test-real test-all check fmt lint type arch golden bench defs lock clean

help:  ## print this help
	@echo "FlowSense: a scheduled MLOps and experiment platform for market microstructure"
	@echo
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make run takes SIGNAL=0, SOURCE=lobster|lean_equity|crypto_2026 with DATA=folder, ROOT=folder"

$(VENV)/.run: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found: FlowSense needs Python 3.11 (or pass PYTHON=/path/to/python3.11)" >&2; exit 1; }
	@start=$$(date +%s); \
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || exit 1; \
	$(BIN)/python -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "make: .venv has Python %d.%d, FlowSense needs 3.11; remove .venv and try again" % sys.version_info[:2])' || exit 1; \
	echo "installing the pinned environment into $(VENV) (resumes if interrupted)"; \
	$(BIN)/python -m pip install --quiet $(_index) -r requirements.lock || exit 1; \
	$(BIN)/python -m pip install --quiet --no-deps --editable . || exit 1; \
	echo "environment ready: $$(du -sh $(VENV) | cut -f1) in $$(( $$(date +%s) - start )) s"
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@$(BIN)/python -m pip install --quiet -r requirements-dev.lock
	@touch $@

# Kernels are compiled for this machine when the environment is built, and again when one has changed.
KERNELS = $(shell grep -rl numba --include=*.py marketdata features models trading backtests serving)

$(VENV)/.warm: $(VENV)/.run $(KERNELS)
	@echo "compiling kernels for this machine (about a minute, once)"
	@$(BIN)/flowsense warm
	@touch $@

setup: $(VENV)/.warm  ## build the environment in .venv from the lock file, compile the kernels
setup-dev: $(VENV)/.dev $(VENV)/.warm  ## the same with the tools for tests and checks

run: setup  ## simulate a market, run the nights on it, decide, trade the next session on paper, report
	@$(BIN)/flowsense $(_root) run --source $(SOURCE) $(if $(DATA),--data $(DATA)) $(if $(SIGNAL),--signal $(SIGNAL)) $(ARGS)

up: setup  ## Dagster UI, MLflow UI, prediction API and paper executor in one terminal; Ctrl-C stops all
	@$(BIN)/flowsense $(_root) --source $(SOURCE) up --speed $(SPEED) $(ARGS)

test: setup-dev  ## the default tests, in two processes (WORKERS=0: in one)
	@$(BIN)/python -m pytest -q $(_workers) -m "not slow and not realdata and not network and not gpu" $(ARGS)

test-real: setup-dev  ## the tests on the recorded data beside the checkout
	@$(BIN)/python -m pytest -q -m "realdata and not network and not gpu" $(ARGS)

test-all: setup-dev  ## every test that needs no network and no accelerator
	@$(BIN)/python -m pytest -q $(_workers) -m "not network and not gpu" $(ARGS)

check: lint type arch test test-real  ## what CI runs

fmt: setup-dev  ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix --quiet .

lint: setup-dev  ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: setup-dev  ## mypy, strict
	@$(BIN)/mypy

arch: setup-dev  ## imports go down the floors only
	@$(BIN)/lint-imports

golden: setup-dev  ## rewrite the snapshot of the asset graph, to be read before it is committed
	@$(BIN)/python -m tests.orchestration.snapshot

bench: setup  ## the benchmarks
	@$(BIN)/flowsense bench $(ARGS)

defs: setup  ## load the Dagster definitions and validate them
	@$(BIN)/dagster definitions validate -w workspace.yaml

lock: setup-dev  ## resolve and pin every dependency again
	@for pair in "pyproject.toml requirements.lock" "requirements-dev.in requirements-dev.lock"; do set -- $$pair; \
	  $(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --annotation-style=line -o $$2 $$1 2>/dev/null && \
	  sed -i -E 's/^([A-Za-z0-9_.-]+==[^+ ]+)\+[A-Za-z0-9.]+/\1/; s/^ *-c requirements.lock$$//' $$2 || exit 1; done

clean:  ## remove what was built here; the data roots in var/ stay
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
