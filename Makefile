# Two commands do all the set-up: `make demo` and `make test`. They need Python 3.11+, pip and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONNECTORS := $(wildcard connectors/*/pyproject.toml)
INSTALLED := $(VENV)/.installed

# Compiled modules are kept even where the surroundings forbid it: the tests start hundreds of processes, and each would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo portal test browser lint check ci new bench screenshots docs clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

demo: $(INSTALLED) ## the main job on made-up people: plan, approve, run, be killed, resume, verify, prove
	@$(BIN)/python examples/demo.py

portal: $(INSTALLED) ## the portal in a browser, with made-up vendors, mail and example requests
	@$(BIN)/python examples/portal.py --open

test: $(INSTALLED) ## the tests, in a few minutes
	$(BIN)/python -m pytest -q -n 4 -m "not thorough"

test-thorough: $(INSTALLED) browser ## the same again on PostgreSQL, and in a browser
	$(BIN)/python -m pytest -q -n 4 -m thorough

# Tests of the portal's pages drive a real browser. Where Debian's may be installed, it is; elsewhere those tests are skipped, and say so.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	  echo "installing Debian's chromium for the tests of pages ..." && { apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1 || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; }; }; } || \
	  echo "no chromium, and none can be installed: tests that need a browser are skipped"

lint: $(INSTALLED) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint ## style, types, and the tests that your change may break, in seconds
	$(BIN)/python tests/affected.py

ci: lint test test-thorough ## what continuous integration runs

new: $(INSTALLED) ## a new connector in connectors/, from four questions (or ARGS="--product ...")
	@$(BIN)/dsr connector new $(ARGS)
	@echo "and: its folder in mypy_path of pyproject.toml, a line in CHANGELOG.md; CONTRIBUTING.md has the rest"

bench: $(INSTALLED) ## the measurements of docs/performance.md
	$(BIN)/python -m benchmarks

screenshots: $(INSTALLED) browser ## the pictures in docs/images, taken of the example requests in a real browser
	$(BIN)/python examples/screenshots.py

docs: $(INSTALLED) ## build the documentation into site/
	$(BIN)/zensical build --clean --strict

clean: ## remove what was made
	rm -rf $(VENV) .demo site .mypy_cache .ruff_cache .pytest_cache

# uv does the installing because twenty packages and nine editable projects take it seconds; it is itself installed from the index by pip.
$(INSTALLED): pyproject.toml constraints.txt $(CONNECTORS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dsr-sdk needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	@echo "installing into $(VENV) ..."
	@$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install --quiet -c constraints.txt --group dev --group docs -e '.[host,portal,oidc,keyring,postgres,testing]' $(foreach project,$(CONNECTORS),-e $(dir $(project)))
	@touch $@
