# Everything needs only `make`, a C compiler and Python 3.11 or newer; everything else goes into .venv and .stack.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYTHONUNBUFFERED = 1

.PHONY: help install demo lifecycle up down test check format lock bench bench-quick faults soak clean

help: ## show what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

install: $(STAMP) ## set up .venv from the lock

$(STAMP): requirements.lock pyproject.toml hatch_build.py $(wildcard */_*.c)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is not Python 3.11 or newer; name one: make install PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; install its venv package (Debian: python3-venv)" >&2; exit 1; }
	@rm -f $@
	@[ -x $(BIN)/python ] || { echo "Making $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@total=$$(grep -cE '^[A-Za-z0-9._-]+==' requirements.lock); count=0; \
	echo "Installing $$total packages into $(VENV), hashes checked (once, a minute or two) ..."; \
	$(BIN)/python -m pip install --no-input --progress-bar off --require-hashes -r requirements.lock 2>&1 \
	  | tee $(VENV)/install.log \
	  | while IFS= read -r line; do \
	      case "$$line" in \
	        Collecting*|Requirement\ already*) count=$$((count + 1)); [ $$((count % 10)) -ne 0 ] || echo "  $$count of $$total resolved";; \
	        *Downloading*MB*) file=$${line##*Downloading }; echo "  $${file%%-[cp][py]*} ($${file##*\(}";; \
	        Building*|Installing\ collected*) echo "  $${line%%:*} ...";; \
	        ERROR*|*error:*) echo "$$line" >&2;; \
	      esac; \
	    done || { echo "Installation failed; all that pip said is in $(VENV)/install.log:" >&2; tail -n 15 $(VENV)/install.log >&2; exit 1; }
	@$(BIN)/python -m pip install --no-input --quiet --no-deps --no-build-isolation --editable . \
	  || { echo "Installation of the checkout itself failed" >&2; exit 1; }
	@for source in */_*.c; do \
	  compgen -G "$${source%.c}.*.so" > /dev/null || echo "$$source was not compiled (no compiler, or no Python headers): its Python twin serves, slower" >&2; \
	done
	@touch $@
	@echo "Installed: $(BIN)/fraudstream"

demo: install ## watch an attack being caught, end to end, on real servers (under four minutes)
	@$(BIN)/fraudstream demo

lifecycle: install ## watch a model grow old and be replaced by a better one, every step checked (under ten minutes)
	@$(BIN)/fraudstream lifecycle

up: install ## the same, left running for a look
	@$(BIN)/fraudstream demo --keep

down: ## stop what `make up` left running
	@[ ! -x $(BIN)/fraudstream ] || $(BIN)/fraudstream demo --stop

screenshots: install ## pictures of every page of the console, from the demo, into docs/screenshots (five minutes)
	@$(BIN)/fraudstream demo --keep
	@ended=0; $(BIN)/python -m tests.console.screenshots || ended=$$?; $(BIN)/fraudstream demo --stop; exit $$ended

# Runs side by side, each with servers of its own: most of the time they wait for those, or for each other. The one
# without servers takes what they leave. Processors are short: threads that train together wait for each other asleep.
test: export OMP_WAIT_POLICY = PASSIVE
SECOND := tests/streams/test_[r-s]*.py tests/streams/test_observability.py
THIRD := tests/faults tests/console
test: install ## all tests, on real servers
	@mkdir -p .test; \
	nice -n 5 $(BIN)/python -m pytest -m "not server" --durations=20 > .test/without-servers.log 2>&1 & without=$$!; \
	$(BIN)/python -m pytest -m server --durations=20 $(SECOND) > .test/second.log 2>&1 & second=$$!; \
	$(BIN)/python -m pytest -m server --durations=20 $(THIRD) > .test/third.log 2>&1 & third=$$!; \
	failed=0; $(BIN)/python -m pytest -m server --durations=20 \
	  $(foreach left,$(SECOND) $(THIRD),--ignore-glob='$(left)') || failed=$$?; \
	for run in second:$$second third:$$third without-servers:$$without; do \
	  ended=0; wait $${run##*:} || ended=$$?; \
	  echo "$${run%%:*} (.test/$${run%%:*}.log):"; \
	  if [ $$ended -ne 0 ]; then failed=1; cat .test/$${run%%:*}.log; else tail -n 1 .test/$${run%%:*}.log; fi; \
	done; \
	exit $$failed

check: install ## lint, format, types, import rules, lock, documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_docs.py tests/fraudstream/test_docs.py tests/fraudstream/test_lock.py

format: install ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: install ## write requirements.lock anew from pyproject.toml (needs the network)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra local --extra console --extra train --extra registry --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" \
	  --output-file requirements.lock

bench: install ## measure how fast and at what cost, beside yardsticks (under 15 minutes)
	$(BIN)/python -m bench

bench-quick: install ## the same in under three minutes, held against bench/baseline.json: fails where it got slower
	$(BIN)/python -m bench --quick

faults: install ## pull every plug under load and compare everything with an oracle (under 25 minutes)
	$(BIN)/python -m faults

soak: install ## an hour under steady load while windows slide: memory, lag, nothing lost (MINUTES=60)
	$(BIN)/python -m soak --minutes $(or $(MINUTES),60)

clean: down ## remove everything that was installed or made here
	rm -rf $(VENV) .stack .demo .test .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
