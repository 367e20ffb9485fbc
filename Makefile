# Two commands are all a newcomer needs: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTS ?= tests
# Compiled files are kept, whatever the environment says: tests start a hundred processes.
PYTEST := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo up up-demo check test browser slow lives soak bom audit format clean

help: ## What can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("graphsvc needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@echo "installing into $(VENV): about 2 GB, a few minutes, silent unless something fails"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@# DGL's wheel is for CPython 3.11; without its own requirements, which name older versions.
	@! $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --constraint constraints.txt dgl
	@touch $(STAMP)

demo: setup ## Real events to a graph, embeddings, rankers and scores, in minutes
	$(BIN)/graphsvc demo $(if $(DATA),--data $(DATA))

up: setup ## Server and worker on http://127.0.0.1:8080, until Ctrl-C
	$(BIN)/graphsvc up

up-demo: setup ## The same on what `make demo` left behind; prints a new key
	@test -d .demo/data || { echo "run make demo first" >&2; exit 1; }
	@GRAPHSVC_DATA_DIR=.demo/data GRAPHSVC_SCHEMA=film $(BIN)/graphsvc key create --name up-demo
	GRAPHSVC_DATA_DIR=.demo/data GRAPHSVC_SCHEMA=film $(BIN)/graphsvc up

format: setup ## Put every file into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: setup ## Form, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The page is looked at where there is a browser.
CHROMIUM := $(shell command -v chromium || command -v chromium-browser)
NO_CHROMIUM := the browser tests were left out, for want of Chromium: apt-get install chromium, then make browser

test: check ## The checks and all tests but the slow ones; some 12 minutes on 2 cores
	$(PYTEST) -m "not slow$(if $(CHROMIUM),, and not browser)" $(TESTS)
	@$(if $(CHROMIUM),:,echo "$(NO_CHROMIUM)")

browser: setup ## The page in a real browser; wants Chromium (apt-get install chromium); pictures in build/pictures
	OMP_NUM_THREADS=1 $(BIN)/pytest -m browser tests/browser

slow: setup ## The slow tests: larger sizes, the other database, more ways to be killed; some 6 minutes
	$(PYTEST) -m "slow$(if $(CHROMIUM),, and not browser)" $(TESTS)
	@$(if $(CHROMIUM),:,echo "$(NO_CHROMIUM)")

lives: setup ## 50,000 random operations with 320 kills against an oracle, on both databases; some 40 minutes
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python tests/support/lives.py $(if $(OPERATIONS),--operations $(OPERATIONS)) $(if $(SEED),--seed $(SEED)) $(if $(FIRST),--first $(FIRST))

soak: setup ## Ten minutes at twice the capacity: memory, refusals, what other callers wait
	$(BIN)/python benchmarks/overload.py --out build/overload

TOOLS := build/tools
$(TOOLS)/.installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0 pip-audit==2.10.1
	@touch $@

bom: setup $(TOOLS)/.installed ## A bill of materials of what is installed: build/bom.json, in CycloneDX
	$(TOOLS)/bin/cyclonedx-py environment $(VENV) --pyproject pyproject.toml --output-reproducible --output-format JSON --output-file build/bom.json

audit: $(TOOLS)/.installed ## Known vulnerabilities of the tested versions; asks PyPI
	$(TOOLS)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip

clean: ## Remove what was made, but not your data
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
