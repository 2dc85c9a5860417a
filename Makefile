# `make help` lists what can be made.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet

.DEFAULT_GOAL := help
.PHONY: help repro test ablation docs env lock params serve serve-check ui clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: .venv/ready ## run the whole pipeline; what is up to date is skipped
	dvc repro
	@echo
	@nodules summary

test: .venv/ready ## linter, type checker, tests
	ruff check .
	ruff format --check .
	mypy
	pytest -n 2 --dist loadfile

ablation: .venv/ready ## what each mistake of the tutorial costs, on the phantoms of `repro` and on NODULES_REAL_DATA
	python benchmarks/ablation.py --out .work/ablation $(if $(NODULES_REAL_DATA),--data $(NODULES_REAL_DATA)/luna16_slices) $(if $(MILLIMETRE),--millimetre $(MILLIMETRE))

docs: .venv/ready ## the pages of docs/ as a site in build/docs; a warning is an error
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	@echo "open build/docs/index.html"

env: .venv/ready ## only the environment

serve: PORT = 5001
serve: .venv/ready ## answer scans on port 5001 (another: make serve PORT=5003)
	mlflow models serve -m models/diagnosis --env-manager local -p $(PORT)

serve-check: .venv/ready ## serve the packaged model and compare its answer with `nodules predict`
	pytest -q tests/serving/test_served_model.py --packaged-model models/diagnosis

ui: PORT = 5000
ui: .venv/ready ## compare runs in the browser on port 5000 (another: make ui PORT=5002)
	mlflow ui --port $(PORT) --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}

lock: .venv/ready ## renew requirements.lock and requirements-gpu.lock from pyproject.toml
	$(LOCK) --group dev --extra docs -o requirements.lock
	$(LOCK) --group dev --extra docs --extra gpu -o requirements-gpu.lock

params: .venv/ready ## compose params.yaml from conf/
	python -c "from dvc.utils.hydra import compose_and_dump as c; c('params.yaml', '$(CURDIR)/conf', None, 'config', '$(CURDIR)', [])"

clean: ## remove the environment and all unfinished work; results and the DVC cache stay
	rm -rf .venv .work

# LOCKFILE=requirements-gpu.lock adds CUDA.
LOCKFILE ?= requirements.lock
.venv/ready: $(LOCKFILE) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed, got %d.%d; name it: make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKFILE)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
