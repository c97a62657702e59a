# The verbs a person types. Each sets up what it needs in .venv; only python3 (>= 3.10), a C++20 compiler and
# make must be there.
PYTHON ?= python3
VENV   ?= .venv
# The torch to develop with. Another source of the same: make TORCH='--find-links FOLDER torch==2.13.0'
TORCH  ?= torch==2.13.0

BIN := $(VENV)/bin
# First on PATH, so that cmake, ctest and ninja are those of .venv on every machine.
export PATH := $(abspath $(BIN)):$(PATH)

KERNEL_SOURCES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.inl')

.PHONY: help setup demo test test-python test-cpp test-arm test-threads test-memory test-addresses coverage mutate test-all fuzz raw bench architectures gpu-gate docs lint format clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.installed  ## .venv with torch, the tools and greenkernels built in place

# torch comes first and alone: a build that resolved it by itself could fetch another one of several gigabytes.
$(VENV)/.torch:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "greenkernels needs Python >= 3.10")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH) 'setuptools>=77' wheel 'ninja>=1.11'
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml setup.py greenkernels/_toolchain.py $(KERNEL_SOURCES)
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[dev]'
	@touch $@

demo: setup  ## a real network on a real photo, stock and converted
	$(BIN)/greenkernels demo

test: test-cpp test-python  ## every test: C++ under the sanitizers, then Python

test-python: setup  ## the Python tests alone
	$(BIN)/python -m pytest

test-cpp: setup  ## the C++ tests alone, under ASan and UBSan
	cmake --preset asan
	cmake --build --preset asan
	ctest --preset asan

test-arm: setup  ## the C++ tests on 64-bit Arm: cross-compiled, run by qemu with and without SDOT
	cmake --preset aarch64
	cmake --build --preset aarch64
	ctest --preset aarch64 --parallel 2
	ctest --preset aarch64-oldest --parallel 2

test-threads: setup  ## the C++ tests under ThreadSanitizer
	cmake --preset tsan
	cmake --build --preset tsan
	ctest --preset tsan

test-memory: setup  ## the C++ tests at the scalar level under valgrind, which has to be installed
	cmake --preset memcheck
	cmake --build --preset memcheck
	ctest --preset memcheck --parallel 2

test-addresses: setup  ## the Python tests of ops and modules with the kernels under AddressSanitizer, in a checkout of their own
	PATH="$(abspath $(BIN)):$$PATH" tools/asan_python/run $(ARGS)

coverage: setup  ## lines of csrc/cpu and greenkernels that the tests run, into docs/coverage.md
	$(BIN)/python tools/coverage $(ARGS)

mutate: setup  ## random changes of csrc/cpu that the C++ tests have to notice, on from docs/mutations.json
	$(BIN)/python tools/mutate $(ARGS)

test-all: setup  ## the long run: what CI runs and all that is too long for it (ARGS=--list shows the steps)
	$(BIN)/python tools/long_tests $(ARGS)

fuzz: setup  ## ops against float64 on random cases for 30 minutes, on from docs/fuzz.json
	$(BIN)/python tools/fuzz --record --minutes 30 $(ARGS)

raw: setup  ## greenkernels_raw without torch, in build/release; and the C++ tests as shipped
	cmake --preset release -DPython_EXECUTABLE=$(abspath $(BIN))/python
	cmake --build --preset release
	ctest --preset release

bench: setup  ## the benchmarks; close other programs first
	$(BIN)/greenkernels bench

# Of its own: a torchvision needs the torch that it was built for, another one than that to develop with.
NETWORKS_VENV ?= .venv-networks
NETWORKS_TORCH ?= torch==2.14.1 torchvision==0.29.1 timm==1.0.31 transformers==5.23.0

$(NETWORKS_VENV)/.installed: Makefile
	$(PYTHON) -m venv $(NETWORKS_VENV)
	$(NETWORKS_VENV)/bin/python -m pip install --quiet $(NETWORKS_TORCH)
	@touch $@

architectures: setup $(NETWORKS_VENV)/.installed  ## networks of torchvision, timm and transformers, on another torch, with the same binary
	PYTHONPATH=$(CURDIR) $(NETWORKS_VENV)/bin/python tools/architectures $(ARGS)

versions: setup  ## the wheel in every Python and torch that it promises; downloads several gigabytes, removed after each
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python tools/versions $(ARGS)

gpu-gate: setup  ## registers, spills, occupancy and hot loops of the CUDA kernels against their budgets; needs nvcc
	$(BIN)/python -m pip install --quiet --no-deps nvidia-cuda-nvdisasm==13.2.86
	$(BIN)/python tools/gpu_gate

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[docs]'
	@touch $@

docs: $(VENV)/.docs  ## the site, in build/site; a broken link fails it
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict --config-file tools/site/mkdocs.yml

lint: setup  ## formatting and spelling, as CI checks them
	ruff format --check .
	ruff check .
	git ls-files '*.cpp' '*.h' '*.inl' '*.cu' '*.cuh' | xargs --no-run-if-empty clang-format --dry-run --Werror
	typos

format: setup  ## formats what lint would complain about
	ruff format .
	ruff check --fix .
	git ls-files '*.cpp' '*.h' '*.inl' '*.cu' '*.cuh' | xargs --no-run-if-empty clang-format -i

clean:  ## removes what was built, but not .venv
	rm -rf build dist *.egg-info greenkernels/*.so $(VENV)/.installed $(VENV)/.docs
