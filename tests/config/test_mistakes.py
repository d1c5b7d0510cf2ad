"""Mistakes that new users make in routes.yaml: each complaint has the place, the cause, and what to write instead.

A row is the text that was written, and the lines that `router check` prints: `file:line:column: cause; remedy`.
"""

import re

import pytest

from router.config.declaration import RoutesFile
from router.config.remedies import FALLBACKS, IN
from router.errors import ConfigError
from router.signature import Either, ListOf, Record, Shape, record_of
from router.signature import MapOf as Mapping
from tests.conftest import Workspace

TARGETS = "targets:\n  a: {script: demo}\n"
ROUTES = "routes:\n  m: {pipeline: chat, targets: [a]}\n"


def target(declared: str) -> str:
    """Return a routes.yaml in which this is the value of target `a`, in line 2 from column 6."""
    return f"targets:\n  a: {declared}\n{ROUTES}"


def route(declared: str) -> str:
    """Return a routes.yaml in which this is the value of route `m`, in line 4 from column 6."""
    return f"{TARGETS}routes:\n  m: {declared}\n"


def below(declared: str) -> str:
    """Return a valid routes.yaml followed by this text, which begins in line 5."""
    return f"{TARGETS}{ROUTES}{declared}\n"


MISTAKES: dict[str, tuple[str, str]] = {
    # named in the issue
    "a key in LiteLLM's spelling": (
        target("{model: openai/x, api_key: os.environ/OPENAI_API_KEY}"),
        "routes.yaml:2:33: this is the text `os.environ/OPENAI_API_KEY`, not what the variable holds: write ${OPENAI_API_KEY}, in quotes where it stands between brackets",
    ),
    "an admin key that can be guessed": (
        below("server: {admin: {key: x}}"),
        "routes.yaml:5:23: an admin key of fewer than 20 characters can be guessed: `openssl rand -hex 24` makes one; set ROUTER_ADMIN_KEY to it, and write ${ROUTER_ADMIN_KEY}",
    ),
    "a sum with a dollar sign": (
        route("{pipeline: chat, targets: [a], limit: {spend: $5/day}}"),
        "routes.yaml:4:52: write US dollars as 5USD/day: a dollar sign begins a reference such as ${NAME}",
    ),
    "auth switched off": (
        below("server: {auth: false}"),
        "routes.yaml:5:16: `false` is not one of none or a mapping, e.g. {keys: {NAME: {hash: sha256:…}}}; did you mean `none`?",
    ),
    "an MCP command in one text": (
        route("{pipeline: chat, targets: [a], tools: [{mcp: npx -y server}]}"),
        "routes.yaml:4:51: `npx` begins a command, and a command is a list of its words: write mcp: [npx, -y, server]",
    ),
    "no space after a colon, in the middle": (
        TARGETS + "routes:\n  m:\n    pipeline:chat\n    targets: [a]\n",
        "routes.yaml:5:5: this is not YAML: a space is missing after the colon of `pipeline`: write `pipeline: …`",
    ),
    "no space after a colon, at the end": (
        TARGETS + "routes:\n  m:\n    targets: [a]\n    pipeline:chat\n",
        "routes.yaml:6:5: this is not YAML: a space is missing after the colon of `pipeline`: write `pipeline: …`",
    ),
    "no space after a colon, alone": (
        TARGETS + "routes:\n  m:\n    pipeline:chat\n",
        "routes.yaml:5:5: `m` takes a mapping, each key with a colon and a space: write `pipeline: …`",
    ),
    "no space after a colon, between brackets": (
        route("{pipeline:chat, targets: [a]}"),
        "routes.yaml:4:7: unknown key `pipeline` in `m`; did you mean `pipeline`, with a space after its colon?",
    ),
    "an alias by accident": (
        TARGETS + "routes:\n  m:\n    pipeline: *chat\n    targets: [a]\n",
        "routes.yaml:5:15: `*` begins an alias, and no anchor &chat stands above: write `chat` without it, or in quotes",
    ),
    "routes indented too far": (
        TARGETS + "  routes:\n    m: {pipeline: chat, targets: [a]}\n",
        "routes.yaml:3:3: `routes` is part of `targets` here, for it is indented too far: begin it in column 1",
    ),
    "a temperature in a target": (
        target("{model: openai/x, api_key: k, temperature: 0.2}"),
        "routes.yaml:2:36: unknown key `temperature` in `a`; it belongs in `params`: write `params: {temperature: 0.2}`",
    ),
    "a temperature in a route": (
        route("{pipeline: chat, targets: [a], temperature: 0.2}"),
        "routes.yaml:4:37: unknown key `temperature` in `m`; it belongs in `targets`: write `targets: {NAME: {params: {temperature: 0.2}}}`, or `- params: {temperature: 0.2}` in the pipeline",
    ),
    "a temperature in the defaults": (
        below("defaults: {temperature: 0.2}"),
        "routes.yaml:5:12: unknown key `temperature` in `defaults`; it belongs in `targets`: write `targets: {NAME: {params: {temperature: 0.2}}}`, or `- params: {temperature: 0.2}` in the pipeline",
    ),
    "a system prompt in a route": (
        route("{pipeline: chat, targets: [a], system: Be kind.}"),
        "routes.yaml:4:37: unknown key `system` in `m`; what a model is told is a template: write the text into pipelines/NAME.j2 and `- prompt: NAME.j2` into pipelines/NAME.yaml",
    ),
    "a system prompt in a target": (
        target("{model: openai/x, api_key: k, system_prompt: Be kind.}"),
        "routes.yaml:2:36: unknown key `system_prompt` in `a`; what a model is told is a template: write the text into pipelines/NAME.j2 and `- prompt: NAME.j2` into pipelines/NAME.yaml",
    ),
    "fallbacks in a route": (
        route("{pipeline: chat, targets: [a], fallbacks: [b, c]}"),
        "routes.yaml:4:37: unknown key `fallbacks` in `m`; a route asks its targets in order: write `targets: [a, b, c]`",
    ),
    "fallbacks of the whole file": (
        below("fallbacks: [{m: [b]}]"),
        "routes.yaml:5:1: unknown key `fallbacks` in `routes.yaml`; a route asks its targets in order: write `targets: [FIRST, SECOND]`",
    ),
    "a port in the server": (
        below("server: {port: 8080}"),
        "routes.yaml:5:10: unknown key `port` in `server`; it is said where the router is started: `router serve --port 8080`",
    ),
    "a port of the whole file": (
        below("port: 8080"),
        "routes.yaml:5:1: unknown key `port` in `routes.yaml`; it is said where the router is started: `router serve --port 8080`",
    ),
    # from LiteLLM
    "a file of LiteLLM's": (
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {model: openai/gpt-4o}\n",
        (
            "routes.yaml:1:1: unknown key `model_list` in `routes.yaml`; a configuration of LiteLLM's is turned into ours by `router import litellm FILE -o routes.yaml`\n"
            "routes.yaml:1:1: `routes.yaml` lacks `targets` and `routes`"
        ),
    ),
    "LiteLLM's parameters in a target": (
        target("{litellm_params: {model: openai/x}}"),
        "routes.yaml:2:7: unknown key `litellm_params` in `a`; a configuration of LiteLLM's is turned into ours by `router import litellm FILE -o routes.yaml`",
    ),
    "LiteLLM's router settings": (
        below("router_settings: {num_retries: 3}"),
        "routes.yaml:5:1: unknown key `router_settings` in `routes.yaml`; a configuration of LiteLLM's is turned into ours by `router import litellm FILE -o routes.yaml`",
    ),
    "retries as a number": (
        below("defaults: {num_retries: 3}"),
        "routes.yaml:5:12: unknown key `num_retries` in `defaults`; write `retry: {attempts: 4}` in the route or under `defaults`; the first try counts",
    ),
    "requests per minute of a target": (
        target("{model: openai/x, api_key: k, rpm: 60}"),
        "routes.yaml:2:36: unknown key `rpm` in `a`; write `limit: {requests: 60/minute}` in the route",
    ),
    "a weight of a target": (
        target("{model: openai/x, api_key: k, weight: 3}"),
        "routes.yaml:2:36: unknown key `weight` in `a`; a share belongs in a pool: write `targets: [[{use: NAME, weight: 3}, OTHER]]` in the route",
    ),
    "a weight outside of a pool": (
        route("{pipeline: chat, targets: [{use: a, weight: 2}]}"),
        "routes.yaml:4:33: an entry of `targets` takes a name, e.g. chat or a list, e.g. […]; a mapping stands in a list of its own, a pool: write [{use: a, weight: 2}]",
    ),
    "a provider beside the model": (
        target("{provider: openai, model: openai/gpt-4o, api_key: k}"),
        "routes.yaml:2:7: unknown key `provider` in `a`; the provider stands before the model: write `model: openai/gpt-5.6`",
    ),
    # from OpenAI's SDKs
    "a base URL": (
        target("{model: openai/x, api_key: k, base_url: 'http://h/v1'}"),
        "routes.yaml:2:36: unknown key `base_url` in `a`; write `api_base: https://host/v1` in the target",
    ),
    "an address in camel case": (
        target("{model: openai/x, api_key: k, baseURL: 'http://h/v1'}"),
        "routes.yaml:2:36: unknown key `baseURL` in `a`; write `api_base: https://host/v1` in the target",
    ),
    "a key in camel case": (
        target("{model: openai/x, apiKey: k}"),
        "routes.yaml:2:24: unknown key `apiKey` in `a`; did you mean `api_key`?",
    ),
    "a timeout of a target": (
        target("{model: openai/x, api_key: k, timeout: 30}"),
        "routes.yaml:2:36: unknown key `timeout` in `a`; write `timeout: {first_token: 10s, total: 5m}` in the route or under `defaults`",
    ),
    "an answer's length in a target": (
        target("{model: openai/x, api_key: k, max_tokens: 100}"),
        "routes.yaml:2:36: unknown key `max_tokens` in `a`; it belongs in `params`: write `params: {max_tokens: 100}`",
    ),
    "streaming switched on": (
        target("{model: openai/x, api_key: k, stream: true}"),
        "routes.yaml:2:36: unknown key `stream` in `a`; answers are always streamed: leave it out",
    ),
    "a model without its provider": (
        target("{model: gpt-4o, api_key: k}"),
        "routes.yaml:2:14: `gpt-4o` lacks its provider: write provider/model as LiteLLM does, e.g. openai/gpt-4o",
    ),
    "another model without its provider": (
        target("{model: claude-sonnet-4-5, api_key: k}"),
        "routes.yaml:2:14: `claude-sonnet-4-5` lacks its provider: write provider/model as LiteLLM does, e.g. anthropic/claude-sonnet-4-5",
    ),
    "a provider with a colon": (
        target("{model: 'openai:gpt-4o', api_key: k}"),
        "routes.yaml:2:14: `openai:gpt-4o` lacks its provider: write provider/model as LiteLLM does, e.g. openai/gpt-4o",
    ),
    "a provider misspelled": (
        target("{model: opnai/gpt-4o, api_key: k}"),
        "routes.yaml:2:14: no provider is named `opnai`; did you mean `openai/gpt-4o`?",
    ),
    "a model in place of a target": (
        route("{pipeline: chat, targets: [openai/gpt-4o]}"),
        "routes.yaml:4:33: no target is named `openai/gpt-4o`; a route names targets, not models: write `gpt-4o: {model: openai/gpt-4o}` under `targets:`, and `gpt-4o` here",
    ),
    "a model of a route": (
        route("{pipeline: chat, model: openai/gpt-4o, targets: [a]}"),
        "routes.yaml:4:23: unknown key `model` in `m`; a route names targets: write `NAME: {model: openai/gpt-5.6}` under `targets:`, and `targets: [NAME]` here",
    ),
    "the address of an endpoint": (
        target("{model: openai/x, api_key: k, api_base: 'http://h:8000/v1/chat/completions'}"),
        "routes.yaml:2:46: `http://h:8000/v1/chat/completions` is one endpoint of the API: write http://h:8000/v1, the rest is put behind it",
    ),
    "an address without http": (
        target("{model: openai/x, api_key: k, api_base: 'localhost:8000/v1'}"),
        "routes.yaml:2:46: this is not a web address: write e.g. https://host/v1",
    ),
    "a key with Bearer": (
        target("{model: openai/x, api_key: Bearer sk-1}"),
        "routes.yaml:2:33: write the key alone: `Bearer` is put before it",
    ),
    "a key from a page": (
        target("{model: openai/x, api_key: your-api-key-here}"),
        "routes.yaml:2:33: this stands in place of a key, and is none: write ${NAME}, and set that variable where the router is started",
    ),
    # variables, as others write them
    "a variable without braces": (
        target("{model: openai/x, api_key: $OPENAI_API_KEY}"),
        "routes.yaml:2:33: write ${OPENAI_API_KEY} for the environment variable",
    ),
    "a variable without quotes between brackets": (
        target("{model: openai/x, api_key: ${OPENAI_API_KEY}}"),
        'routes.yaml:2:33: this is not YAML: between { and } a reference stands in quotes: write "${OPENAI_API_KEY}"',
    ),
    "a variable in double braces": (
        target("{model: openai/x, api_key: '{{ OPENAI_API_KEY }}'}"),
        "routes.yaml:2:33: this is the text `{{ OPENAI_API_KEY }}`, not what the variable holds: write ${OPENAI_API_KEY}",
    ),
    "a variable in double braces without quotes": (
        target("{model: openai/x, api_key: {{OPENAI_API_KEY}}}"),
        (
            "routes.yaml:2:33: `api_key` takes a key, e.g. ${OPENAI_API_KEY}\n"
            'routes.yaml:2:34: a key must be a plain word; a variable is written "${NAME}", not {{NAME}}'
        ),
    ),
    "a variable with env and a colon": (
        target("{model: openai/x, api_key: 'env:OPENAI_API_KEY'}"),
        "routes.yaml:2:33: this is the text `env:OPENAI_API_KEY`, not what the variable holds: write ${OPENAI_API_KEY}",
    ),
    "a variable with env in braces": (
        target("{model: openai/x, api_key: '${env:OPENAI_API_KEY}'}"),
        "routes.yaml:2:33: write ${OPENAI_API_KEY} for the environment variable",
    ),
    "a variable of a workflow": (
        target("{model: openai/x, api_key: '${{ secrets.OPENAI_API_KEY }}'}"),
        "routes.yaml:2:33: write ${OPENAI_API_KEY} for the environment variable",
    ),
    "a variable by its name alone": (
        target("{model: openai/x, api_key: OPENAI_API_KEY}"),
        "routes.yaml:2:33: this is the text `OPENAI_API_KEY`, not what the variable holds: write ${OPENAI_API_KEY}, in quotes where it stands between brackets",
    ),
    "a variable with percent signs": (
        target("{model: openai/x, api_key: '%OPENAI_API_KEY%'}"),
        "routes.yaml:2:33: this is the text `%OPENAI_API_KEY%`, not what the variable holds: write ${OPENAI_API_KEY}",
    ),
    "a variable of JavaScript": (
        target("{model: openai/x, api_key: process.env.OPENAI_API_KEY}"),
        "routes.yaml:2:33: this is the text `process.env.OPENAI_API_KEY`, not what the variable holds: write ${OPENAI_API_KEY}, in quotes where it stands between brackets",
    ),
    "a variable with a tag": (
        target("{model: openai/x, api_key: !env OPENAI_API_KEY}"),
        "routes.yaml:2:33: tags such as !env are not read here: write ${OPENAI_API_KEY}",
    ),
    "a variable that is not set": (
        target("{model: openai/x, api_key: '${NOPE}'}"),
        "routes.yaml:2:33: the environment variable NOPE is not set: set it where the router is started or in .env, or give it a default, ${NOPE:-…}",
    ),
    # from Docker Compose
    "a version": (
        "version: '3'\ntargets:\n  a: {script: demo}\n" + ROUTES,
        "routes.yaml:1:1: unknown key `version` in `routes.yaml`; there is no version to write: leave it out",
    ),
    "services": (
        below("services: {router: {}}"),
        "routes.yaml:5:1: unknown key `services` in `routes.yaml`; this is a file of Docker Compose's; `router init DIR` writes a routes.yaml",
    ),
    "an environment": (
        target("{model: openai/x, api_key: k, environment: {A: b}}"),
        "routes.yaml:2:36: unknown key `environment` in `a`; set variables where the router is started, and write ${NAME} for them here",
    ),
    "an anchor's extension": (
        TARGETS + "x-common: &c {pipeline: chat}\n" + ROUTES,
        "routes.yaml:3:1: unknown key `x-common` in `routes.yaml`; what routes share stands under `defaults`; there is no other place for it",
    ),
    "a merge key": (
        TARGETS + "routes:\n  m: {pipeline: chat, targets: [a]}\n  n: {<<: 1, pipeline: chat, targets: [a]}\n",
        "routes.yaml:5:7: `<<` is not read here: write the keys out; what routes share stands under `defaults`",
    ),
    "a second document": (
        TARGETS + "routes: {}\n---\n" + ROUTES,
        "routes.yaml:4:1: a second document begins here: take this `---` away, it may stand at the top only",
    ),
    # indentation, quotes and other YAML
    "a tab": (
        "targets:\n\ta: {script: demo}\n" + ROUTES,
        "routes.yaml:2:1: this is not YAML: indent with spaces, not tabs",
    ),
    "a tab after a colon": (
        "targets:\n  a:\tscript: demo\n" + ROUTES,
        "routes.yaml:2:12: this is not YAML: put a value that holds `: ` in quotes, and two keys on two lines",
    ),
    "a name indented too little": (
        "targets:\na: {script: demo}\n" + ROUTES,
        (
            "routes.yaml:1:9: `targets` takes a mapping of names, and has no value: indent what belongs to it, e.g. `NAME: {model: openai/gpt-5.6}`, by two spaces\n"
            "routes.yaml:2:1: unknown key `a` in `routes.yaml`; indent it by two spaces more where it belongs to `targets`, which has no value"
        ),
    ),
    "a key indented too little": (
        "targets:\n  a:\n  script: demo\n" + ROUTES,
        (
            "routes.yaml:2:5: `a` takes a mapping, and has no value: indent its keys by two spaces more, e.g. {model: openai/gpt-5.6}\n"
            "routes.yaml:3:3: `script` stands among the names of `targets`: indent it by two spaces more, below its name"
        ),
    ),
    "a key indented too far": (
        "targets:\n  a:\n    model: openai/x\n     api_key: k\n" + ROUTES,
        "routes.yaml:4:6: this is not YAML: this line is indented by 5 spaces, below a key that has its value already: indent it by 4",
    ),
    "a key lined up with none": (
        "targets:\n  a:\n    model: openai/x\n   api_key: k\n" + ROUTES,
        "routes.yaml:4:4: this is not YAML: this line lines up with none above it: indent it by 2 spaces, or as the line above",
    ),
    "a dash without a space": (
        TARGETS + "  -a: {script: demo}\nroutes:\n  m:\n    pipeline: chat\n    targets:\n      -a\n",
        (
            "routes.yaml:3:3: `-a` is not a name: use letters, digits and . _ - : / @, 128 at most\n"
            "routes.yaml:8:7: `targets` takes a list; write [a]; an entry's dash has a space behind it"
        ),
    ),
    "a colon in a value": (
        "targets:\n  a:\n    script:\n      - text: Note: hi\n" + ROUTES,
        "routes.yaml:4:19: this is not YAML: put a value that holds `: ` in quotes, and two keys on two lines",
    ),
    "an at sign": (
        TARGETS + "routes:\n  m:\n    pipeline: @chat\n    targets: [a]\n",
        "routes.yaml:5:15: this is not YAML: a value cannot begin with `@`: put it in quotes",
    ),
    "a quote that is not closed": (
        target('{model: "openai/x, api_key: k}'),
        "routes.yaml:2:14: this is not YAML: the quote that begins here is not closed: write its other half",
    ),
    "a bracket that is not closed": (
        "targets:\n  a: {script: demo\n" + ROUTES,
        "routes.yaml:2:6: this is not YAML: the `{` that begins here is not closed before line 3: write `}`",
    ),
    "quotes of a word processor": (
        target("{model: “openai/x”, api_key: k}"),
        "routes.yaml:2:14: `“` is no quote in YAML, but part of the text: write \" or '",
    ),
    "a key twice": (
        below("targets: {}"),
        "routes.yaml:5:1: `targets` stands here twice, first in line 1: put both into one",
    ),
    "a key with a capital": (
        "Targets:\n  a: {script: demo}\n" + ROUTES,
        "routes.yaml:1:1: unknown key `Targets` in `routes.yaml`; did you mean `targets`?",
    ),
    "equals signs": (
        "targets:\n  a:\n    model = openai/x\n" + ROUTES,
        "routes.yaml:3:5: `a` takes a mapping, each key with a colon and a space: write `model: …`",
    ),
    # the wrong kind of value
    "yes": (
        target("{script: demo, optional: yes}"),
        "routes.yaml:2:31: `optional` takes true or false, not `yes`; did you mean `true`?",
    ),
    "a truth in quotes": (
        target("{script: demo, optional: 'true'}"),
        "routes.yaml:2:31: `optional` takes true or false, not `'true'`; did you mean `true`?",
    ),
    "a list of targets": (
        "targets:\n  - name: a\n    script: demo\n" + ROUTES,
        "routes.yaml:2:3: `targets` takes a mapping of names, not a list: write `NAME: {model: openai/gpt-5.6}`",
    ),
    "a list of routes": (
        TARGETS + "routes:\n  - name: m\n    pipeline: chat\n",
        "routes.yaml:4:3: `routes` takes a mapping of names, not a list: write `NAME: {pipeline: chat, targets: [chat]}`",
    ),
    "a text in place of a list": (
        route("{pipeline: chat, targets: a}"),
        "routes.yaml:4:32: `targets` takes a list; write [a]",
    ),
    "a mapping in place of a list": (
        route("{pipeline: chat, targets: [a], tools: {weather: true}}"),
        "routes.yaml:4:44: `tools` takes a list, not a mapping; write [weather]",
    ),
    "a number in place of a mapping": (
        below("defaults: {retry: 3}"),
        "routes.yaml:5:19: `retry` takes a mapping with attempts, backoff, budget, e.g. {attempts: 2}",
    ),
    "a truth in place of a mapping": (
        route("{pipeline: chat, targets: [a], cache: true}"),
        "routes.yaml:4:44: `cache` takes a mapping, e.g. {ttl: 10s}",
    ),
    "any origin": (
        below("server: {cors: {origins: ['*']}}"),
        "routes.yaml:5:27: `*` is not an origin: write scheme and host without a path, e.g. https://chat.example.com",
    ),
    "a list in place of cors": (
        below("server: {cors: ['http://localhost:3000']}"),
        "routes.yaml:5:16: `cors` takes a mapping with origins, e.g. {origins: [http://localhost:3000]}",
    ),
    "a duration without its unit": (
        below("defaults: {timeout: {total: 60}}"),
        "routes.yaml:5:29: `60` is not a duration: write a number and its unit, e.g. 250ms, 3s, 5m, 1h",
    ),
    "a duration in words": (
        below("defaults: {timeout: {total: 1min}}"),
        "routes.yaml:5:29: `1min` is not a duration: write a number and its unit, e.g. 250ms, 3s, 5m, 1h",
    ),
    "a size in thousands": (
        below("server: {request: {body: 1MB}}"),
        "routes.yaml:5:26: `1MB` is not a size: write a whole number and its unit, e.g. 64KiB, 1MiB",
    ),
    "a rate without its unit": (
        route("{pipeline: chat, targets: [a], limit: {requests: 10}}"),
        "routes.yaml:4:55: `10` is not a rate: write a whole number and second, minute, hour or day, e.g. 10/minute",
    ),
    "a share as a fraction": (
        below("defaults: {retry: {budget: 0.1}}"),
        "routes.yaml:5:28: `0.1` is not a share: write a number above 0 and up to 100, and a percent sign, e.g. 5%",
    ),
    "a number out of range": (
        below("defaults: {retry: {attempts: 0}}"),
        "routes.yaml:5:30: attempts must be from 1 to 10",
    ),
    "a key in place of its hash": (
        below("server: {auth: {keys: {alice: sk-abc}}}"),
        "routes.yaml:5:31: `alice` takes a mapping with hash, expires, routes, limit, user, e.g. {hash: sha256:…}",
    ),
    "a key of the whole server": (
        below("server: {api_key: x}"),
        "routes.yaml:5:10: unknown key `api_key` in `server`; callers' keys stand under `server: {auth: {keys: …}}`, as `router keys new NAME` prints them",
    ),
    "the header of users in LiteLLM's spelling": (
        below("server: {user_header_name: X-User-Id}"),
        "routes.yaml:5:10: unknown key `user_header_name` in `server`; the key of a front end says how it names its users: write `user: {header: X-OpenWebUI-User-Id}` in it, under `server.auth.keys`",
    ),
    "a Redis switched on": (
        below("server: {redis: true}"),
        "routes.yaml:5:17: this is not the address of a Redis: write redis://:password@host:6379/0, rediss:// with TLS, or unix:///path",
    ),
    # the wrong place or name
    "cors of the whole file": (
        below("cors: {origins: ['http://localhost:3000']}"),
        "routes.yaml:5:1: unknown key `cors` in `routes.yaml`; it belongs in `server`: write `server: {cors: {origins: [http://localhost:3000]}}`",
    ),
    "a key in a route": (
        route("{pipeline: chat, targets: [a], api_key: k}"),
        'routes.yaml:4:37: unknown key `api_key` in `m`; it belongs in `targets`: write `targets: {NAME: {api_key: "${OPENAI_API_KEY}"}}`',
    ),
    "a time to live in a route": (
        route("{pipeline: chat, targets: [a], ttl: 1h}"),
        "routes.yaml:4:37: unknown key `ttl` in `m`; it belongs in `cache`: write `cache: {ttl: 1h}`",
    ),
    "workers in the server": (
        below("server: {workers: 4}"),
        "routes.yaml:5:10: unknown key `workers` in `server`; it is said where the router is started: `router serve --workers 4`",
    ),
    "a certificate in the server": (
        below("server: {ssl_certfile: x}"),
        "routes.yaml:5:10: unknown key `ssl_certfile` in `server`; a proxy in front ends TLS; deploy/nginx.conf is one",
    ),
    "a log level": (
        below("server: {log_level: debug}"),
        "routes.yaml:5:10: unknown key `log_level` in `server`; the log has one line for each request: leave it out",
    ),
    "a pipeline by its file": (
        route("{pipeline: pipelines/chat.yaml, targets: [a]}"),
        "routes.yaml:4:17: there is no pipelines/pipelines/chat.yaml.yaml; did you mean `chat`, without its folder and `.yaml`?",
    ),
    "a tool set by its file": (
        route("{pipeline: chat, targets: [a], tools: [tools/weather.py]}"),
        "routes.yaml:4:45: there is no tools/tools/weather.py.py; did you mean `weather`, without its folder and `.py`?",
    ),
    "one target": (
        route("{pipeline: chat, target: [a]}"),
        "routes.yaml:4:23: unknown key `target` in `m`; did you mean `targets`?",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_typical_mistake_in_routes_yaml_gives_exactly_these_complaints(workspace: Workspace, mistake: str) -> None:
    """A typical mistake in routes.yaml gives exactly the complaints of its row, with place, cause and remedy."""
    written, told = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        workspace.write("routes.yaml", written).build()
    assert [f"{one.place}: {one.message}" for one in caught.value.complaints] == told.split("\n")


REMEDY = re.compile(
    r"\bwrite\b|did you mean|[;:,] (?:put|begin|indent|leave|set|take|give)\b|put before it|must be from|`router |deploy/|`defaults`|e\.g\."
)
"""Phrases by which a complaint says what to do."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_complaint_about_a_typical_mistake_says_what_to_write(mistake: str) -> None:
    """The complaints about each typical mistake contain an instruction: what to write, where, or which command to run."""
    assert REMEDY.search(MISTAKES[mistake][1])


IN_PIPELINES: dict[str, tuple[str, str]] = {
    "a system prompt": (
        "system: Be kind.\nsteps: []\n",
        "pipelines/chat.yaml:1:1: unknown key `system` in a pipeline; write the text into pipelines/NAME.j2, and `- prompt: NAME.j2` here",
    ),
    "a system prompt as a step": (
        "steps:\n  - system: Be kind.\n",
        "pipelines/chat.yaml:2:5: there is no step `system`; write the text into pipelines/NAME.j2, and `- prompt: NAME.j2` here",
    ),
    "a temperature as a step": (
        "steps:\n  - temperature: 0.2\n",
        "pipelines/chat.yaml:2:5: there is no step `temperature`; write `- params: {temperature: 0.2}`",
    ),
    "a model": (
        "model: openai/gpt-4o\nsteps: []\n",
        "pipelines/chat.yaml:1:1: unknown key `model` in a pipeline; who answers stands in routes.yaml, under `targets`",
    ),
}


@pytest.mark.parametrize("mistake", IN_PIPELINES)
def test_typical_mistake_in_a_pipeline_gives_a_complaint_with_its_remedy(workspace: Workspace, mistake: str) -> None:
    """A key or step that does not belong in a pipeline gives one complaint that says where it belongs."""
    written, told = IN_PIPELINES[mistake]
    with pytest.raises(ConfigError) as caught:
        workspace.write("routes.yaml", TARGETS + ROUTES).write("pipelines/chat.yaml", written).build()
    assert [f"{one.place}: {one.message}" for one in caught.value.complaints] == [told]


def test_key_of_the_remedy_tables_is_not_a_valid_key() -> None:
    """A key for which remedies.py explains what to write instead is not a valid key of the mapping in question."""
    fields: dict[str, set[str]] = {}

    def walk(shape: Shape) -> None:
        match shape:
            case Record():
                fields[shape.name] = {item.name for item in shape.fields}
                for item in shape.fields:
                    walk(item.shape)
            case ListOf(item) | Mapping(item):
                walk(item)
            case Either(options):
                for option in options:
                    walk(option)
            case _:
                pass

    walk(record_of(RoutesFile))
    for name, words in IN.items():
        assert not fields[name] & set(words)
    for word in FALLBACKS:
        assert not any(word in known for known in fields.values())


WARNED = {
    "a limit for each address, and nothing said of proxies": (
        route("{pipeline: chat, targets: [a], limit: {requests: 10/minute, per: ip}}"),
        "routes.yaml:4:71: `per: ip` counts by the address",
    ),
    "the same, of a caller": (
        below(f"server: {{auth: {{keys: {{bob: {{hash: 'sha256:{'0' * 64}', limit: {{concurrent: 1, per: ip}}}}}}}}}}"),
        "routes.yaml:5:139: `per: ip` counts by the address",
    ),
    "a sign-in that goes past the proxy": (
        target("{model: azure/gpt-4o, via: litellm, api_base: 'https://r.openai.azure.com', proxy: 'http://p:3128'}"),
        "routes.yaml:2:14: `a`: Microsoft's library for Entra ID signs in for this target, and takes neither `proxy` nor `ca` from this file",
    ),
    "an address without a path": (
        target("{model: openai/x, api_key: k, api_base: 'http://localhost:8000'}"),
        "routes.yaml:2:46: this address has no path, and most servers of OpenAI's API answer below /v1: write http://localhost:8000/v1",
    ),
}


@pytest.mark.parametrize("what", WARNED)
def test_valid_but_rarely_intended_setting_is_a_warning(workspace: Workspace, what: str) -> None:
    """A setting that is valid but rarely intended gives one warning with its place, and the configuration loads."""
    written, told = WARNED[what]
    complaints = workspace.write("routes.yaml", written).build().declaration.complaints
    (warning,) = complaints.warnings
    assert f"{warning.place}: {warning.message}".startswith(told)


def test_limit_by_ip_gives_no_warning_if_server_proxies_is_declared(workspace: Workspace) -> None:
    """A limit with `per: ip` gives no warning if `server.proxies` is declared, even as an empty list."""
    limited = route("{pipeline: chat, targets: [a], limit: {requests: 10/minute, per: ip}}")
    for proxies in ("[]", "[127.0.0.1]"):
        made = workspace.write("routes.yaml", f"{limited}server: {{proxies: {proxies}}}\n").build()
        assert not made.declaration.complaints.warnings
