# The whole life of a checkout. Needs Python 3.11 or later, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := pyproject.toml $(wildcard setup.py) $(shell find agent plugins -name '*.py' -o -name '*.json')

.PHONY: up test check static docs picture mesh-picture sim chaos cache-suite clean

up: $(VENV)/.run ## set up and run the demo; ARGS="--for 10s" hands options on
	$(BIN)/pilotfish demo $(ARGS)

test: $(VENV)/.dev cache-suite ## set up and run the whole suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: static ## lint, types, import contracts, quick tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup -q -m "not slow" tests/unit tests/property tests/architecture

static: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev ## write the generated pages again
	$(BIN)/python -m agent config schema > config/pilotfish.schema.json
	$(BIN)/python -m agent config reference > docs/configuration.md
	$(BIN)/python -m agent config plugins > docs/plugins-configuration.md
	$(BIN)/python -m agent config metrics > docs/metrics.md

picture: $(VENV)/.run ## draw docs/demo.svg from a running demo, in which an instance is killed
	$(BIN)/python docs/draw_demo.py docs/demo.svg

mesh-picture: $(VENV)/.dev ## draw docs/mesh-page.png: the page of one of eight running agents (needs Chromium)
	$(BIN)/python docs/draw_mesh.py docs/mesh-page.png

SEEDS ?= 2000
SEED ?= 1
sim: $(VENV)/.dev ## run SEEDS schedules of crashes, cuts and worse from SEED on, and check every promise of consensus
	$(BIN)/python -m agent simulate raft --seed $(SEED) --seeds $(SEEDS) --processes 2

cache-suite: $(VENV)/.dev ## get the public HTTP cache tests; without node or npm their test is skipped, with the reason
	@$(BIN)/python -m tests.conformance.cache_suite --fetch-only

chaos: $(VENV)/.dev ## kill, stop and cut off agents of a group for so many minutes, and judge the histories; MINUTES=5 SEED=1 (as root: networks too)
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),5) --seed $(or $(SEED),1) $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip

# Installed, not linked: what runs is what a user installs. A changed source is installed again.
$(VENV)/.run: $(VENV)/bin/python $(SOURCES)
	$(PIP) install --quiet .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python $(SOURCES)
	$(PIP) install --quiet '.[dev]'
	touch $@ $(VENV)/.run
