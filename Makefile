# The commands of README.md. VENV is made afresh by `make setup`; PY picks the Python that makes it.
PY ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Empty: the embedded default clip, and the model that ships with the project.
DEMO_SOURCE ?=
WEIGHTS ?=

.PHONY: setup demo test quick check fmt lint type contracts bench clean

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml constraints-cpu.txt $(wildcard */*.pyx */*.pxd */*.h pipeline/*/*.pyx)
	$(PY) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints-cpu.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/python examples/demo.py $(if $(DEMO_SOURCE),--source '$(DEMO_SOURCE)') $(if $(WEIGHTS),--weights '$(WEIGHTS)')

test: setup check

# Two processes of one thread each: most tests keep one core busy, and no more. Files stay whole, in their order.
check: lint type contracts
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

quick: lint type contracts
	$(BIN)/python -m pytest -q -m 'not slow'

fmt:
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type:
	$(BIN)/mypy

contracts:
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python tests/benchmarks/bench_tracker.py
	$(BIN)/python tests/benchmarks/bench_nms.py
	$(BIN)/python tests/benchmarks/bench_preprocess.py

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache runs demo
