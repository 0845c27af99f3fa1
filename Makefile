# Each target is complete by itself: it sets up what it needs in .venv first, which is instant when nothing changed.
#
# Choices, given as `make lab NAME=value`:
#   PYTHON=python3.12     the Python to build on (default: the first suitable one found)
#   TORCH=cpu             PyTorch's CPU build on Linux: smaller; other values as for uv's --torch-backend
#   UNIT=5_ensembles      the folder of exercises that `make grade` grades; for `make paper` a lesson's number or an experiment
#   LESSON=03             the one lesson of `make slides`, `make present` and `make frames` (default: all)
#   PART=3/10             the share of `make confirm` that the third of ten jobs has, each with files of its own
#   LABFLAGS=--no-browser, PYTESTFLAGS='-k hmc', NOTEBOOKS=lessons/…, SETS=10, SOAKFLAGS=--fresh, PROOFFLAGS=--minutes=25, PAPERFLAGS=--estimate, PINFLAGS=--upgrade

PYTHON ?=
TORCH ?=
UNIT ?=
LESSON ?=
LABFLAGS ?=
PYTESTFLAGS ?=
NOTEBOOKS ?=
SETS ?= 10
PART ?=
SOAKFLAGS ?=
PROOFFLAGS ?=
PAPERFLAGS ?=
PINFLAGS ?=

# Nearly any Python can start the set-up, which finds or downloads the one to build on.
ANY_PYTHON = $(shell for p in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1 && echo "$$p" && break; done)
SETUP = $(or $(ANY_PYTHON),$(error No Python 3.8 or newer was found. Install Python 3.12 and run make again)) \
	tools/setup_env.py --python '$(PYTHON)' --torch '$(TORCH)'
RUN = .venv/bin/python
# Where a container forbids compiled files, every process would compile what it imports anew.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help env env-test env-site env-slides env-present env-instructor env-reference lab test slides present site frames grade reference exercises proofs mutants readme confirm soak twins execute bench paper lint format pins clean

help: ## Show this list
	@echo 'make lab and make test are all you need; each sets up everything on its first run.'
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@sed -n '/^# Choices/,/^$$/s/^# *//p' Makefile | sed 's/^[A-Z]*=/  &/'

env:
	@$(SETUP)

env-test:
	@$(SETUP) --extra test --extra site --extra slides --extra present

env-site:
	@$(SETUP) --extra site

env-slides:
	@$(SETUP) --extra slides

env-present:
	@$(SETUP) --extra present

env-instructor:
	@$(SETUP) --extra instructor

env-reference:
	@$(SETUP) --extra test --extra reference

lab: env ## Set up everything and open JupyterLab on your own copy of the course, my_course/
	@$(RUN) tools/learner_copy.py --open $(LABFLAGS)

test: env-test ## Set up everything and run all tests
	$(RUN) -m pytest $(PYTESTFLAGS)

slides: env-slides ## Show the lessons as decks of slides with speaker notes (LESSON=03 for one), until Control-C
	$(RUN) tools/build_slides.py --serve $(if $(LESSON),--lesson $(LESSON))

present: env-present ## Show the live demos as pages without code (LESSON=03 for one), until Control-C
	$(RUN) tools/present.py $(if $(LESSON),--lesson $(LESSON)) $(LABFLAGS)

site: env-site ## Write the course as pages for a browser to build/site, from the stored outputs
	$(RUN) tools/build_site.py

frames: env-test ## Draw the pictures that sliders on the site show without Python (LESSON=03 for one)
	$(RUN) tools/demo_frames.py $(if $(LESSON),--lesson $(LESSON))

grade: env-instructor ## Grade what lies in submitted/STUDENT/UNIT (UNIT=5_ensembles): gradebook, feedback/, build/grades.csv
	@test -d 'solutions/$(UNIT)' && test -n '$(UNIT)' || { echo 'Which unit? make grade UNIT=5_ensembles'; exit 1; }
	$(RUN) -m nbgrader generate_assignment $(UNIT) --CourseDirectory.release_directory=build/release
	$(RUN) -m nbgrader autograde $(UNIT) --create --force
	$(RUN) -m nbgrader generate_feedback $(UNIT) --force
	@mkdir -p build && $(RUN) -m nbgrader export --to build/grades.csv

reference: env-reference ## Compare results with other libraries, which are installed first
	$(RUN) -m pytest tests/reference $(PYTESTFLAGS)

exercises: env-test ## Write exercises/ from solutions/
	$(RUN) tools/make_exercises.py

proofs: env-test ## Check right answers of all exercises on 1,000 seeds and store how many were refused
	OMP_NUM_THREADS=1 $(RUN) tools/prove_checks.py --right --seeds 1000 $(PROOFFLAGS)

mutants: env-test ## Change every solution by rule, in one place each, and store which changes its check accepts
	OMP_NUM_THREADS=1 $(RUN) tools/mutants.py

execute: env-test ## Run lessons and solutions top to bottom and store their outputs (NOTEBOOKS=… for some)
	$(RUN) tools/execute_notebooks.py $(NOTEBOOKS)

readme: env-test ## Write README, CLAIMS.md and docs from the notebooks and their confirmation
	$(RUN) tools/update_readme.py

confirm: env-test ## Run lessons on SETS sets of fresh seeds and store what becomes of each verdict
	$(RUN) tools/confirm.py --sets $(SETS) $(if $(PART),--part $(PART)) $(NOTEBOOKS)

twins: env-test ## Measure headline claims a second time, by short independent code, and store the values
	$(RUN) tools/twins.py

soak: env-test ## Run the unit tests on other random streams and instruction sets, and report what fails
	$(RUN) tools/soak.py $(SOAKFLAGS)

bench: env-reference ## Measure speed against loops, vmap and other libraries, which are installed first
	$(RUN) -m benchmarks

paper: env ## Run the papers' experiments, on a GPU if there is one (UNIT=10 or UNIT=collapse for some); resumes
	$(RUN) -m paper $(or $(UNIT),all) $(PAPERFLAGS)

lint: env-test ## Check code and notebooks with ruff
	$(RUN) -m ruff check . && $(RUN) -m ruff format --check .

format: env-test ## Format code and notebooks with ruff
	$(RUN) -m ruff check --fix . ; $(RUN) -m ruff format .

pins: ## Write requirements.txt anew from pyproject.toml (PINFLAGS=--upgrade for newest versions)
	@$(SETUP) --uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--custom-compile-command 'make pins' --quiet $(PINFLAGS) --output-file requirements.txt

clean: ## Remove .venv and what tools have left behind; your notebooks stay
	rm -rf .venv build dist ./*.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
