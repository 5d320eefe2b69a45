# Set-up and the main jobs. Needs only Python >= 3.11 and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_DIR ?= demo-run
DEMO_PORT ?= 8000

# one BLAS thread per process: workers and tests run side by side
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: help demo test check validate reference profile format clean install
help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-9s %s\n", $$1, $$2}'

install: $(STAMP)  ## create .venv with the tested versions

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## run a campaign on the embedded results, with its live page
	PATH="$(CURDIR)/$(BIN):$$PATH" deploy/demo.sh $(DEMO_DIR) $(DEMO_PORT)

test: $(STAMP)  ## run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

check: $(STAMP)  ## lint, types, import directions, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

# reference predictions and the text database, where they are; see docs/validation.md
REFERENCE_DATA ?= $(or $(PROTOMODELS_REFERENCE_DATA),../shared/data)
validate: $(STAMP)  ## compare with the reference predictions (imported database)
	$(BIN)/python -m benchmarks.agreement $(REFERENCE_DATA)/reference_protomodels.json $(REFERENCE_DATA)/reference_predictions.json

# fresh reference points: make reference DATABASE=smodels-database-3.0.0 MODELS=models.json OUTPUT=reference.json
reference:  ## run SModelS 3.0.3, in an environment of its own, on a list of models
	deploy/reference.sh $(DATABASE) $(MODELS) $(OUTPUT)

# a profile of the evaluation: make profile MODELS=models.json
profile: $(STAMP)  ## where the time of an evaluation goes
	$(BIN)/python -m benchmarks.hotspots $(MODELS)

format: $(STAMP)  ## put the code in its canonical layout
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what the targets above made
	rm -rf $(VENV) $(DEMO_DIR) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
