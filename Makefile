# The eight words of the project; `make` alone explains them. CI says the same ones.
# Environment: .venv, made on first use from the hashed locks. PYTHON=… names the interpreter to build it with.

STRATEGY ?= examples/retail_bank
PORT ?= 8080
PYTHON ?=
CLAIM ?=
SOAK ?=
PEERS ?=
GROWTH ?=
STARTUP ?=
PROFILE ?=
LOAD ?=

python := .venv/bin/python
runtime := .venv/runtime.stamp
dev := .venv/dev.stamp
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run test check bench load prove docs clean

help:
	@echo 'make run    start a complete Nextbest on http://127.0.0.1:$(PORT) (PORT=…, STRATEGY=a directory)'
	@echo 'make test   run the tests'
	@echo 'make check  lint, format and types'
	@echo 'make bench  time the building blocks'
	@echo 'make load   measure the whole service under load (SOAK=1: for an hour; PEERS=1: beside floors and peers;'
	@echo '            GROWTH=1, STARTUP=1, PROFILE=1: docs/performance.md; LOAD=options)'
	@echo 'make prove  run the commands behind every claim of docs/evidence.md (CLAIM=main-job.4: one of them)'
	@echo 'make docs   check that the documents agree with the code'
	@echo 'make clean  remove the environment and everything generated'

$(runtime): requirements.lock pyproject.toml deploy/environment.sh
	@deploy/environment.sh requirements.lock
	@touch $@

$(dev): $(runtime) requirements-dev.lock
	@deploy/environment.sh requirements-dev.lock
	@touch $@

# The last line replaces its shell, so that the service is make's own child: it ends when make does, however make ends.
run: $(runtime)
	@if [ -f $(STRATEGY)/generate.py ] && [ ! -d $(STRATEGY)/generated ]; then $(python) $(STRATEGY)/generate.py; fi
	@exec .venv/bin/nextbest run $(STRATEGY) --port $(PORT)

test: $(dev)
	$(python) -m pytest -n 2

check: $(dev)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy api decisioning loadtest rules models

bench: $(dev)
	@ls tests/bench/*.py >/dev/null 2>&1 || { echo 'Nothing is measured yet: tests/bench/ holds no benchmark.'; exit 1; }
	@for benchmark in tests/bench/*.py; do $(python) $$benchmark || exit 1; done

measurements := $(foreach each,SOAK PEERS GROWTH STARTUP PROFILE,$(if $($(each)),$(shell echo $(each) | tr A-Z a-z)))

.NOTPARALLEL: load  # measurements at the same time would measure each other
load: $(dev) $(or $(strip $(measurements:%=load-%)),load-load)

load-%: $(dev)
	$(python) -m loadtest $* $(LOAD)

prove: $(dev)
	$(python) -m tests.evidence $(CLAIM)

docs: $(dev)
	$(python) -m pytest -q -m docs

clean:
	rm -rf .venv .nextbest .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist examples/*/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
