SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := $(CURDIR)/.venv
export PATH := $(VENV)/bin:$(PATH)
export APE_DATA_FOLDER := $(CURDIR)/.ape
export SOLCX_BINARY_PATH := $(VENV)/solc

CONTRACTS = $(wildcard contracts/*.sol)
FORGE_TESTS = $(wildcard tests/contracts/*.t.sol)
.PHONY: help setup demo room study test contracts-test prove slither mutate lint lint-python lint-face lint-contracts ape-build format face abi docs images release bench fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv and node_modules ready (does nothing where they are)
	@.ci/setup

demo: setup ## run one study from sealing to revocation on this machine (KEEP=1 leaves it running)
	@$(VENV)/bin/sealroom demo $(if $(KEEP),--keep)

room: setup ## set up what the demo has, and leave it running for the README's commands
	@$(VENV)/bin/sealroom demo --room

study: setup ## run a study on made-up data of its size, beside the answer without privacy (NAME=cross-bank-fraud SCALE=0.01)
	@$(VENV)/bin/python -m sealroom_agents.fullsize $(NAME) $(if $(SCALE),--scale $(SCALE))

test: setup ## run all Python tests, those of the contracts through Ape included (ARGS="tests/formats -k seal")
	@.ci/test $(ARGS)

contracts-test: setup ## run the Solidity tests and compare the stored ABIs with the contracts
	$(if $(FORGE_TESTS),@$(VENV)/bin/forge test $(ARGS),@echo "no Solidity tests yet")
	$(if $(CONTRACTS),@.ci/abi --check)

# Compiles with Ape's own compiler, which its tests and the demonstration need.
ape-build: setup
	$(CURDIR)/.venv-ape/bin/ape compile

prove: setup ## prove by symbolic execution what the contracts promise (minutes)
	@tests/contracts/analysis/prove $(ARGS)

slither: setup ## analyse the contracts statically; fails on a finding without an answer
	@$(VENV)/bin/python tests/contracts/analysis/slither.py

mutate: setup ## mutation tests of the contracts (15 minutes; ARGS=--all for all)
	@$(VENV)/bin/python -m tests.contracts.mutation $(ARGS)

lint: lint-python lint-face lint-contracts ## check style, types, imports and warnings, changing nothing

lint-python: setup
	$(VENV)/bin/ruff format --check --quiet
	$(VENV)/bin/ruff check --quiet
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo --cache-dir .build/import-linter

lint-face: setup
	node node_modules/typescript/bin/tsc --project tsconfig.json

# --force: a cached build forgets its warnings.
lint-contracts: setup
	$(if $(CONTRACTS)$(FORGE_TESTS),$(VENV)/bin/forge fmt --check)
	$(if $(CONTRACTS)$(FORGE_TESTS),$(VENV)/bin/forge build --force --deny warnings)
	$(if $(CONTRACTS),$(VENV)/bin/forge lint --deny warnings)

format: setup ## rewrite Python and Solidity in the house style
	@$(VENV)/bin/ruff check --quiet --fix-only
	@$(VENV)/bin/ruff format --quiet
	$(if $(CONTRACTS)$(FORGE_TESTS),@$(VENV)/bin/forge fmt)

face: setup ## bundle the scripts and styles of the console's pages
	@.ci/face

abi: setup ## write the contracts' ABIs and the page's model to where they are read
	@.ci/abi
	@$(VENV)/bin/python -m sealroom_agents.console.model_script
	@$(VENV)/bin/python -m sealroom_agents.console.governing_script

docs: setup ## write the generated pages: reference, licences, and the tables of codes in other pages
	@$(VENV)/bin/python .ci/docs
	@$(VENV)/bin/python .ci/codes
	@$(VENV)/bin/python .ci/licences

release: setup ## write what checks deployed contracts against their sources, and prove it (ARGS="--check …")
	@.ci/release $(ARGS)

images: setup ## build the images of enclave and gate, and the file of a release (ARGS="--twice enclave")
	@.ci/images $(ARGS)

bench: setup ## measure, and print ratios
	@$(VENV)/bin/python -m tests.bench $(ARGS)

# ARGS are for the decoders, and leave the properties out: those are the tests of Hypothesis, by its marker.
fuzz: setup ## throw changed bytes at all decoders for five minutes, then new examples at all properties (ARGS="--seconds 60 recipe")
	@$(VENV)/bin/python -m tests.fuzz $(ARGS)
	$(if $(ARGS),,@$(VENV)/bin/python -m pytest -q -m hypothesis --hypothesis-profile drawn --ignore tests/contracts tests)

clean: ## remove what builds and tests leave behind, and keep .venv and node_modules
	rm -rf .build .demo dist .hypothesis .pytest_cache .mypy_cache .ruff_cache contracts/.cache
	find agents enclave scripts tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
