# `make demo` and `make test` need Python 3.10 to 3.13 and make; they install everything else into .venv.
.PHONY: demo test

# The newest Python that serves and can make virtual environments.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3.10 python3; do \
	$$python -c "import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))" 2>/dev/null \
	&& echo $$python && break; done)
# Without an NVIDIA GPU, versions are chosen that leave gigabytes of CUDA out.
CONSTRAINTS ?= $(shell nvidia-smi >/dev/null 2>&1 || echo "-c constraints-cpu.txt")
NO_PYTHON = No Python 3.10 to 3.13 that makes virtual environments was found. Install one \
	(Debian, Ubuntu: apt install python3 python3-venv) or name one: make PYTHON=/path/to/python3
BIN := .venv/bin

demo: .venv/installed
	$(BIN)/sammoe_demo

# One thread a worker: two workers then keep two cores busy.
test: export OMP_NUM_THREADS = 1
test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

.venv/installed: setup.py constraints-cpu.txt
	$(if $(PYTHON),,$(error $(NO_PYTHON)))
	@echo "Installing into .venv: a minute or two."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e ".[test]" $(CONSTRAINTS)
	@touch $@
