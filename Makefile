# Two commands matter: `make demo` and `make test`. Both set everything up first.
SHELL := /bin/bash
BIN := .venv/bin
DEMO_PORT ?= 8500
TEST_WORKERS ?= 2

.PHONY: demo test test-next test-nightly lint audit bench clean setup flink browser lock format

setup:
	@scripts/bootstrap.sh

demo: setup  ## real logs -> pipeline -> served recommendations on the terminal
	@$(BIN)/vitrine demo --port $(DEMO_PORT)

test: setup lint  ## lint, types and the whole test suite
	@$(BIN)/python -m pytest -q --durations=40 -n $(TEST_WORKERS) --no-loadscope-reorder

test-next:  ## the suite, or TESTS='tests/serving -k x', on the newer row in a Debian 13 under .tools
	@scripts/next.sh $(BIN)/python -m pytest -q -n $(TEST_WORKERS) --no-loadscope-reorder $(TESTS)

test-nightly: setup  ## the tests that take minutes each, and are no part of `make test`
	@$(BIN)/python -m pytest -q --nightly -m nightly

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

audit: setup  ## published vulnerabilities of what either lock has, but for scripts/known_findings.yaml
	@$(BIN)/python scripts/audit.py

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup  ## every benchmark, resumable; results in benchmarks/results
	@$(BIN)/python -m benchmarks

flink: setup  ## Flink and Beam's job server in .tools; `make test` then runs jobs on a cluster, too
	@scripts/flink/setup.sh

browser:  ## a headless Chromium in .tools; `make test` then looks at reports in it
	@scripts/browser/setup.sh

COMPILE := uv pip compile --no-emit-index-url --generate-hashes --quiet \
  --custom-compile-command 'make lock'

NEWER := --python-version 3.12 --python-platform x86_64-manylinux_2_40

lock:  ## compile the locks of both rows, and what a GPU needs beside each
	$(COMPILE) --python 3.10 requirements.in -o requirements.lock
	$(COMPILE) --python 3.10 deploy/docker/cuda.in -o deploy/docker/cuda.lock
	$(COMPILE) $(NEWER) requirements.in requirements-3.12.in \
	  --override requirements-3.12.in -o requirements-3.12.lock
	$(COMPILE) $(NEWER) deploy/docker/cuda-3.12.in -o deploy/docker/cuda-3.12.lock

clean:  ## what set-up and tools made; data and runs stay
	rm -rf .venv .tools build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
