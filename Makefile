# Needs python3 >= 3.11 with venv and pip, and make. Everything else goes into .venv.
# ENV=conda sets .venv up with conda instead; uv is used where it is installed.

PROFILE  ?= default
MODEL    ?=
DATA     ?=
FORGET   ?=
NOTEBOOK ?=
FRESH    ?=
DRY      ?=
DATA_OF  ?=
SCHEDULER ?=
P        ?=
PYTHON   ?= python3

PY    := .venv/bin/python
STAMP := .venv/.installed
PEERS := .venv-peers/bin/python

# A variable's value as one word of the shell, with its quotes, spaces and dollars; as an option, if it has a value.
quoted = '$(subst ','\'',$(value $1))'
option = $(if $(value $2),$1 $(call quoted,$2))
OWN = --profile $(call quoted,PROFILE) $(call option,--model,MODEL) $(call option,--data,DATA) \
      $(call option,--forget,FORGET) $(call option,--parameters,P)
OPTIONS = $(OWN) $(call option,--notebook,NOTEBOOK) $(if $(FRESH),--fresh) $(if $(DRY),--dry-run) \
          $(call option,--scheduler,SCHEDULER)

.DEFAULT_GOAL := help
.PHONY: help env models recipe tune reproduce quick test golden lint lab report publish check clean bench peers

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Variables: PROFILE=quick|default|full  NOTEBOOK=02_first_epoch  P="name=value ..."'
	@echo '           MODEL=name|hub-id|folder  DATA=facts.jsonl  FORGET="persons or ids, with commas"  ENV=conda'
	@echo '           FRESH=1 (reproduce: takes nothing from figures/data)  DRY=1 (only the plan)  DATA_OF=default (publish)'
	@echo '           SCHEDULER=tcp://host:8786 (reproduce: computes on a Dask cluster, see README)'

env: $(STAMP)  ## set up .venv (about 2 minutes, once)

# glibc then reuses freed memory rather than handing it back after each step: an eighth faster on two cores.
reproduce: export MALLOC_MMAP_MAX_ = 0
reproduce: export MALLOC_TRIM_THRESHOLD_ = 17179869184
reproduce: env  ## run the study, its notebooks and the report: what is missing of it
	@$(PY) -m unlearnkit reproduce $(OPTIONS)

quick: env  ## every notebook on a tiny model (4 minutes)
	@$(MAKE) --no-print-directory reproduce PROFILE=quick

recipe: env  ## find a learning rate at which MODEL learns DATA: a few trainings, gentlest first
	@$(PY) -m unlearnkit recipe $(OWN)

tune: env  ## try each method's settings on MODEL in worlds that no table shows: gpt2-tiny, ...
	@$(PY) -m unlearnkit tune $(call quoted,MODEL)

models: env  ## fetch all that runs and tests need, or MODEL=...: no network later
	@$(PY) -m unlearnkit models fetch $(if $(value MODEL),$(call quoted,MODEL))

test: env  ## all tests, with what they need fetched first
	@$(PY) -m unlearnkit models fetch
	$(PY) -m pytest -q -n 2 --dist loadfile --timeout 600 tests

golden: env  ## keep the numbers of tests/golden anew, after a version was raised
	$(PY) tests/golden/make.py

lint: env  ## ruff
	$(PY) -m ruff check unlearnkit tests notebooks

lab: env  ## the notebooks in JupyterLab
	$(PY) -m jupyterlab notebooks

report: env  ## build the HTML report from what a run has executed so far
	@$(PY) -m unlearnkit report --profile $(call quoted,PROFILE)

publish: env  ## notebooks/, figures/ and README from figures/data, or first from a run: DATA_OF=default
	@$(PY) -m unlearnkit publish $(call option,--data,DATA_OF)

check: env  ## execute the notebooks on figures/data: notebooks/, figures/ and README must not change
	@$(PY) -m unlearnkit check

bench: env  ## run the benchmarks that figures/benchmarks lacks (80 minutes for all, on idle cores)
	@$(or $(wildcard $(PEERS)),$(PY)) -m unlearnkit bench missing
	@$(PY) -m unlearnkit bench report

# An environment of its own: they bring builds for CUDA, which a CPU build of torch cannot load.
peers:  ## Opacus, bergson and kronfluence, for `make bench` to measure against (3 minutes, 2.5 GB)
	@test -x $(PEERS) || $(PYTHON) -m venv .venv-peers
	@$(PEERS) -m pip install -qq --upgrade "pip>=25.1"
	@$(PEERS) -m pip install -qq -r requirements.lock -e '.[bench]'
	@$(PEERS) -m pip uninstall -qqy torchvision torchaudio

clean:  ## remove executed notebooks and the report (cache/ and .venv stay)
	rm -rf build .pytest_cache .ruff_cache

# --- set-up -------------------------------------------------------------------------------------
ifeq ($(ENV),conda)
SETUP := conda
else ifneq ($(shell command -v uv),)
SETUP := uv
else
SETUP := venv
endif

$(STAMP): requirements.lock pyproject.toml
	@echo "Setting up .venv with $(SETUP): about 2 minutes and 1.7 GB"
	@$(MAKE) --no-print-directory setup-$(SETUP)
	@touch $@

.PHONY: setup-venv setup-uv setup-conda
setup-venv:
	@$(PYTHON) -c 'import sys; sys.exit("python >= 3.11 is needed: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PY) -m pip install -qq --upgrade "pip>=25.1"
	@$(PY) -m pip install -qq -r requirements.lock
	@$(PY) -m pip install -qq --no-deps -e .

# uv reads no pip configuration: hand over where pip looks for packages, e.g. for torch without CUDA.
PIP_TO_UV = s/\\\\n/ /g; s/^.*\.\(find-links\|index-url\|extra-index-url\)='\(.*\)'$$/\1 \2/p
UV_WHERE = $$($(PYTHON) -m pip config list | sed -n "$(PIP_TO_UV)" | sort -u | \
             while read -r key values; do for value in $$values; do echo "--$$key $$value"; done; done)
setup-uv:
	@test -x $(PY) || uv venv -q --seed --python $(PYTHON) .venv
	@where="$(UV_WHERE)" && \
	uv pip install -q --python $(PY) --index-strategy unsafe-best-match $$where -r requirements.lock && \
	uv pip install -q --python $(PY) --index-strategy unsafe-best-match $$where --no-deps -e .

setup-conda:
	@command -v conda > /dev/null || { echo "error: ENV=conda is asked for, but there is no conda"; exit 1; }
	conda env update -q --prefix ./.venv --file environment.yml
