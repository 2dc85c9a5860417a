# `make help` lists what can be made.
BIN := .venv/bin
PYTHONS := 3.11 3.12 3.13
VERSION := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
USABLE := -c 'import ensurepip, sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(PYTHONS)".split())'

# An existing environment keeps its Python. A new one uses the first command that runs: a name on the path may be a
# shim that leads nowhere.
ifndef PYTHON
PYTHON := $(shell for python in $(BIN)/python $(PYTHONS:%=python%) python3; do \
	$$python $(USABLE) 2>/dev/null && echo $$python && break; done || echo python3)
endif

# An environment of another Python is replaced, never built over.
ifneq ($(shell $(PYTHON) $(VERSION) 2>/dev/null),$(shell $(BIN)/python $(VERSION) 2>/dev/null))
REPLACED := replaced
endif

OUTER_PATH := $(PATH)
export PATH := $(CURDIR)/$(BIN):$(PATH)

# One version of each package for all Python versions, so that results do not depend on the version.
LOCK := uv pip compile pyproject.toml --universal --python-version $(firstword $(PYTHONS)) --fork-strategy fewest --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet

.DEFAULT_GOAL := help
.PHONY: help repro pretrain test ablation docs env lock params serve serve-check ui clean replaced

help: ## list the targets
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Pipeline

repro: .venv/ready ## run the whole pipeline; stages that are up to date are skipped
	dvc repro
	@echo
	@nodules summary

params: .venv/ready ## compose params.yaml from conf/, for the project and for the package
	python -c "from dvc.utils.hydra import compose_and_dump as c; c('params.yaml', '$(CURDIR)/conf', None, 'config', '$(CURDIR)', [])"
	cp params.yaml src/nodules/default_params.yaml

pretrain: .venv/ready ## train the shipped networks on real nodules, in hours: make pretrain NODULES_REAL_DATA=FOLDER
	@test -d "$(NODULES_REAL_DATA)/nodule_cubes" || { echo "NODULES_REAL_DATA: expected the folder that models/pretrained/README.md \
	describes, got '$(NODULES_REAL_DATA)'" >&2; exit 1; }
	ln -sfn "$(abspath $(NODULES_REAL_DATA))" models/pretrained/real_data
	cd models/pretrained && dvc repro && cp -R work/chain/. . && cp -R work/scores . && cp work/slices/manifest.csv training_data.csv

##@ Runs and serving

ui: PORT = 5000
ui: .venv/ready ## compare runs in the MLflow UI on port 5000 (another: make ui PORT=5002)
	mlflow ui --port $(PORT) --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}

serve: PORT = 5001
serve: .venv/ready ## serve the packaged model on port 5001 (another: make serve PORT=5003)
	mlflow models serve -m models/diagnosis --env-manager local -p $(PORT)

serve-check: .venv/ready ## serve the packaged model and compare its answer with `nodules predict`
	pytest -q tests/serving/test_served_model.py --packaged-model models/diagnosis

##@ Quality

test: .venv/ready ## linter, type checker, tests
	ruff check .
	ruff format --check .
	mypy
	pytest -n 2 --dist loadfile

docs: .venv/ready ## build the pages of docs/ as a site in build/docs; a warning is an error
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	@echo "open build/docs/index.html"

ablation: .venv/ready ## measure each mistake of the tutorial, on the phantoms of `repro` and on NODULES_REAL_DATA
	python benchmarks/ablation.py --out .work/ablation $(if $(NODULES_REAL_DATA),--data $(NODULES_REAL_DATA)/luna16_slices) $(if $(MILLIMETRE),--millimetre $(MILLIMETRE))

##@ Upkeep

env: .venv/ready ## make the environment (.venv); PYTHON=python3.13 selects the Python, LOCKFILE=requirements-gpu.lock adds CUDA

lock: .venv/ready ## renew requirements.lock and requirements-gpu.lock from pyproject.toml
	$(LOCK) --group dev --extra docs -o requirements.lock
	$(LOCK) --group dev --extra docs --extra gpu -o requirements-gpu.lock

clean: ## remove the environment and all unfinished work; results and the DVC cache stay
	rm -rf .venv .work

# LOCKFILE=requirements-gpu.lock adds CUDA.
LOCKFILE ?= requirements.lock
.venv/ready: export PATH := $(OUTER_PATH)
.venv/ready: $(LOCKFILE) pyproject.toml $(REPLACED)
	@$(PYTHON) $(USABLE) || { echo "Python $(firstword $(PYTHONS)) to $(lastword $(PYTHONS)) is needed, with ensurepip (Debian: python3-venv); \
	found: $(PYTHON), $$($(PYTHON) --version 2>&1 | head -n 1); name another: make PYTHON=/path/to/python$(lastword $(PYTHONS))" >&2; exit 1; }
	$(PYTHON) -m venv $(if $(REPLACED),--clear) .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKFILE)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
