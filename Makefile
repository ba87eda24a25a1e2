# `make run` opens the page, `make test` runs all checks; both set up what they need first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test
run: .venv/page
	$(BIN)/python app.py $(ARGS)

test: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.venv/page: requirements.txt constraints.txt | .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt -c constraints.txt
	touch $@

.venv/dev: requirements-dev.txt requirements-train.txt requirements-data.txt requirements-ray.txt requirements-tune.txt requirements.txt constraints.txt | .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	touch $@

.venv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo "Python 3.11 or 3.12 is needed, $(PYTHON) is $$($(PYTHON) --version); try: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
