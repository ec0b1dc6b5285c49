# Every target installs what it needs into .venv first; a second call finds it installed. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOG := $(VENV)/install.log
# Python compiles what it imports, once, and keeps it: compiling all of it, as pip would, takes minutes, and most is never
# imported.
unexport PYTHONDONTWRITEBYTECODE
PIP_INSTALL := -m pip --disable-pip-version-check install --no-compile
INSTALL = $(BIN)/python $(PIP_INSTALL) -c constraints.txt -e "$(PARTS)" > $(LOG) 2>&1 \
	|| { grep -v '^WARNING' $(LOG) | tail -n 20 >&2; exit 1; }
WORKERS ?= 2
DEMO_STEPS ?= 15000
# The Python in which `make bench` and `make race` find the peers; by default it makes one.
PEERS ?= .venv-peers/bin/python
NOTEBOOKS := notebooks/reparameterization.py notebooks/ddpg.py notebooks/td3.py notebooks/sac.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types check docs notebooks bench race dist constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/core.installed ## train SAC on Pendulum for 15,000 steps, evaluate it, record a video, write a report
	@set -e; \
	run=$$($(BIN)/polyak train sac Pendulum-v1 --steps $(DEMO_STEPS) --seed 0 --run-dir runs/demo); \
	$(BIN)/polyak evaluate "$$run"; \
	video=$$($(BIN)/polyak record "$$run"); \
	report=$$($(BIN)/polyak report "$$run"); \
	printf '\npolicy  %s\nvideo   %s\nreport  %s\n' "$$run/policy.safetensors" "$$video" "$$report"; \
	test -s "$$run/policy.safetensors" -a -s "$$video" -a -s "$$report"

test: $(VENV)/dev.installed ## run the tests; PYTEST="-k sac" selects, WORKERS=8 spreads them
	@$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST)

lint: $(VENV)/dev.installed ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/dev.installed ## check types
	@$(BIN)/pyright --pythonpath $(BIN)/python

check: test lint types ## everything that a change has to pass

docs: $(VENV)/docs.installed ## build the documentation into site/; a broken link or a page that is in no menu fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@printf 'open %s\n' "$(CURDIR)/site/index.html"

notebooks: $(VENV)/notebooks.installed ## make the notebooks (.ipynb) from their .py files, or bring both up to date
	@$(BIN)/python -m jupytext --quiet --sync $(NOTEBOOKS)
	@printf 'open them with: %s lab notebooks\n' "$(BIN)/jupyter"

bench: $(VENV)/bench.installed $(if $(filter .venv-peers/%,$(PEERS)),.venv-peers/installed) ## time polyak beside its peers; BENCH="--algorithms sac" selects, PEERS=... names a Python that has them
	@$(BIN)/python benchmarks/bench.py --peers "$(PEERS)" $(BENCH)

# Stopped at any time, it goes on with what is left.
race: $(VENV)/bench.installed $(if $(filter .venv-peers/%,$(PEERS)),.venv-peers/installed) ## race to a return beside the peers, alone on the machine; RACE="--only Pendulum-v1" selects, --list shows
	@$(BIN)/python benchmarks/race.py --peers "$(PEERS)" $(RACE)

# From the wheel alone, in an environment of its own: `make dist` ends with the demo's training there.
dist: $(VENV)/dev.installed ## build wheel and source archive into dist/, check them, install the wheel elsewhere and train with it
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist . > $(VENV)/build.log 2>&1 || { tail -n 20 $(VENV)/build.log >&2; exit 1; }
	@$(BIN)/python -m twine check --strict dist/*
	@set -e; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh/venv"; \
	"$$fresh/venv/bin/python" -m pip -qq --disable-pip-version-check install -c constraints.txt dist/*.whl; \
	here=$$PWD; cd "$$fresh"; \
	venv/bin/polyak --version; \
	run=$$(venv/bin/polyak train sac Pendulum-v1 --steps $(DEMO_STEPS) --seed 0 --run-dir runs); \
	venv/bin/polyak evaluate "$$run"; venv/bin/polyak record "$$run"; venv/bin/polyak report "$$run"; \
	ls -l "$$here/dist"

# PyTorch keeps its version, because its newest build brings several GB of CUDA where the registry has no other.
constraints: ## write constraints.txt anew: today's versions of core, extras and tools
	@echo "resolving the newest versions ..."
	@set -e; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh"; \
	torch=$$(grep '^torch==' constraints.txt); \
	"$$fresh/bin/python" -m pip -qq --disable-pip-version-check install "$$torch" ".[all,robotics,envpool,torch,tensorflow,wandb,mlflow,ray,tune,minari,mirror,export,hub,docs,notebooks,dev]"; \
	"$$fresh/bin/python" -m pip -qq --disable-pip-version-check freeze --exclude polyak > "$$fresh/frozen"; \
	sed 's/+cpu$$//' "$$fresh/frozen" | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$' | LC_ALL=C sort -f > constraints.txt
	@echo "constraints.txt: $$(wc -l < constraints.txt) versions"

clean: ## remove the environment, builds and caches; runs/ stays
	rm -rf $(VENV) .venv-peers build dist site .pytest_cache .ruff_cache .hypothesis MUJOCO_LOG.TXT
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "polyak needs Python 3.11 or newer, which $(PYTHON) is not; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# What `dev` installs contains what `core`, `docs` and `bench` do, so that its stamp spares them their own installation.
$(VENV)/core.installed: PARTS := .
$(VENV)/core.installed: pyproject.toml constraints.txt | $(VENV)/created
	@echo "installing polyak into $(VENV) ..."
	@$(INSTALL)
	@touch $@

$(VENV)/docs.installed: PARTS := .[docs]
$(VENV)/docs.installed: pyproject.toml constraints.txt | $(VENV)/created
	@echo "installing polyak and what builds its documentation into $(VENV) ..."
	@$(INSTALL)
	@touch $@ $(VENV)/core.installed

$(VENV)/notebooks.installed: PARTS := .[box2d,notebooks]
$(VENV)/notebooks.installed: pyproject.toml constraints.txt | $(VENV)/created
	@echo "installing polyak, the lander and Jupyter into $(VENV) ..."
	@$(INSTALL)
	@touch $@ $(VENV)/core.installed

$(VENV)/bench.installed: PARTS := .[all,torch]
$(VENV)/bench.installed: pyproject.toml constraints.txt | $(VENV)/created
	@echo "installing polyak, all environments and PyTorch into $(VENV) ..."
	@$(INSTALL)
	@touch $@ $(VENV)/core.installed

.venv-peers/installed: benchmarks/peers/requirements.txt | $(VENV)/created
	@echo "installing the peers into .venv-peers ..."
	@$(PYTHON) -m venv --clear .venv-peers
	@.venv-peers/bin/python $(PIP_INSTALL) -r $< > .venv-peers/install.log 2>&1 \
	  || { grep -v '^WARNING' .venv-peers/install.log | tail -n 20 >&2; exit 1; }
	@touch $@

$(VENV)/dev.installed: PARTS := .[all,robotics,torch,tensorflow,wandb,mlflow,ray,tune,minari,mirror,export,hub,docs,dev]
$(VENV)/dev.installed: pyproject.toml constraints.txt | $(VENV)/created
	@echo "installing polyak, all environments, frameworks and the tools into $(VENV) ..."
	@$(INSTALL)
	@touch $@ $(VENV)/core.installed $(VENV)/docs.installed $(VENV)/bench.installed
