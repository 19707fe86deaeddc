# Two commands do everything, on a machine with only Python 3.11 or newer and make:
#   make book    builds the book into _build/html
#   make test    runs every check (those of the rendered pages need Chromium as well)
# `make help` lists the others.

VENV := .venv
PYTHON := $(VENV)/bin/python
BOOK := $(PYTHON) -m tools.book

# Chapters run their seeds side by side, one process per core. Threads inside each process would only
# fight over the cores (PyTorch slows down a hundredfold).
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: book pdf test lab pairs picture benchmark clean help

book: $(VENV)/ready  ## build the book: execute what changed, render, print where to open it
	@$(BOOK) book

pdf: book  ## print the book: a PDF of each page and one of the whole (needs Chromium)
	@$(PYTHON) -m tools.pdf

# The quickest checks come first; the first failure ends the run.
test: $(VENV)/ready  ## lint, types, pairs, unit tests, every notebook, the rendered book
	@rm -rf _build/reports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(BOOK) check
	$(PYTHON) -m pytest tests --ignore=tests/rendered -n 2 --dist=loadfile --junitxml=_build/reports/unit.xml
	$(BOOK) book
	$(PYTHON) -m pytest tests/rendered -n 2 --dist=loadfile --junitxml=_build/reports/rendered.xml
	@$(BOOK) summary

lab: $(VENV)/lab  ## open the book in JupyterLab, where its markup is rendered
	$(VENV)/bin/jupyter lab --LabApp.default_url=/lab/tree/book/how_to_read.md

pairs: $(VENV)/ready  ## rewrite every notebook (.ipynb) from its source (.py)
	@$(BOOK) pairs

picture: book  ## write picture.svg, the README's picture, from the book
	@$(BOOK) picture

benchmark: $(VENV)/ready  ## our solvers and the classical ones, side by side
	$(PYTHON) -m benchmarks

clean:  ## remove what the build made (not the environment)
	rm -rf _build

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

# The environment is made from the first Python that is new enough, and made up to date whenever the
# requirements or the pins change.
$(VENV)/ready: pyproject.toml constraints.txt
	@set -e; test -x $(PYTHON) || { \
	  for python in python3 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      echo "Making $(VENV) with $$($$python --version)"; $$python -m venv $(VENV); break; \
	    fi; \
	  done; }
	@test -x $(PYTHON) || { echo "Needs Python 3.11 or newer (found: $$(python3 --version 2>&1))"; exit 1; }
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[book,test,peers,tracking,dask,ray]'
	@touch $@

# Pages open as pages, not as their source: a default of this environment, which a reader can change.
$(VENV)/lab: $(VENV)/ready tools/jupyterlab_defaults.json
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lab]'
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@cp tools/jupyterlab_defaults.json $(VENV)/share/jupyter/lab/settings/overrides.json
	@touch $@
