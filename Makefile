# stategpt: every job has one word. `make help` lists them; each can be repeated and resumes after an interruption.
#
# The environment is .venv; .make holds one stamp for each step that is complete.
#   PYTHON=python3.12 make test     another interpreter (>= 3.11)
#   JOBS=1 make test                Python tests one after another (by default as many at a time as there are cores)
#   TORCH=cpu make demo             torch without CUDA, about 0.2 GB instead of 3 GB (from PyTorch's own index)
#   make bench-gpu PYTHON_GPU=python3 GPU_OPTIONS='--only peers,decode'     an interpreter that has torch; some parts

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
TORCH ?=
JOBS ?= $(shell env -u OMP_NUM_THREADS nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
RUN_FOLDER ?= runs/tiny
BIN := .venv/bin
STAMPS := .make
OLDEST_TRITON := $(if $(filter Linux,$(shell uname -s)),$(STAMPS)/triton-3.6.0/made)
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export VIRTUAL_ENV := $(CURDIR)/.venv
unexport CONDA_PREFIX

RUST_SOURCES := $(shell find rust -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
say = printf '\n==> %s\n' "$(1)"

# A .venv that is missing, broken, or was moved with its folder is created again.
ifneq ($(shell $(BIN)/python -c '' 2>/dev/null && cat $(STAMPS)/venv 2>/dev/null),$(CURDIR))
$(shell rm -f $(STAMPS)/venv)
endif

.PHONY: help
help:  ## list the jobs
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sort | awk -F ':.*  ## ' '{printf "  make %-11s %s\n", $$1, $$2}'

.PHONY: demo
demo: setup  ## the four stages on this machine's CPU: raw text to an RLHF model and its report
	@$(call say,Running the recipe tiny_cpu into $(RUN_FOLDER); it resumes)
	$(BIN)/stategpt run tiny_cpu --out $(RUN_FOLDER) --check

# Tests are handed out one by one in the order of tests/conftest.py, those of an `xdist_group` together.
SHARED_OUT = -n $(JOBS) --dist loadgroup --no-loadscope-reorder

.PHONY: test
test: setup $(OLDEST_TRITON)  ## all tests, Rust then Python
	@$(call say,Rust tests)
	cargo test --locked
	@$(call say,Python tests)
	$(BIN)/python -m pytest $(SHARED_OUT)

.PHONY: test-oldest
test-oldest: setup $(STAMPS)/oldest/made  ## operations, models and training with the oldest torch, Triton and numpy
	@$(call say,Python tests with the oldest packages that pyproject.toml allows)
	PYTHONPATH=python $(STAMPS)/oldest/bin/python -m pytest -q $(SHARED_OUT) tests/ops tests/model tests/train

.PHONY: mutants
mutants: setup  ## break the product in one place after another: the tests named for each must fail (AREAS='training ...')
	$(BIN)/python tests/mutants/run.py $(AREAS)

.PHONY: fuzz
fuzz: setup  ## hostile input: the fuzz targets on changed seeds, then every reader and argument (5 minutes; TRIES=200)
	@$(call say,Fuzz targets on their seeds and on changes of them)
	cargo test --locked --release -p stategpt-fuzz
	@$(call say,Hostile inputs of every kind)
	$(BIN)/python fuzz/hostile/run.py $(if $(TRIES),--tries $(TRIES)) --write SECURITY.md

.PHONY: audit
audit:  ## licenses, sources and published weaknesses of the crates (cargo-deny; builds it once, several minutes)
	@command -v cargo-deny >/dev/null || [ -x $(STAMPS)/cargo-deny/bin/cargo-deny ] || \
	  cargo install --locked --root $(STAMPS)/cargo-deny cargo-deny
	@export PATH="$$PATH:$(CURDIR)/$(STAMPS)/cargo-deny/bin"; \
	cargo-deny --locked check licenses bans sources; \
	if cargo-deny fetch db; then cargo-deny --locked check advisories; else \
	  echo 'SKIPPED: published weaknesses. The RustSec database (github.com) cannot be reached from here;'; \
	  echo '         licenses, banned crates and sources were checked. Run `make audit` again with a network.'; fi
	@echo 'Not audited here: Python packages. Their lower bounds in pyproject.toml leave out versions with known weaknesses.'

.PHONY: aot
aot: setup $(OLDEST_TRITON)  ## compile every kernel without a GPU: tests/golden/kernels_aot, docs/kernels-aot.md, docs/kernels.md
	@$(call say,Compiling every launch with the newest and the oldest Triton (several minutes))
	rm -rf $(STAMPS)/aot && mkdir -p $(STAMPS)/aot tests/golden/kernels_aot
	for python in $(BIN)/python $(dir $(OLDEST_TRITON))bin/python; do \
	  env -u TRITON_INTERPRET $$python -W ignore triton_kernels/_shared/aot.py --out $(STAMPS)/aot; done
	$(BIN)/python triton_kernels/_shared/aot_page.py $(STAMPS)/aot docs/kernels-aot.md docs/kernels.md
	rm -f tests/golden/kernels_aot/*.json && cp $(STAMPS)/aot/*.json tests/golden/kernels_aot/

.PHONY: check
check: setup  ## formatting, lints, types, the stub against the binary, the layers
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest stategpt._native --allowlist tests/architecture/stub_allowlist.txt
	$(BIN)/python -m pytest -q -m "not slow" tests/architecture

.PHONY: bench
bench: setup  ## benchmarks: equivalence first, then speed
	cargo bench --locked
	$(BIN)/python -m pytest benches/python --benchmark-only

# The first interpreter with torch, triton, numpy and the compiled module: one that is named, .venv's, the system's.
# Set-up only where there is none: a GPU machine may have all of it and no network.
HAS_ALL := import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in sys.argv[1:]))
NEEDED := torch triton numpy stategpt._native
PYTHON_GPU ?=
GPU_OPTIONS ?=

.PHONY: bench-gpu
bench-gpu:  ## the kernels on a GPU: correctness, speed beside peers, the table of launches (8 minutes)
	@for python in $(or $(PYTHON_GPU),$(BIN)/python '$(PYTHON)'); do \
	  if PYTHONPATH=python "$$python" -c '$(HAS_ALL)' $(NEEDED) 2>/dev/null; then \
	    PYTHONPATH=python exec "$$python" benches/kernels/bench.py $(GPU_OPTIONS); fi; done; \
	if [ -n '$(PYTHON_GPU)' ]; then echo '$(PYTHON_GPU) lacks one of: $(NEEDED)'; exit 1; fi; \
	$(MAKE) setup && exec $(BIN)/python benches/kernels/bench.py $(GPU_OPTIONS)

.PHONY: wheel
wheel: $(STAMPS)/tools  ## the wheel, into dist/
	$(BIN)/maturin build --release --locked --out dist

.PHONY: clean
clean:  ## remove what was set up and built (runs stay)
	rm -rf .venv .make target dist python/stategpt/*.so

# --- set-up, step by step ---

.PHONY: setup
setup: $(STAMPS)/native  ## what the other jobs need: .venv, packages, the compiled module

$(STAMPS)/machine: .ci/check-machine Cargo.toml
	@$(call say,Checking this machine)
	@PYTHON='$(PYTHON)' .ci/check-machine
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv: | $(STAMPS)/machine
	@$(call say,Making .venv with uv from PyPI)
	'$(PYTHON)' -m venv --clear .venv
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on 'uv>=0.7'
	@echo '$(CURDIR)' > $@

$(STAMPS)/tools: $(STAMPS)/venv
	@$(call say,Installing maturin)
	$(BIN)/uv pip install 'maturin>=1.9,<2'
	@touch $@

$(STAMPS)/packages: $(STAMPS)/tools pyproject.toml
	@$(call say,Installing packages; torch for CUDA is about 3 GB on its first download (TORCH=cpu: 0.2 GB))
	$(BIN)/uv pip install $(addprefix --torch-backend ,$(TORCH)) -r pyproject.toml --extra train --extra hf --extra dev
	@touch $@

# The oldest Triton that the package takes, without torch: the kernels must compile with it as with the newest.
$(STAMPS)/triton-3.6.0/made: | $(STAMPS)/venv
	@$(call say,Installing Triton 3.6.0 beside .venv (190 MB on its first download))
	rm -rf $(@D) && $(BIN)/uv venv --no-project --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --python $(@D)/bin/python triton==3.6.0
	@touch $@

# The lower bounds of pyproject.toml themselves, beside .venv; the compiled module is that of this tree, built once.
$(STAMPS)/oldest/made: pyproject.toml | $(STAMPS)/venv
	@$(call say,Installing the oldest packages beside .venv; torch for CUDA is about 3 GB on its first download (TORCH=cpu: 0.2 GB))
	rm -rf $(@D) && $(BIN)/uv venv --no-project --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --python $(@D)/bin/python $(addprefix --torch-backend ,$(TORCH)) \
	  --resolution lowest-direct --only-binary :all: -r pyproject.toml --extra train --extra dev
	@touch $@

$(STAMPS)/native: $(STAMPS)/packages $(RUST_SOURCES) pyproject.toml
	@$(call say,Building the wheel of the Rust code (a few minutes the first time))
	$(BIN)/maturin develop --uv --release --locked
	@touch $@
