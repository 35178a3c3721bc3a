.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Unlocked packages never come in: the locks carry hashes, and the package itself is built without isolation.
LOCKED := $(PIP) --require-hashes
PYTEST := $(BIN)/python -m pytest $(PYTEST_ARGS)
IGBOT_TOOLS ?= $(CURDIR)/.tools
export IGBOT_TOOLS
# A variable's value only if it was said on make's own command line: a KUBECONFIG of the shell may be production's.
said = $(if $(filter command line,$(origin $(1))),$($(1)))

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/made-run ## Make .venv with the command .venv/bin/igbot

demo: setup ## Try it: everything on this machine, with a pretend Instagram and a chat page
	@exec $(BIN)/igbot up --sandbox $(ARGS)

up: setup ## Run it against the real Instagram, with the settings in .env
	@exec $(BIN)/igbot up $(ARGS)

test: .venv/made-test ## Run the tests (minutes)
	$(PYTEST) -m "not long" -n 2 --dist loadfile

test-all: test ## Run also what needs more time or tools: Chromium, charts, Prometheus, long system tests
	$(PYTEST) -m long

check: .venv/made-dev ## Lint, check the formatting and the types, and that generated code is current
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@sh .ci/protos check

browser: .venv/made-test ## Open the demo in a real Chromium
	$(PYTEST) tests/system -k chromium

e2e: .venv/made-test ## Try the charts on a real Kubernetes: kind's, or KUBECONFIG=… IMAGE=…
	KUBECONFIG="$(call said,KUBECONFIG)" IMAGE="$(call said,IMAGE)" $(BIN)/python -m tests.e2e

bench: .venv/made-test ## Take the measurements that the README quotes (ONLY="lend store" takes those)
	$(BIN)/python -m bench $(ONLY)

protos: .venv/made-test ## Generate services/common/pb from protos/
	@sh .ci/protos

metrics: .venv/made-test ## Write docs/metrics.md from what the services declare
	@$(BIN)/python -m tests.metrics_page

pictures: .venv/made-test ## Draw docs/images from the dashboards and a run of two minutes
	@$(BIN)/python -m tests.pictures

lock: .venv/made-dev ## Lock requirements/*.in to *.txt, newest versions that fit (LOCK=--upgrade)
	@sh .ci/lock $(LOCK)

tools: .venv/made-run ## Install the tools that tests use into .tools/
	@bash .ci/tools

clean: ## Remove what make made, but not var/ (the data) and .tools/
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/made-venv: .ci/venv
	@sh .ci/venv
	@touch $@

.venv/made-run: .venv/made-venv requirements/build.txt requirements/base.txt requirements/embedded.txt pyproject.toml
	@echo "igbot: installing the locked packages into .venv (a minute or two, once)"
	@$(LOCKED) -r requirements/build.txt -r requirements/base.txt -r requirements/embedded.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/made-test: .venv/made-run requirements/test.txt
	@echo "igbot: installing what the tests need"
	@$(LOCKED) -r requirements/test.txt
	@touch $@

.venv/made-dev: .venv/made-test requirements/dev.txt
	@echo "igbot: installing what the checks need"
	@$(LOCKED) -r requirements/dev.txt
	@touch $@

.PHONY: help setup demo up test test-all check browser e2e bench protos metrics pictures lock tools clean
