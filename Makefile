# Needs GNU make, python3 3.11+ with venv, and pip's way to a package index. Everything else goes into .venv.

PYTHON ?= python3
ARGS ?=
MINUTES ?= 30
REDIS ?= redis>=7.4,<9
CORE_TESTS ?= tests/test_append.py tests/test_blocking.py tests/test_blocking_sockets.py tests/test_connection.py tests/test_history.py tests/test_rename.py tests/test_update.py tests/test_retries.py tests/test_watch.py tests/test_public.py

.DEFAULT_GOAL := help
.PHONY: help venv serve test test-lowest test-langflow test-python coverage mutants audit package types soak lint format blocking docs bench gate image clean

help: ## List the targets
	@echo 'Usage: make <target> [ARGS="..."]'
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r target text; do \
	  printf '%-14s %s\n' "$$target" "$$text"; done

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

.venv/checkov/installed: .venv/installed
	@$(PYTHON) -m venv .venv/checkov
	@.venv/checkov/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@.venv/checkov/bin/python -m pip install --quiet --group chart
	@touch $@

test: venv .venv/checkov/installed ## Run the whole test suite (ARGS="-k rename")
	@.venv/bin/python -m pytest -n 2 --dist loadgroup $(ARGS)

test-python: .venv-$(notdir $(PYTHON))/installed ## Run the core's tests on another Python, from Debian if need be (PYTHON=python3.14 REDIS='redis>=8,<9')
	@.venv-uv/bin/uv pip install --quiet --python .venv-$(notdir $(PYTHON)) '$(REDIS)'
	@.venv-$(notdir $(PYTHON))/bin/python -c 'import platform, redis; print(f"Python {platform.python_version()}, redis-py {redis.__version__}")'
	@.venv-$(notdir $(PYTHON))/bin/python -m pytest -n 2 -o cache_dir=.pytest_cache/$(notdir $(PYTHON))-$$(echo '$(REDIS)' | tr -dc 0-9.) $(CORE_TESTS) $(ARGS)

LOWEST := tests/test_append.py tests/test_clients.py tests/test_connection.py tests/test_dependencies.py tests/test_update.py \
  tests/test_watch.py tests/test_otel.py tests/monitor/test_access.py tests/monitor/test_live.py tests/cli/test_messages.py \
  tests/langchain/test_history.py

# Old libraries use what newer ones beside them deprecate: only here that is no error.
test-lowest: .venv-lowest/installed ## Run tests of every part on the oldest versions that pyproject.toml allows, redis-py 7 among them
	@.venv-lowest/bin/python -m pytest -n 2 -o cache_dir=.pytest_cache/lowest -W ignore::DeprecationWarning -k 'not redis7' $(ARGS) $(LOWEST)

.venv-lowest/installed: pyproject.toml
	@$(PYTHON) -m venv .venv-lowest
	@.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[langchain,otel,serve,sql]'
	@.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --group test
	@touch $@

test-langflow: .venv-langflow/installed ## Run the plug-in's tests with a real Langflow (ARGS="-k golden")
	@.venv-langflow/bin/python -m pytest -n 2 --dist loadgroup -o cache_dir=.pytest_cache/langflow $(ARGS) tests/langflow

.venv-langflow/installed: pyproject.toml
	@echo 'Installing Langflow into .venv-langflow ...'
	@$(PYTHON) -m venv .venv-langflow
	@.venv-langflow/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venv-langflow/bin/uv pip install --quiet --python .venv-langflow/bin/python --editable . --group langflow
	@touch $@

.venv-$(notdir $(PYTHON))/installed: pyproject.toml .ci/find-python .ci/python-from-debian | .venv-uv/installed
	@python=$$(.ci/find-python $(PYTHON)) && .venv-uv/bin/uv venv --quiet --clear --python "$$python" .venv-$(notdir $(PYTHON))
	@.venv-uv/bin/uv pip install --quiet --python .venv-$(notdir $(PYTHON)) --editable . --group python
	@touch $@

