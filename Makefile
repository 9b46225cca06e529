# Two commands do everything on a fresh machine: `make bitstream` and `make test`.
PYTHON ?= python3.11
BOARD  ?= ulx3s
VENV   := .venv
BIN    := $(VENV)/bin
HWGEN  := $(BIN)/hwgen
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?/\1\t/' | expand -t 16

venv: $(STAMP)  ## build the virtual environment from the pinned versions
$(STAMP): constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt 'setuptools<81' torch==2.13.0
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[train,sim,pnr,runtime,report,test,docs]'
	@touch $@
