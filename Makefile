# Needs GNU make, python3 3.11+ with venv, and pip's way to a package index. Everything else goes into .venv.

PYTHON ?= python3
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv serve test lint format bench clean

help: ## List the targets
	@echo 'Usage: make <target> [ARGS="..."]'
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r target text; do \
	  printf '%-10s %s\n' "$$target" "$$text"; done

venv: .venv/installed ## Install the package with everything it can use, and the tools, into .venv

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	@echo 'Installing into .venv ...'
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@.venv/bin/python -m pip install --quiet --editable . --group dev
	@touch $@

serve: venv ## Serve a demo from an embedded store (ARGS="--port 8000")
	@.venv/bin/redis-sessions serve --demo $(ARGS)

test: venv ## Run the whole test suite (ARGS="-k rename")
	@.venv/bin/python -m pytest -n 2 $(ARGS)

lint: venv ## Check style and types
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy

format: venv ## Format the code, and fix what can be fixed
	.venv/bin/python -m ruff format .
	.venv/bin/python -m ruff check --fix .

bench: venv ## Measure against raw Redis commands and print the table
	@.venv/bin/python -m benchmarks $(ARGS)

clean: ## Remove .venv and everything else that make has made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
