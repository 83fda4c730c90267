# Each target does its own set-up: a virtual environment in .venv, the compiled package and the extras it needs.
#
#   make demo           fit real data beside scikit-learn: a table, and demo.png
#   make test           lint, then the tests and the examples of README and docs
#   make test-all       every test on every instruction set of the machine
#   make lint           ruff, cython-lint, clang-format, mypy
#   make bench-kernels  the kernels against scikit-learn, SciPy and the machine's memory: benchmarks/RESULTS.md
#   make bench          five small problems against every other library: a table, and pictures in build/bench
#   make bench-full     all but the longest problems, pictures, scaling: benchmarks/results and benchmarks/RESULTS.md
#   make wheel          sdist and wheel in dist/
#   make dist-check     install the wheel into a clean environment and fit
#   make test-oldest    the tests with the oldest supported numpy, SciPy and scikit-learn
#   make sanitize       the tests under the address and the undefined-behaviour sanitizer
#   make clean

PYTHON ?= python3
PYTEST_FLAGS ?= -n 2 -q
VENV := .venv
BIN := $(VENV)/bin

PYTHON_SOURCES := fastlogreg benchmarks tests setup.py
C_SOURCES := $(wildcard fastlogreg/kernels/*.[ch])
BUILD_INPUTS := pyproject.toml setup.py $(C_SOURCES) $(shell find fastlogreg -name '*.py[xd]')
SDIST_INPUTS := $(BUILD_INPUTS) MANIFEST.in README.md LICENSE \
    $(shell find fastlogreg tests -name '*.py' -o -name '*.pyi' -o -name py.typed)

.PHONY: demo test test-all lint bench-kernels bench bench-full wheel dist-check test-oldest sanitize clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	$(BIN)/python -m benchmarks.demo

test: lint
	$(BIN)/python -m doctest README.md $(wildcard docs/*.md)
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(VENV)/.test
	$(BIN)/ruff check $(PYTHON_SOURCES)
	$(BIN)/ruff format --check $(PYTHON_SOURCES)
	PATH="$(abspath $(BIN)):$$PATH" cython-lint fastlogreg
	$(BIN)/clang-format --dry-run --Werror $(C_SOURCES)
	$(BIN)/mypy

bench-kernels: $(VENV)/.test
	$(BIN)/python -m benchmarks.kernels

# What the build needs is installed once here; for each build, pip would install it in an environment of its own.
INSTALL_EDITABLE := $(BIN)/python -m pip install --quiet --no-build-isolation --editable

$(VENV)/.build: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import tomllib; \
	    print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' > $(VENV)/build.txt
	$(BIN)/python -m pip install --quiet --requirement $(VENV)/build.txt
	touch $@

$(VENV)/.demo: $(BUILD_INPUTS) $(VENV)/.build
	$(INSTALL_EDITABLE) ".[demo]"
	touch $@

$(VENV)/.test: $(BUILD_INPUTS) $(VENV)/.build
	$(INSTALL_EDITABLE) ".[test,lint]"
	touch $@

# The wheel is built from the unpacked sdist, which shows that the sdist is complete.
wheel: dist/.built

dist/.built: $(SDIST_INPUTS) | $(VENV)/.test
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	touch $@

dist-check: dist/.built
	PYTHON=$(PYTHON) tests/check_dist.sh

# The oldest versions are the lower bounds in pyproject.toml; there are wheels of them for Python 3.11.
OLDEST := build/venv-oldest

test-oldest: $(OLDEST)/.installed
	PYTHONSAFEPATH=1 $(OLDEST)/bin/python -m pytest $(PYTEST_FLAGS)

$(OLDEST)/.installed: dist/.built
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -c 'import tomllib; \
	    project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	    print(*(needed.replace(">=", "==") for needed in project["dependencies"]), sep="\n")' > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --only-binary :all: --constraint $(OLDEST)/oldest.txt \
	    "$$(echo dist/*.whl)[test]"
	touch $@

# Once with the whole zoo on every instruction set, and once more under each of them for what knows of none; the kernels'
# own tests have gone through all by then.
ISA_TESTS := $(filter-out %/test_design.py %/test_labels.py %/test_accuracy.py %/test_benchmarks.py, \
    $(shell find tests -name 'test_*.py'))

test-all: lint
	$(BIN)/python -m pytest $(PYTEST_FLAGS) --all-isas
	set -e; for isa in $$($(BIN)/python -c 'from fastlogreg.kernels.dispatch import active_isa, available_isas; \
	    print(*(isa for isa in available_isas() if isa != active_isa()))'); do \
	    echo "FASTLOGREG_ISA=$$isa"; FASTLOGREG_ISA=$$isa $(BIN)/python -m pytest $(PYTEST_FLAGS) $(ISA_TESTS); \
	done

# Built from the sdist into environments of their own, so that the normal build stays as it is. The interpreter knows
# no sanitizer, so its runtime is preloaded, with the C++ library whose exceptions it must catch first; the interpreter's
# own allocator would hide overruns, and what it never frees would be called leaks.
SANITIZE_TESTS ?= tests
RUNTIME_address := libasan.so
RUNTIME_undefined := libubsan.so

sanitize: sanitize-address sanitize-undefined

sanitize-address sanitize-undefined: sanitize-%: build/venv-%/.installed
	PYTHONSAFEPATH=1 PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	    LD_PRELOAD="$$($(CC) -print-file-name=$(RUNTIME_$*)) $$($(CC) -print-file-name=libstdc++.so)" \
	    build/venv-$*/bin/python -m pytest $(PYTEST_FLAGS) $(SANITIZE_TESTS)

build/venv-address/.installed build/venv-undefined/.installed: build/venv-%/.installed: dist/.built
	$(PYTHON) -m venv --clear build/venv-$*
	FASTLOGREG_DEBUG=1 FASTLOGREG_SANITIZE=$* \
	    build/venv-$*/bin/python -m pip install --quiet --no-cache-dir "$$(echo dist/*.tar.gz)[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo.png .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find fastlogreg -name '*.so' -delete

BENCH_OUTPUT ?= benchmarks/results

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.run --problems small --output build/bench
	$(BIN)/python -m benchmarks.plot --output build/bench
	$(BIN)/python -m benchmarks.report --output build/bench

bench-full: $(VENV)/.bench
	$(BIN)/python -m benchmarks.run --problems full internet --output $(BENCH_OUTPUT)
	$(BIN)/python -m benchmarks.plot --output $(BENCH_OUTPUT)
	$(BIN)/python -m benchmarks.scaling --output $(BENCH_OUTPUT)
	$(BIN)/python -m benchmarks.report --output $(BENCH_OUTPUT)

# Where not every library has a package for the machine, those that have one; the race reports the others as missing.
$(VENV)/.bench: $(BUILD_INPUTS) $(VENV)/.build
	$(INSTALL_EDITABLE) ".[bench]" || { \
	    $(INSTALL_EDITABLE) ".[demo]"; \
	    $(BIN)/python -c 'import tomllib; \
	        print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")' | \
	    while read library; do $(BIN)/python -m pip install --quiet "$$library" || true; done; }
	touch $@
