# Every target makes its own environment from a hash-locked list in requirements/.
# `make run` and `make test` are all a fresh machine needs.

PYTHON ?= python3
HOST   ?= 127.0.0.1
PORT   ?= 8000
ROUTES ?= routes.yaml

# litellm takes 5 s to import with bytecode and 12 s without: compile at install, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run install test check format bench aborts profile schema lock clean

run: .venv/.done        ## serve routes.yaml on HOST:PORT
	.venv/bin/router serve --routes $(ROUTES) --host $(HOST) --port $(PORT)

install: .venv/.done    ## .venv with .venv/bin/router

test: .venv-dev/.done   ## the whole suite
	.venv-dev/bin/python -m pytest

check: .venv-dev/.done  ## lint, format, types, configuration
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/pyright
	.venv-dev/bin/router check

format: .venv-dev/.done
	.venv-dev/bin/ruff check --fix .
	.venv-dev/bin/ruff format .

BENCH ?=
bench: .venv-dev/.done bench/.peers/.done  ## Pointsman beside its peers, as ratios; BENCH=--long for all of it
	.venv-dev/bin/python -m bench $(BENCH)

aborts: .venv-dev/.done ## ten thousand clients that leave: is everything let go?
	.venv-dev/bin/python -m bench.aborts

profile: .venv-dev/.done bench/.peers/py-spy/.done ## where the time goes; BENCH=burst|nons|paced
	.venv-dev/bin/python -m bench.profile $(BENCH)

schema: .venv-dev/.done ## routes.schema.json, from the declaration
	.venv-dev/bin/router schema > routes.schema.json

.venv/.done: LIST = requirements/run.txt
.venv-dev/.done: LIST = requirements/dev.txt
.venv/.done .venv-dev/.done: requirements/build.txt requirements/run.txt requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
# uv takes 6 s, pip 30; but pip knows a mirror that is set up for pip alone.
	$(@D)/bin/uv pip install --quiet --system-certs --python $(@D)/bin/python --compile-bytecode --require-hashes -r $(LIST) \
	  || $(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $(LIST)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# The peers of the bench. One that cannot be had is left out: the bench says so.
bench/.peers/.done:
	mkdir -p $(@D)/portkey
	-$(PYTHON) -m venv $(@D)/litellm && $(@D)/litellm/bin/pip install --quiet --disable-pip-version-check 'litellm[proxy]'
	-$(PYTHON) -m venv $(@D)/tensorzero && $(@D)/tensorzero/bin/pip install --quiet --disable-pip-version-check tensorzero
	-npm install --silent --ignore-scripts --prefix $(@D)/portkey @portkey-ai/gateway
	touch $@

bench/.peers/py-spy/.done:
	$(PYTHON) -m venv $(@D) && $(@D)/bin/pip install --quiet --disable-pip-version-check py-spy
	touch $@

LOCK = .venv-dev/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate \
       --universal --python-version 3.11 --upgrade
lock: .venv-dev/.done   ## newest versions the declarations allow
	$(LOCK) --group build -o requirements/build.txt
	$(LOCK) pyproject.toml -o requirements/run.txt
	$(LOCK) pyproject.toml --group dev -o requirements/dev.txt

clean:
	rm -rf .venv .venv-dev bench/.peers build dist
