# One door to everything. `make` alone prints what there is.
# Any Python from 3.11 on sets things up: make book PYTHON=python3.12
# An environment that you made yourself serves as well: make book VENV="$CONDA_PREFIX"

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
BUILD  := _build/quick

# Two workers, a module or class at a time to each (so that what its tests share is made once). They share
# the cores, so each computes with one thread.
PYTEST_ARGS ?= -n 2 --dist loadscope

# For `make bench`, for instance "--minutes 5 --device cpu"
BENCH_ARGS ?= --minutes 12

export JUPYTER_PLATFORM_DIRS := 1
# Threads that wait sleep instead of spinning: on cores that other processes use as well, this is the
# difference between a millisecond and a second a step.
export OMP_WAIT_POLICY ?= PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup book published test lint format bench tidy clean distclean
.DELETE_ON_ERROR:

help:  ## this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)$$/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'

setup: $(STAMP)  ## create .venv and install everything into it (once; again when the pins change)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "There is no '$(PYTHON)' here. Install Python 3.11 or newer, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The pinned environment needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot create virtual environments. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV): this downloads PyTorch and the book's tools, some minutes the first time."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(VENV) was made with $$($(BIN)/python -V 2>&1), and 3.11 or newer is needed. Remove it (make distclean) and try again."; exit 1; }
	$(BIN)/python -m pip install --quiet -e ".[all]" -c constraints.txt
	@touch $@

book: $(STAMP)  ## re-execute every chapter at the quick profile and build the book from that
	rm -rf $(BUILD)/book $(BUILD)/chapters
	OMP_NUM_THREADS=1 $(BIN)/gleak run --profile quick --output $(BUILD)
	mkdir -p $(BUILD)/book
	cd book && tar -cf - --exclude=./_build --exclude=./chapters . | tar -xf - -C ../$(BUILD)/book
	cp -R $(BUILD)/chapters $(BUILD)/book/chapters
	$(BIN)/jupyter-book build --all -W --keep-going $(BUILD)/book
	@echo
	@echo "The book at the quick profile (small images, few victims: for trying, not for quoting):"
	@echo "  file://$$PWD/$(BUILD)/book/_build/html/index.html"
	@echo "The published chapters in book/chapters were not touched; 'make published' builds those."

published: $(STAMP)  ## build the published book from its stored outputs, executing nothing
	$(BIN)/jupyter-book build --all -W --keep-going book
	@echo
	@echo "  file://$$PWD/book/_build/html/index.html"

test: $(STAMP) lint  ## lint, types and all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP)  ## ruff, spelling (American) and pyright, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(STAMP)  ## let ruff mend and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## measure attack steps, federated rounds and memory on this machine, and store the rows
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

tidy: $(STAMP)  ## take out of results/ all pictures that no published chapter shows
	$(BIN)/python -m gleak_book.tidy

clean:  ## remove what was built, keep the environment
	rm -rf _build book/_build build dist .pytest_cache .ruff_cache .hypothesis

distclean: clean  ## remove the environment, too
	rm -rf .venv gleak.egg-info
