# Everything runs from .venv, which the first target that needs it makes. Paths are relative, so that the
# folder may lie anywhere, also behind a name with spaces.
PYTHON ?=
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
SUITABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

RUN := .venv/bin/python
READY := .venv/.ready
PYTEST := $(RUN) -m pytest
# Tests compute in one thread, so two processes halve the time on two cores; ARGS='-n 0' for one.
PARALLEL := -n 2 --dist worksteal
LAYERS := .venv/bin/lint-imports --no-logo

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-system lint format laws crash bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14

setup: $(READY) ## make .venv with everything that nhnas and its tests need
$(READY): pyproject.toml constraints.txt
	@if ! $(RUN) -m pip --version >/dev/null 2>&1; then \
	  for python in $(if $(PYTHON),"$(PYTHON)",$(PYTHONS)) none; do \
	    if "$$python" -c '$(SUITABLE)' 2>/dev/null; then break; fi; \
	  done; \
	  if test "$$python" = none; then \
	    echo "nhnas needs Python 3.11 or newer with its venv module; tried: $(or $(PYTHON),$(PYTHONS))." >&2; \
	    echo "Debian, Ubuntu: install python3-venv. Elsewhere: make PYTHON=/path/to/python3 ..." >&2; \
	    exit 2; \
	  fi; \
	  echo "setting up .venv with $$python (downloads about 3 GB once, most of it torch)"; \
	  "$$python" -m venv --clear .venv; \
	fi
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## two steps on the spirals, from scratch, in ./demo
	rm -rf demo && mkdir demo && cp examples/spirals/spec.yaml demo/
	cd demo && unset NHNAS_STORE && for command in step step log eval plot "plot --figure boundary"; do \
	  echo && echo "\$$ nhnas $$command spec.yaml" && ../.venv/bin/nhnas $$command spec.yaml || exit; \
	done
	@echo && echo "the run is drawn in demo/spec.history.png, the decision boundary in demo/spec.boundary.png; go on there: cd demo, ../.venv/bin/nhnas step spec.yaml"

test: $(READY) ## all tests that need no system package
	$(PYTEST) $(PARALLEL) -m 'not system and not crash' $(ARGS)

test-system: $(READY) ## the tests that need graphviz, strace or node
	$(PYTEST) $(PARALLEL) -m 'system and not crash' $(ARGS)

lint: $(READY) ## ruff, mypy and the layering
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy
	$(LAYERS)

format: $(READY) ## sort imports and format
	$(RUN) -m ruff check --select I --fix
	$(RUN) -m ruff format

laws: $(READY) ## the property tests with many more examples, in a new random order each time
	HYPOTHESIS_PROFILE=laws $(PYTEST) -m hypothesis $(ARGS)

crash: $(READY) ## the campaign: kills, signals, failing calls, full disks, damage, with its counts; needs strace
	$(PYTEST) -m crash $(ARGS)

bench: $(READY) ## the short forms of the benchmarks
	$(RUN) benchmarks/training_step.py --short
	$(RUN) benchmarks/evaluation_form.py --short
	$(RUN) benchmarks/pipeline.py --images 1280 --rounds 1
	$(RUN) benchmarks/data_wait.py --short
	$(RUN) benchmarks/memory.py
	$(RUN) benchmarks/growth.py --cpu --rounds 5
	$(RUN) benchmarks/optimizer_step.py
	$(RUN) benchmarks/toys.py --seeds 0

clean: ## remove what can be made again, but keep .venv
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
