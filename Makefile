# The environment lives in .venv: made when missing, installed again when a requirements file changed.

PORT ?= 8501
PYTHON ?=
ARGS ?=

# Who listens beyond this machine says so on the command line: other tools put a HOST of theirs into the environment.
# With a name to print, Streamlit does not ask the internet for an address.
ifeq ($(origin HOST),command line)
LISTEN := --server.address $(HOST) $(if $(filter 0.0.0.0 ::,$(HOST)),--browser.serverAddress $(shell uname -n))
endif

BIN := .venv/bin/python
# A stamp's name is a checksum of what was installed and where: a touched file installs nothing, a moved checkout does.
stamp = .venv/.$(1)-$(shell { cat $(2); pwd; } | cksum | cut -d ' ' -f 1)
RUN := $(call stamp,run,requirements.txt)
DEV := $(call stamp,dev,requirements.txt requirements-ray.txt requirements-dev.txt)

NEEDS_PYTHON := Dropscope needs Python 3.11 or newer
NO_PYTHON := $(NEEDS_PYTHON), and none was found: install one, or name it with PYTHON=/path/to/python3.
OLD_VENV := $(NEEDS_PYTHON), and .venv was made with an older one: remove .venv and run make again.
NO_VENV := This Python has no venv module: install it (on Debian and Ubuntu: apt install python3-venv) and run make again.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# A module's tests stay together, as they share a server. More than two at once would need much memory.
TWO_AT_ONCE := -n logical --maxprocesses 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help run test test-all lint bench clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 16

run: $(RUN) ## open the dashboard on 127.0.0.1, port PORT (8501); HOST=0.0.0.0 for a network
	$(BIN) -m streamlit run app/streamlit_app.py --server.port $(PORT) $(LISTEN)

test: $(DEV) ## run the tests, without those that take minutes (ARGS="-k data" for some, "-n 0" one after the other)
	$(BIN) -m pytest $(TWO_AT_ONCE) -m "not slow" $(ARGS)

test-all: $(DEV) ## run every test, one after the other
	$(BIN) -m pytest $(ARGS)

lint: $(DEV) ## ruff, and mypy on core and models
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .
	$(BIN) -m mypy

bench: $(RUN) ## what layers, training and the dashboard cost here, beside their budgets (ARGS="layers --quick")
	$(BIN) -m core bench $(ARGS)

clean: ## remove .venv and the tools' caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN):
	@found=; for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python); do \
	    if "$$python" -c '$(NEW_ENOUGH)' 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "$(NO_PYTHON)" >&2; exit 1; fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then echo "$(NO_VENV)" >&2; exit 1; fi; \
	echo "Making .venv with $$found"; \
	"$$found" -m venv --clear .venv

# Old stamps go first, so that an install that fails or is interrupted leaves none.
define install
@$(BIN) -c '$(NEW_ENOUGH)' || { echo "$(OLD_VENV)" >&2; exit 1; }
@rm -f .venv/.run-* .venv/.dev-*
@$(BIN) -m pip --version >/dev/null 2>&1 || $(BIN) -m ensurepip --upgrade
$(BIN) -m pip install --disable-pip-version-check -r $(1)
@touch $(RUN)
endef

$(RUN): | $(BIN)
	@echo "Installing what Dropscope needs into .venv: about 6 GB, once."
	$(call install,requirements.txt)

$(DEV): | $(BIN)
	@echo "Installing what Dropscope and its tests need into .venv: about 6 GB, once."
	$(call install,requirements-dev.txt)
	@touch $(DEV)
