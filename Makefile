# make demo   the sample catalogue through the sandbox: real images in, results table and videos out
# make test   the suite, but for five campaigns that `make proof` runs; `make test-fast` unit tests and what is quick beside them, in under a minute (tests/README.md)
# make proof  a kill at every crash point, and 300 simulated runs: the API's books against the table (docs/proof.md)
# Both set up what they need. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.PHONY: demo install dev browser test test-fast proof proof-long proof-one simulate check mutants bench docs lock clean

# The lock names every package, so pip looks for nothing beside it; `pip check` says if one was missing.
install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-deps --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	$(PIP) check
	touch $@

dev: $(VENV)/.dev
$(VENV)/.dev: $(VENV)/.installed requirements-dev.lock
	$(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	$(PIP) check
	@$(MAKE) --no-print-directory browser
	touch $@

# The browser of tests/browser: Debian's, where it is missing and root can install it. Where it can't be had, the file says so.
NO_BROWSER := .no-chromium
browser:
	@rm -f $(NO_BROWSER); command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || echo "No chromium: the tests of the review page will be skipped (apt-get install chromium)." | tee $(NO_BROWSER)

# Its own folder, fresh each time; Prefect's database is kept, which is what takes time to make.
DEMO := results/demo
demo: export PREFECT_HOME := $(CURDIR)/.demo/prefect
demo: install
	@rm -rf $(DEMO) && mkdir -p $(PREFECT_HOME)
	$(BIN)/reelbatch generate data/catalogue.csv --config configs/sandbox.yaml --sandbox \
	  --results sqlite:///$(DEMO)/reelbatch.db --settle --download $(DEMO)/videos
	$(BIN)/reelbatch status --results sqlite:///$(DEMO)/reelbatch.db --rows 12
	$(BIN)/reelbatch report $(DEMO)/report.html --results sqlite:///$(DEMO)/reelbatch.db
	@echo "Videos: $(DEMO)/videos   Results table: $(DEMO)/reelbatch.db and $(DEMO)/catalogue.parquet"
	@echo "Report, for the browser: $(CURDIR)/$(DEMO)/report.html"

# Tests start a hundred processes, and none of them should compile the modules anew. A worker gets whole files, since
# the tests of a file share its servers, in the order that tests/conftest.py states.
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder
test test-fast: export PYTHONDONTWRITEBYTECODE :=
test: dev
	$(PYTEST) -n 4 -m "not long"

FAST := unit contract $(addprefix integration/,client manifest pipeline)
test-fast: dev
	$(PYTEST) -n 2 $(FAST:%=tests/%)

# In memory where there is /dev/shm. `proof-long` takes half an hour or so.
PROOF := PYTHONPATH=tests $(BIN)/python -m proof
STRIDES ?= rerun=2
proof: dev
	$(PROOF) --databases sqlite --strides $(STRIDES) --workers 3
	$(SIMULATION) --seeds kept,0-299 --processes 3
	$(PYTEST) -n 2 -m long tests/acceptance

proof-long: dev
	$(PROOF) --kinds kill,ENOSPC,EIO --pairs 40

proof-one: dev
	$(PROOF) --only $(RUN)

# SEEDS=7411 makes one run once more; WORDS=--trace says what happened in it.
SIMULATION := PYTHONPATH=tests $(BIN)/python -m simulation
SEEDS ?= kept,0-299
simulate: dev
	$(SIMULATION) --seeds $(SEEDS) $(WORDS)

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/support/words.py

# Removes one guard at a time from a copy, and shows which test notices.
mutants: dev
	$(BIN)/python tests/support/mutation.py

bench: dev
	$(BIN)/python -m benchmarks

# The site of docs/ in results/site, from an environment of its own; once that is there, without the network.
DOCS := results/.docs
docs: $(DOCS)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --quiet
	@echo "Site: results/site/index.html"

$(DOCS)/.installed: requirements-docs.lock
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r requirements-docs.lock
	touch $@

# Needs uv (https://docs.astral.sh/uv): the newest of everything that installs together, with hashes; names no index.
LOCKED := $(addprefix --extra ,build excel heic postgres review sandbox video webhooks)
lock:
	uv pip compile --upgrade pyproject.toml $(LOCKED) --universal --generate-hashes --no-annotate --no-header -o requirements.lock
	uv pip compile --upgrade pyproject.toml $(LOCKED) --group dev --universal --generate-hashes --no-annotate --no-header -o requirements-dev.lock
	uv pip compile --upgrade --group docs --universal --generate-hashes --no-annotate --no-header -o requirements-docs.lock

clean:
	rm -rf $(VENV) .demo results
