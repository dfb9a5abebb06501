# Two commands matter, `make run` and `make test`; `make help` lists them all.
# PYTHON=python3.12 chooses another Python; ARGS='...' hands arguments on to the demo, to pytest, or to the benchmark.

PYTHON ?= python3
ARGS ?=
export PYTHON

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test lint unit torture supervision test-floors bench manuals tor-wheel clean setup venv

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: ## see it work: a private Tor network, InfluxDB, the gateway and six reporters, on this machine alone
	@printf '%s\n' >&2 \
	  'torfluxd: the main job, on this machine and over loopback alone' \
	  '  1. set up what is missing: a virtual environment in .venv; tor and influxd with apt-get' \
	  '  2. start a private Tor network, and an InfluxDB, in a temporary directory' \
	  '  3. start the gateway, as an onion service of that network' \
	  '  4. let six reporters send it metrics through Tor, and show them arriving in InfluxDB' \
	  'Ctrl-C ends it, and leaves no process and no temporary file.' ''
	@scripts/setup run
	@$(BIN)/torfluxd demo $(ARGS)

test: setup lint ## set up what is missing, then ruff, mypy and all tests, with a real tor and a real influxd
	@scripts/run-tests $(ARGS)

lint: venv ## ruff and mypy
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

unit: setup ## the quick half of the tests: all but those over a whole Tor network
	$(PYTEST) --ignore tests/end_to_end $(ARGS)

torture: test-floors ## the long runs: many keys, many kills, millions of mutations, the oldest dependencies
	@scripts/setup torture
	$(PYTEST) -m torture -s $(ARGS)

supervision: setup ## the one of them that kills, reloads and cuts off tor, and says how soon clients are back (an hour)
	$(PYTEST) -m torture -s tests/end_to_end/test_supervision.py $(ARGS)

test-floors: setup ## the unit tests with the oldest dependencies that pyproject.toml allows
	scripts/test-floors $(ARGS)

bench: ## measure the gateway beside influxd, nginx and a Go proxy, and the reporter beside encoders (30 minutes; ARGS=--quick: 6)
	@scripts/setup bench
	@$(BIN)/python -m benchmarks $(ARGS)

manuals: venv ## write manual pages and completions anew, when options have changed
	@$(BIN)/python -m manuals

tor-wheel: ## pack this Debian's tor into a wheel in dist/, for vendors who ship it: pip install 'torfluxd[tor]'
	@$(PYTHON) scripts/tor_wheel/build.py dist

clean: ## remove what these commands have made in this directory
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis _trial_temp*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@scripts/setup

venv:
	@scripts/setup venv
