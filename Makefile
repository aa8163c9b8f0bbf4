# `make demo` needs Python >= 3.11 and nothing else; `make test` a JDK and a Chromium besides.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
RECIPE ?= recipes/breast_cancer.yaml

.PHONY: demo test lint types bench conformance format clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp per set of packages, so that the second call is quick.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[lightgbm,triton]' scikit-learn  # for the data of the demo's model
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps tensorflow-serving-api  # asks for the large tensorflow; the tests need its protobuf messages alone
	@touch $@ $(VENV)/.demo

# The real tritonserver that tests start: binaries of a wheel for Linux on x86-64, in a folder of their own that nothing
# imports, and beside them the numpy that the server's Python stub works with, and a pandas that works with that numpy.
SERVER := build/tritonserver
TARGET := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target

$(SERVER)/.installed: Makefile | $(BIN)/python
	$(TARGET) $(SERVER) nvidia-pytriton==0.7.0
	$(TARGET) $(SERVER)/numpy1 numpy==1.26.4 pandas==2.3.3 pytz==2025.2
	@touch $@

# NVIDIA's bindings of TensorRT, whose names and signatures a test compares with what mlconvert calls.
BINDINGS := build/tensorrt-bindings

$(BINDINGS)/.installed: Makefile | $(BIN)/python
	$(TARGET) $(BINDINGS)/10.16.1.11 tensorrt-cu13-bindings==10.16.1.11
	$(TARGET) $(BINDINGS)/11.4.0.106 tensorrt-cu13-bindings==11.4.0.106
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python fixtures/make.py breast_cancer
	$(BIN)/mlconvert run $(RECIPE) --report build/breast_cancer.md
	@echo; echo "The repository that Triton loads as it is:"; find build/breast_cancer/repository -type f | sort

test: $(VENV)/.dev $(SERVER)/.installed $(BINDINGS)/.installed lint types
	$(BIN)/python -m pytest -n 3  # on two cores: many tests wait for a server

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

# The ONNX backend test suite through SavedModels: ten minutes and more; PART=1/8 for a part, DYNAMIC=1, DOUBLE=1.
PART ?= 1/1
conformance: $(VENV)/.dev
	$(BIN)/python tests/conformance/run.py --part $(PART) $(if $(DYNAMIC),--dynamic) $(if $(DOUBLE),--double)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Ratios, side by side in one run; minutes, some with models of gigabytes.
bench: $(VENV)/.dev
	set -e; for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file; done

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache
