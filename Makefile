# Every target sets up what it needs in .venv; nothing outside this folder is touched
# (but for the operating system's package of venv itself, where Debian leaves it out, and for `make interop`).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test lint unit interop load docs fuzz exhaustive mutation matrix bogo bench bench-quick clean

demo: $(VENV)/.core
	$(BIN)/handclasp demo
	@echo
	$(BIN)/handclasp demo rsa

test: lint unit

lint: $(VENV)/.test
	$(BIN)/ruff format --check src tests examples bench
	$(BIN)/ruff check src tests examples bench
	$(BIN)/mypy

unit: $(VENV)/.test
	$(PYTEST) -n 2 --cov --cov-report=term:skip-covered

# The tests against other implementations, with all of them installed, in a network of their own; the table of what they
# show goes to docs/conformance.md.
PEERS := openssl curl gnutls-cli tstclnt node javac chromium firefox-esr redis-server ip
PACKAGES := openssl curl gnutls-bin libnss3-tools nodejs default-jdk-headless chromium firefox-esr redis-server iproute2
interop: $(VENV)/.test
	for peer in $(PEERS); do command -v $$peer > /dev/null || missing=1; done; test -z "$$missing" || \
		{ apt-get update -qq; for package in $(PACKAGES); do \
			apt-get install -y -qq $$package || echo "no $$package to be had here: its tests are skipped"; done; }
	$(BIN)/pip install -q -e '.[interop]'
	cd tests && ../$(BIN)/python -m interop.measure
	$(MAKE) docs

# The load tests at full size: 5,000 idle connections, 1,000 slow clients, 20,000 handshakes, 2 GiB. Takes a while, and
# writes what it measured to docs/data.
load: $(VENV)/.test
	HANDCLASP_LOAD=full $(PYTEST) tests/streams/test_load.py -s -p no:randomly
	$(MAKE) docs

# Pages that are made: docs/attacks.md and docs/conformance.md, from tables, tests' markers and docs/data.
docs: $(VENV)/.test
	cd tests && ../$(BIN)/python -m conformance.pages

# What takes longer than a test run may, and writes what it measured to docs/data. SECONDS is for each target.
SECONDS ?= 60
fuzz: $(VENV)/.test
	cd tests && ../$(BIN)/python -W ignore -m fuzz.run --seconds $(SECONDS)
	cd tests && ../$(BIN)/python -W ignore -m fuzz.reach
	if $(BIN)/pip install -q -e '.[fuzz]'; then cd tests && ../$(BIN)/python -W ignore -m fuzz.run --atheris --seconds $(SECONDS); fi
	$(MAKE) docs

exhaustive: $(VENV)/.test
	cd tests && ../$(BIN)/python -m conformance.measure
	$(MAKE) docs

mutation: $(VENV)/.test
	cd tests && ../$(BIN)/python -m conformance.mutation
	$(MAKE) docs

matrix: $(VENV)/.test
	cd tests && ../$(BIN)/python -m conformance.matrix
	$(MAKE) docs

# BoringSSL's protocol tests, with the runner that HANDCLASP_BOGO_RUNNER names: it is no part of this project.
bogo: $(VENV)/.test
	cd tests && ../$(BIN)/python -m conformance.bogo.measure
	$(MAKE) docs

# How fast, beside the other TLS libraries there are for Python; ten minutes or more, or one minute. PAGE gets the tables.
PAGE ?= docs/performance.md
bench: $(VENV)/.bench
	$(BIN)/python -m bench --json bench.json --plot $(PAGE:.md=.svg) --page $(PAGE)

bench-quick: $(VENV)/.bench
	$(BIN)/python -m bench --quick

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); apt-get update -qq; apt-get install -y -qq python3-venv; $(PYTHON) -m venv $(VENV); }

$(VENV)/.core: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install -q -e '.[test]'
	touch $@ $(VENV)/.core

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install -q -e '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
