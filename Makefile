# Everything a person or CI does with this repository. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYNCED := $(VENV)/.synced
LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header $(if $(UPGRADE),--upgrade)
ARGS ?=
# Kept wherever it runs: the tests start the operator some hundred times, a tenth of which is compiling.
export PYTHONDONTWRITEBYTECODE =
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' operator/toyrental/__init__.py)

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(SYNCED): requirements/dev.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with make PYTHON=...") if sys.version_info < (3, 11) else None'
	@echo "Setting up .venv from requirements/, pinned by hash"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes --build-constraints requirements/dev.txt requirements/dev.txt requirements/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(SYNCED) ## Make .venv with every dependency, pinned by hash

up: $(SYNCED) ## Start a Kubernetes of your own on loopback (the first time builds it)
	@$(BIN)/python -m dev.cluster up $(if $(AUTH),--auth=$(AUTH))

down: $(SYNCED) ## Stop it and remove its data
	@$(BIN)/python -m dev.cluster down

demo: $(SYNCED) ## Watch a shop's life on a Kubernetes of your own (STEP=1 waits for Enter, AUTH=oidc has people sign in)
	@$(BIN)/python -m dev.demo $(if $(STEP),--step) $(if $(AUTH),--auth=$(AUTH))

check: $(SYNCED) ## Style, types, who may import whom, and whether generated files are current
	@$(MAKE) --no-print-directory --jobs=2 types style imports generated

types:
	$(BIN)/mypy

style:
	$(BIN)/ruff check
	$(BIN)/ruff format --check

imports:
	$(BIN)/lint-imports --no-logo

generated:
	$(BIN)/python -m dev.generate --check

test: check ## Everything above, then every test (ARGS="-k line" passes flags to pytest)
	@$(BIN)/python -m dev.cluster build --auth=oidc >/dev/null # minutes, the first time: outside the tests' timeouts
	@$(BIN)/python -m dev.helm >/dev/null # two more
	@$(BIN)/python -m dev.etcdutl >/dev/null # half a one
	$(BIN)/pytest $(ARGS)

bench: $(SYNCED) ## What the operator costs, beside its ceiling (ARGS="--lives 60 --rounds 1", "--settled 10000", --dashboard)
	@$(BIN)/python -m dev.bench $(ARGS)

bench-plugin: $(SYNCED) ## What a start of kubectl toyrental costs, beside kubectl
	@$(BIN)/python -m dev.bench.plugin $(ARGS)

bench-payments: $(SYNCED) ## What faults of the provider do to a shop (ARGS="--faults drop,outage --seconds 15 --rate 5")
	@$(BIN)/python -m dev.bench.payments $(ARGS)

pictures: $(SYNCED) ## Draw the dashboards and photograph the board, of a shop that runs, for docs/
	@$(BIN)/python -m dev.pictures $(ARGS)

generate: $(SYNCED) ## Write what is made from the models: CRDs, API reference, diagrams
	@$(BIN)/python -m dev.generate
	@$(BIN)/python -m dev.helm.manifests # the first time Helm is built: two minutes

lock: $(SYNCED) ## Pin the dependencies anew after a change (UPGRADE=1 takes newer ones)
	$(LOCK) pyproject.toml requirements/build.in --group dev -o requirements/dev.txt
	$(LOCK) pyproject.toml requirements/run.in --constraint requirements/dev.txt -o requirements/run.txt
	$(LOCK) requirements/build.in --constraint requirements/dev.txt -o requirements/build.txt
	$(LOCK) requirements/sbom.in -o requirements/sbom.txt
	$(LOCK) requirements/checkov.in -o requirements/checkov.txt
	$(LOCK) requirements/uv.in -o requirements/uv.txt
	$(LOCK) requirements/go.in -o requirements/go.txt

image: ## Build the container image with the docker, podman or buildah there is (BASE=...)
	@for tool in docker podman buildah; do command -v $$tool >/dev/null && break; tool=; done; \
	  test -n "$$tool" || { echo "No docker, podman or buildah here: install one"; exit 1; }; \
	  $$tool build -t localhost/toyrental:$(VERSION) $(if $(BASE),--build-arg BASE=$(BASE)) \
	    --build-arg VERSION=$(VERSION) --build-arg REVISION="$$(git rev-parse HEAD)" .

sbom: $(SYNCED) ## Write what the image has of Python, as CycloneDX, to dist/sbom.json
	@$(BIN)/python -m dev.tools sbom

clean: ## Stop everything and remove all that was made here (built control planes stay cached)
	@test ! -x $(BIN)/python || $(BIN)/python -m dev.cluster down
	rm -rf $(VENV) .local .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

.PHONY: help setup up down demo check types style imports generated test bench bench-plugin bench-payments pictures generate lock image sbom clean
