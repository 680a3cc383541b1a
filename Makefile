# Everything runs in .venv, which holds exactly what requirements.lock names.
# `make demo` and `make test` need python3 (3.11 or newer, with venv), git and make: nothing else.

SHELL := /bin/bash
PYTHON ?= python3
READY := .venv/.ready
BIN := .venv/bin

.PHONY: help demo test check lock docs bench torture nightly clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 16

$(READY): requirements.lock tools/uv.lock tools/setup pyproject.toml
	@PYTHON="$(PYTHON)" bash tools/setup

demo: $(READY)  ## set up, then meter simulated calls and print what they cost
	@$(BIN)/meter demo --once

test: check  ## set up, then lint, type-check and run every test
	@bash tools/chromium
	@bash tools/clients
	@$(BIN)/pytest -n 2 --dist worksteal

check: $(READY)  ## lint, formatting, types, architecture
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/pytest -q tests/test_architecture.py

lock: $(READY)  ## choose the newest versions that pyproject.toml allows
	@bash tools/lock

docs: $(READY)  ## write docs/cli.md anew from --help, and docs/coverage.md from the code
	@$(BIN)/python -m meter.cli.documenting docs/cli.md
	@$(BIN)/python -m meter.cli.covering docs/coverage.md

bench: $(READY)  ## measure everything of docs/performance.md beside its peers, and write it anew
	@PYTHONPATH=. $(BIN)/python benchmarks/performance.py $(BENCH)

DATABASES ?= sqlite postgresql

torture: $(READY)  ## attack every promise on both databases, about an hour; see docs/promises.md
	@failed=; for database in $(DATABASES); do \
	  for attack in "kill9 --rounds 200" "overspend --rounds 54" "twice --calls 1000" faults \
	      "soak --minutes 5 --rate 5"; do \
	    $(BIN)/python -m benchmarks.torture.$$attack --database $$database || failed=1; \
	  done; \
	done; test -z "$$failed"

nightly: torture  ## torture, an hour of steady load, and 10,000 games of the ledger machine
	@for database in $(DATABASES); do \
	  $(BIN)/python -m benchmarks.torture.soak --minutes 60 --database $$database || exit 1; \
	done
	@LEDGER_MACHINE_EXAMPLES=10000 LEDGER_MACHINE_POSTGRESQL_EXAMPLES=1000 CREDIT_MACHINE_EXAMPLES=2000 \
	  $(BIN)/pytest -q tests/store/test_ledger_machine.py tests/store/test_credit_machine.py

clean:  ## remove .venv and every cache
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find meter migrations dashboard tests benchmarks tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
