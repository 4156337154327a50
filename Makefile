# Everything runs in .venv; the two commands that matter are `make repro` and `make test`.
PYTHON ?= python3.11
VENV ?= .venv
export PATH := $(abspath $(VENV))/bin:$(PATH)
STAMP := $(VENV)/.installed
# without bytecode each stage and each process of the tests compiles torch anew, for seconds
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup repro study test fuzz lint audit bench bench-gpu clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## create .venv and install the pinned packages

# --no-compile: a module is compiled when it is first imported, and most never are
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON); install Python 3.11 or set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	    $(PIP_FLAGS) --no-compile --constraint constraints.txt --editable '.[pipeline,openmoji,video,fast,stream,dev]'
	touch $@

repro: setup  ## run the pipeline that params.yaml describes; results/index.html at the end
	python -m stages.plan
	dvc repro

study: setup  ## train what the study lacks (docs/study.md), then write results/study.md
	python -m stages.study
	python -m stages.report study

test: setup lint  ## lint, types and all tests, on up to 4 CPU cores
	python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

fuzz: setup  ## 40 times as many generated files as in make test, 20 kills a stage, more cases (15 to 40 minutes)
	python -m pytest --fuzz --hypothesis-show-statistics tests/fuzz tests/faults/test_kills.py
	python -m pytest --fuzz -m fuzz

lint: setup  ## ruff and mypy alone
	ruff check .
	ruff format --check .
	mypy

# in an environment of its own, so that it is no dependency; asks the package index alone
audit: setup  ## look the pinned versions up among known vulnerabilities (network)
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) pip-audit
	$(VENV)/audit/bin/python -m pip_audit --strict --requirement constraints.txt --no-deps --disable-pip

bench: setup  ## time and measure losses, steps, metrics, video, pack, read, embed and cluster (minutes)
	python -m benchmarks.losses
	python -m benchmarks.step
	python -m benchmarks.memory
	python -m benchmarks.refining
	python -m benchmarks.mir
	python -m benchmarks.video
	python -m benchmarks.packing
	python -m benchmarks.reading
	python -m benchmarks.embedding
	python -m benchmarks.clustering

bench-gpu: setup  ## check and time training on a CUDA GPU; benchmarks/results/gpu.json (minutes)
	python -m benchmarks.gpu

clean:  ## remove .venv; data, caches and results stay
	rm -rf $(VENV) *.egg-info
