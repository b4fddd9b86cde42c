# Everything starts from an empty machine with Python ≥ 3.11: `make demo` and `make test` install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_DIR ?= demo_results
# Of make torture: at least so many kills, mutated files of each kind, what repeats it, minutes after which no further study begins.
KILLS ?= 100
FUZZ ?= 5000
SEED ?= 0
TORTURE_MINUTES ?= 120

# Of make matrix: Python versions, and what pytest runs with each of them.
PYTHONS ?= 3.11 3.12 3.13
MATRIX_TESTS ?= -n 2 --dist loadfile -m "not slow"

# Each file's tests in one process, which makes its fixtures once.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile

.PHONY: demo test slow benchmark-tests thorough coverage lint torture docs dist check-release matrix clean

demo: $(VENV)/ok  ## The main job on real bars: search, Pareto front, retraining, one test (3 to 9 minutes on 2 cores)
	rm -rf $(DEMO_DIR)
	$(BIN)/cnn-lstm-hyperopt run --demo --save-dir $(DEMO_DIR)

test: $(VENV)/ok lint  ## All fast tests
	$(PYTEST) -m "not slow"

slow: $(VENV)/ok  ## Slow tests, without those that repeat another one; the tests of torture/ and benchmarks/
	$(PYTEST) --no-loadscope-reorder -m "slow and not thorough" --timeout 900 tests torture/tests
	$(PYTEST) benchmarks/tests -m "not thorough" --timeout 900

benchmark-tests: $(VENV)/ok  ## All tests of benchmarks/
	$(PYTEST) benchmarks/tests --timeout 900

thorough: $(VENV)/ok  ## All that take long (an hour on 2 cores)
	$(PYTEST) --no-loadscope-reorder -m slow --timeout 900

coverage: $(VENV)/ok  ## The same tests, half as long again, and which lines of the package they run: 97 % at least
	$(PYTEST) -m "not slow" --cov --cov-report=term

lint: $(VENV)/ok  ## Style, types, layers, structure
	$(BIN)/ruff format --check src tests torture scripts benchmarks
	$(BIN)/ruff check src tests torture scripts benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/check_structure.py
	$(BIN)/python scripts/check_words.py

torture: $(VENV)/ok  ## Real runs killed at random moments and resumed, mutated files: 1 at the first broken promise (10 to 30 minutes on 2 cores)
	$(BIN)/python -m torture --kills $(KILLS) --fuzz $(FUZZ) --seed $(SEED) --minutes $(TORTURE_MINUTES)

docs: $(VENV)/docs  ## The documentation as a site, with generated reference pages: site/index.html
	$(BIN)/python scripts/make_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

dist: $(VENV)-release/ok  ## Wheel and source distribution in dist/, checked by twine
	rm -rf build dist
	$(VENV)-release/bin/python -m build --quiet
	$(VENV)-release/bin/twine check --strict dist/*

check-release: dist  ## The wheel in new environments of pip and of uv: the README's script, the command line (5 to 15 minutes)
	$(VENV)-release/bin/python scripts/check_release.py

matrix: dist  ## Tests with several versions of Python, each in a new environment of uv (minutes to an hour)
	$(VENV)-release/bin/python scripts/check_release.py --matrix $(PYTHONS) -- $(MATRIX_TESTS)

clean:  ## Everything that the targets made
	rm -rf $(VENV) $(VENV)-release $(DEMO_DIR) site build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info

# pip is quiet but for errors; the whole of it takes one to three minutes.
$(VENV)/ok: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (one to three minutes) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/docs: $(VENV)/ok  # some thirty packages that nothing else needs
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

$(VENV)-release/ok:  # apart from the project's environment, so that a release needs no installation of the package
	$(PYTHON) -m venv $(VENV)-release
	$(VENV)-release/bin/pip install --quiet --disable-pip-version-check 'build>=1.3,<2' 'twine>=6,<8' 'uv>=0.9'
	touch $@
