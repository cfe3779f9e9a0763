# One command each. Every target makes its own virtual environment first, so any of them is the right first command
# after a clone: it needs Python 3.11 and pip, nothing else.
#
#   make setup   the virtual environment, from the lock     make proto   regenerate memdb/v1 from proto/
#   make fmt     format, and fix what can be fixed          make lock    resolve requirements/lock.txt again
#   make check   everything that needs no running           make bench   workloads and their ratios
#   make test    the suite                                  make crash   kills, power losses, faults, at length
#   make demo    the whole system on real video and speech  make release-proto   new baseline of the contract
#   make api     docs/api.md from the docstrings
#   make peers   memdb and other engines, into the README: an hour, 8 GB of disk
#
# Options: PYTHON=/path/to/python3.11  TORCH_ARGS="..." (for pip, when it installs torch)
#          WORKERS=n (test processes; three for every two processors, at most 8)
#          ARGS="..." (for pytest, demo, lock)  SEED=n (bench)  TEST_SEED=n (what `make test` draws; `crash` draws anew)
#          CYCLES=n STATES=n POINTS=n FAULTS=n KILLS=n DAMAGES=n MARKERS=n SEQUENCES=n EMBEDDED=n BACKUPS=n
#          CRASH_WORKERS=n PIECE=name (crash: see docs/testing.md; MEMDB_CRASH_SEED for the same again)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?=
TORCH_ARGS ?=
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$((n < 5 ? (3 * n + 1) / 2 : 8)))
CYCLES ?= 2000
STATES ?= 20000
POINTS ?= 1000
FAULTS ?= 1000
KILLS ?= 20
DAMAGES ?= 5000
MARKERS ?= 20000
SEQUENCES ?= 10000
EMBEDDED ?= 50
BACKUPS ?= 40
CRASH_WORKERS ?=
SEED ?= 7
# Whether a change passes must not hang on what was drawn that day: `make crash` is who looks for what nobody has found.
TEST_SEED ?= 20261129
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RELEASED := proto/released.binpb
UNASYNC := clients/python/tools/unasync.py
export PYTHON TORCH_ARGS
# Hundreds of interpreters are started: they take their modules as bytecode, also where that is switched off.
export PYTHONDONTWRITEBYTECODE :=
# Without a HOME, buf would keep its cache in the working tree.
export BUF_CACHE_DIR := $(CURDIR)/$(VENV)/cache/buf

.PHONY: help setup fmt check test demo proto api bench peers crash lock release-proto

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

setup: $(STAMP)

$(STAMP): requirements/lock.txt requirements/torch.txt pyproject.toml scripts/setup.sh edge/pyproject.toml edge/setup.py $(wildcard edge/src/*)
	@scripts/setup.sh $(VENV)
	@touch $@

fmt: $(STAMP)
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/buf format --write proto

check: $(STAMP)
	$(BIN)/ruff format --check --output-format concise .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint proto
	$(BIN)/buf format --diff --exit-code proto
	$(BIN)/buf breaking proto --against $(RELEASED)
	$(BIN)/python scripts/protos.py --check
	$(BIN)/python $(UNASYNC) --check
	$(BIN)/python -m scripts.api --check
	$(BIN)/mypy

# Test processes have the processors among them, three for two since many tests wait (for a sync, a deadline, a process that ends).
# Threads of torch, FAISS and OpenBLAS within one would wait for each other at every product, and they spin as they wait
# (`bench codecs --quick` beside other tests: 60 s of processor by two threads, 10 by one).
# Files in the order of their names: those with few and long tests (bench, crash, e2e) come before the many short ones of unit, so
# that at the end no process is left alone with a long one.
test: $(STAMP)
	MEMDB_CRASH_SEED=$(TEST_SEED) OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	    $(BIN)/pytest tests -m "not slow" -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
	    --hypothesis-seed=$(TEST_SEED) $(ARGS)

demo: $(STAMP)
	@$(BIN)/python -m reasoner.demo $(ARGS)

proto: $(STAMP)
	$(BIN)/buf format --write proto
	$(BIN)/python scripts/protos.py

# The baseline of the breaking-change check is the schema of the last release: refresh it in the commit that cuts a
# release and at no other time. Before the first release it may follow a change of the schema, in the same commit.
release-proto: $(STAMP)
	$(BIN)/buf build proto --exclude-source-info --output $(RELEASED)

api: $(STAMP)
	$(BIN)/python -m scripts.api

bench: $(STAMP)
	@for workload in ingest ground tiers many snapshot restart codecs late hybrid relevance quality streams churn users standing; do \
	    $(BIN)/python -m bench $$workload --seed $(SEED) $(ARGS); \
	done

# Each engine is installed into an environment of its own; one that cannot be is named as absent, and the rest goes on.
peers: $(STAMP)
	-$(BIN)/python -m bench.peers.install
	$(BIN)/python -m bench peers --json --seed $(SEED) --report docs/peers $(ARGS)
	$(BIN)/python -m bench.peers.publish docs/peers

crash: $(STAMP)
	PYTHONPYCACHEPREFIX=$(CURDIR)/$(VENV)/cache/bytecode \
	MEMDB_CRASH_CYCLES=$(CYCLES) MEMDB_EMBEDDED_KILLS=$(EMBEDDED) MEMDB_BACKUP_KILLS=$(BACKUPS) MEMDB_POWER_STATES=$(STATES) \
	MEMDB_BLOCK_POINTS=$(POINTS) \
	MEMDB_SYSCALL_FAULTS=$(FAULTS) MEMDB_FAILPOINT_KILLS=$(KILLS) MEMDB_DAMAGES=$(DAMAGES) \
	MEMDB_ERASE_MARKERS=$(MARKERS) MEMDB_HYPOTHESIS_PROFILE=full MEMDB_SEQUENCES=$(SEQUENCES) \
	    $(BIN)/python -m tests.crash.full $(if $(CRASH_WORKERS),--workers $(CRASH_WORKERS)) $(if $(PIECE),--only "$(PIECE)") -- $(ARGS)

lock:
	@scripts/lock.sh $(ARGS)
