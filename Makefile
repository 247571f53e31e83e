# Targets for people and for CI. Each does the set-up it needs; `make setup` is quiet when all is there.
# PYTHON chooses the interpreter that .venv is made from; PYTEST_ARGS and DEMO_ARGS are passed on.

# Tests that boot machines are neighbours: a worker that has nothing to do takes them from another.

PYTHON ?= python3
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist worksteal
DEMO_ARGS ?=
BIN := .venv/bin

.PHONY: help setup demo test test-all lint format docs clean

help:
	@echo 'make setup     create .venv, install vel2 into it, make sure of QEMU'
	@echo 'make demo      boot Linux at virtual EL2 and a guest of its own inside it'
	@echo 'make test      all tests but the slow ones'
	@echo 'make test-all  all tests'
	@echo 'make lint      ruff and mypy'
	@echo 'make format    let ruff rewrite the files'
	@echo 'make docs      build the documentation as a site, in build/docs'
	@echo 'make clean     remove .venv and every cache in the checkout'

setup:
	@$(PYTHON) tools/setup

# The demo needs a third of what the tests need.
demo:
	@$(PYTHON) tools/setup demo
	@$(BIN)/vel2 demo $(DEMO_ARGS)

test: setup
	@$(BIN)/python -m pytest -m 'not slow' $(PYTEST_ARGS)

test-all: setup
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: setup
	@$(BIN)/ruff check . tools/setup tools/sizes tools/debian-root tools/fresh-machine tools/mutate tools/matrix-table
	@$(BIN)/ruff format --check . tools/setup tools/sizes tools/debian-root tools/fresh-machine tools/mutate tools/matrix-table
	@$(BIN)/mypy
	@$(BIN)/mypy --strict --no-error-summary tools/setup
	@$(BIN)/mypy --strict --no-error-summary tools/sizes
	@$(BIN)/mypy --strict --no-error-summary tools/debian-root
	@$(BIN)/mypy --strict --no-error-summary tools/fresh-machine
	@$(BIN)/mypy --strict --no-error-summary tools/mutate
	@$(BIN)/mypy --strict --no-error-summary tools/matrix-table

format: setup
	@$(BIN)/ruff check --fix . tools/setup tools/sizes tools/debian-root tools/fresh-machine tools/mutate tools/matrix-table
	@$(BIN)/ruff format . tools/setup tools/sizes tools/debian-root tools/fresh-machine tools/mutate tools/matrix-table

docs: setup
	@$(BIN)/sphinx-build -W --keep-going -q -E -b html docs build/docs
	@echo 'docs: open build/docs/index.html'

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis src/vel2.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