.venv-uv/installed:
	@python3 -m venv .venv-uv
	@.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

package: venv ## Build the wheel and the source archive into dist/, and check them
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} .venv/bin/python -m build --no-isolation --outdir dist .
	@.venv/bin/python -m twine check --strict dist/*

types: .venv-types/installed .venv-langflow/installed ## See whether every public name has its type, as users' type checkers see it
	@told=$$(PATH="$(CURDIR)/.venv-langflow/bin:$$PATH" .venv-types/bin/pyright --verifytypes redis_sessions --ignoreexternal) || { echo "$$told"; exit 1; }; \
	echo "$$told" | grep score

.venv-types/installed: pyproject.toml
	@$(PYTHON) -m venv .venv-types
	@.venv-types/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@.venv-types/bin/python -m pip install --quiet --disable-pip-version-check --group types
	@touch $@

coverage: venv .venv/checkov/installed .venv-langflow/installed ## Run both suites under coverage; less than 90 % of the package fails
	@rm -rf build/coverage && mkdir -p build/coverage
	@.venv/bin/python -m coverage run -m pytest -n 2 --dist loadgroup $(ARGS) || echo 'Tests failed: what they would have covered is missing.' >&2
	@.venv-langflow/bin/python -m coverage run -m pytest -n 2 --dist loadgroup -o cache_dir=.pytest_cache/langflow $(ARGS) tests/langflow \
	  || echo 'Tests failed: what they would have covered is missing.' >&2
	@.venv/bin/python -m coverage combine --quiet
	@.venv/bin/python -m coverage html --quiet --fail-under 0
	@.venv/bin/python -m coverage report

TARGETS ?=

mutants: venv ## Break the code in small ways and see whether tests notice (TARGETS="ids lua/append", ARGS="--sample 20")
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --group mutants
	@.venv/bin/python -m tests.mutation.run $(TARGETS) $(ARGS)

audit: venv ## Ask PyPI for known vulnerabilities of what the package needs
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --group audit
	@.venv/bin/python -m tests.support.audit

soak: venv ## Play random faults under load (MINUTES=30, ARGS="--seed 7")
	@.venv/bin/python -m tests.faults.soak --minutes $(MINUTES) $(ARGS)

lint: venv ## Check style, types, and for what bandit knows to be unsafe
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	.venv/bin/python -m bandit --quiet --configfile pyproject.toml --recursive redis_sessions

format: venv ## Format the code, and fix what can be fixed
	.venv/bin/python -m ruff format .
	.venv/bin/python -m ruff check --fix .

blocking: venv ## Write the blocking store anew, after a method of the store was changed
	@.venv/bin/python -m tests.support.generate_blocking

.venv/docs: .venv/installed
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

docs: .venv/docs ## Build the documentation into build/site; a broken link fails it
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --quiet --strict

bench: venv .venv-peers/installed .venv-adk/installed .venv-langflow/installed ## Measure against raw Redis and other libraries
	@.venv/bin/python -m benchmarks --json build/benchmarks/results.json --charts build/benchmarks $(ARGS)

gate: venv ## Compare with benchmarks/bounds.json: is anything slower, or larger?
	@.venv/bin/python -m benchmarks --quick --check --minutes 5 --only counts questions memory $(ARGS)

.venv-peers/installed .venv-adk/installed: .venv-%/installed: pyproject.toml
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venv-$*/bin/uv pip install --quiet --python .venv-$*/bin/python --group $*
	@touch $@

# The health check is part of Docker's format of images only.
image: ## Build the image of the service, where docker, podman or buildah is
	@builder=$$(command -v docker || command -v podman || command -v buildah) || { echo 'no builder: install docker, podman or buildah' >&2; exit 1; }; \
	case $$builder in */docker) format= ;; *) format='--format docker' ;; esac; \
	$$builder build $$format --target service --file Containerfile --tag redis-sessions:$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) $(ARGS) .

clean: ## Remove .venv and everything else that make has made
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
