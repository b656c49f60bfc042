# Every target prepares what it needs; nothing is installed by hand.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo up stack test lint types contracts unit slow bench frameworks dashboards pictures test-clickhouse clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.demo  ## run the example application against the backend and print what it did
	@$(BIN)/tokentrail demo

up: $(VENV)/.demo  ## start the backend alone, in the foreground
	@$(BIN)/tokentrail serve

stack: $(VENV)/.demo  ## backend, Prometheus and Alertmanager on this machine with the demo's calls; ARGS="--help"
	@PYTHONPATH=deploy $(BIN)/python -m stack $(ARGS)

test: lint types contracts unit  ## lint, type-check, check the import contracts and run the tests

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

# Processes of tests keep what they compiled for the next one, whatever the environment says.
unit: export PYTHONDONTWRITEBYTECODE =
unit: $(VENV)/.dev
	$(BIN)/pytest -m "not slow" --numprocesses 2 --dist loadfile --no-loadscope-reorder

slow: $(VENV)/.dev  ## fault and soak suites, tens of minutes (TOKENTRAIL_TEST_KILLS=100)
	$(BIN)/pytest -m slow

bench: $(VENV)/.dev  ## what this and other instrumentations add to a call; ARGS="--help"
	PYTHONPATH=tests $(BIN)/python -m benchmarks $(ARGS)

frameworks: $(VENV)/.dev  ## the frameworks that are shown to need no code of their own, the large ones too
	$(BIN)/python tests/support/frameworks.py --all
	$(BIN)/pytest tests/frameworks

dashboards: $(VENV)/.dev  ## write the Grafana dashboards from their code
	PYTHONPATH=dashboards $(BIN)/python -m boards

pictures: $(VENV)/.dev  ## draw docs/dashboards/ from the dashboards' own queries; ARGS="overview cost"
	PYTHONPATH=dashboards:tests $(BIN)/python -m pictures $(ARGS)

test-clickhouse: $(VENV)/.dev  ## the store's tests on real ClickHouse servers, in Docker
	$(BIN)/python tests/clickhouse/run.py $(ARGS)

clean:  ## remove the virtual environment, keep the data
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tokentrail needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Tokentrail with the backend (about 850 MB, mostly the embedded ClickHouse) ..."
	$(PIP) install --quiet -c constraints.txt -e ".[backend,demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e ".[backend,demo,dev]"
	$(BIN)/python tests/support/sdk_versions.py  # the SDKs that conformance is shown for, beside the environment
	$(BIN)/python tests/support/rivals.py  # other instrumentations, which must not double a call
	$(BIN)/python tests/support/aiohttp_tracing.py  # OpenTelemetry's own spans of aiohttp, which must be children
	$(BIN)/python tests/support/prometheus.py  # Prometheus and Alertmanager, which alerts are tested with
	$(BIN)/python tests/support/frameworks.py  # frameworks that are shown to need no code of their own
	@touch $@ $(VENV)/.demo
