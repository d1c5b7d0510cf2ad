"""What an operator may write, and what every mistake is answered with: where, what, and what was meant."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.config import Declaration, declare, read
from router.config.document import MAX_BYTES
from router.config.snapshot import Snapshot
from router.config.values import Backoff, ByteSize, Origin, Seconds, Secret, Span, WebAddress
from router.errors import Complaint, ConfigError, Misfit, Place
from router.generation import build
from router.signature import check, shape_of
from tests.conftest import CHAT, ROOT, WEATHER, Workspace, routes

TARGETS = "targets:\n  a: {script: demo}\n"
ROUTES = "routes:\n  m: {pipeline: chat, targets: [a]}\n"
WITH_TOOLS = TARGETS + "routes:\n  m: {pipeline: chat, targets: [a], tools: [weather]}\n"
PROMPT = "steps:\n  - prompt: chat.j2\n"


def target(declared: str) -> str:
    """A routes.yaml whose target `a` is this: line 2, from column 6."""
    return f"targets:\n  a: {declared}\n{ROUTES}"


def route(declared: str) -> str:
    """A routes.yaml whose route `m` is this: line 4, from column 6."""
    return f"{TARGETS}routes:\n  m: {declared}\n"


def more(declared: str) -> str:
    """A routes.yaml with this in line 5."""
    return f"{TARGETS}{ROUTES}{declared}\n"


def complaints(workspace: Workspace, **variables: str) -> list[str]:
    """Everything that is wrong, as `file:line:col: message`."""
    with pytest.raises(ConfigError) as caught:
        workspace.build(**variables)
    return [f"{one.place}: {one.message}" for one in caught.value.complaints]


BOMB = "a: &a [" + "x, " * 9 + "x]\nb: &b [" + "*a, " * 9 + "*a]\nc: &c [" + "*b, " * 9 + "*b]\nd: [*c, *c]\n"
IN_ROUTES: dict[str, tuple[str, str]] = {
    # an unknown key
    "an unknown key at the top": (more("serverr: {}"), "routes.yaml:5:1: unknown key `serverr` in `routes.yaml`; did you mean `server`?"),
    "an unknown key of a target": (
        target("{script: demo, optionl: true}"),
        "routes.yaml:2:21: unknown key `optionl` in `a`; did you mean `optional`?",
    ),
    "an unknown key of a target's parameters": (
        target("{model: openai/x, params: {temprature: 1}}"),
        "routes.yaml:2:33: unknown key `temprature` in `params`; did you mean `temperature`?",
    ),
    "an unknown key of a script's line": (
        target("{script: [{txt: hi}]}"),
        "routes.yaml:2:17: unknown key `txt` in an entry of `script`; did you mean `text`?",
    ),
    "an unknown key of a route": (
        route("{pipeline: chat, targets: [a], pipline: chat}"),
        "routes.yaml:4:37: unknown key `pipline` in `m`; did you mean `pipeline`?",
    ),
    "an unknown key of a route's timeout": (
        route("{pipeline: chat, targets: [a], timeout: {idel: 3s}}"),
        "routes.yaml:4:47: unknown key `idel` in `timeout`; did you mean `idle`?",
    ),
    "an unknown key of the defaults": (
        more("defaults: {retries: {attempts: 3}}"),
        "routes.yaml:5:12: unknown key `retries` in `defaults`; did you mean `retry`?",
    ),
    "an unknown key of the defaults' timeout": (
        more("defaults: {timeout: {first_tokn: 3s}}"),
        "routes.yaml:5:22: unknown key `first_tokn` in `timeout`; did you mean `first_token`?",
    ),
    "an unknown key of the server": (more("server: {crs: {}}"), "routes.yaml:5:10: unknown key `crs` in `server`; did you mean `cors`?"),
    "an unknown key of cors": (
        more("server: {cors: {origin: []}}"),
        "routes.yaml:5:17: unknown key `origin` in `cors`; did you mean `origins`?",
    ),
    "an unknown key of the request bounds": (
        more("server: {request: {bdy: 1MiB}}"),
        "routes.yaml:5:20: unknown key `bdy` in `request`; did you mean `body`?",
    ),
    "a known key without the space after its colon": (
        target("{script: demo, optional:true}"),
        "routes.yaml:2:21: unknown key `optional` in `a`; did you mean `optional`, with a space after its colon?",
    ),
    "a required key without the space after its colon": (
        route("{pipeline:chat, targets: [a]}"),
        "routes.yaml:4:7: unknown key `pipeline` in `m`; did you mean `pipeline`, with a space after its colon?",
    ),
    # not YAML
    "a duplicate key": (more("targets: {}"), "routes.yaml:5:1: `targets` stands here twice, first in line 1: put both into one"),
    "a duplicate target": (
        "targets:\n  a: {script: demo}\n  a: {script: demo}\n" + ROUTES,
        "routes.yaml:3:3: `a` stands here twice, first in line 2: put both into one",
    ),
    "a brace left open": (
        "targets:\n  a: {script: demo\n" + ROUTES,
        "routes.yaml:2:6: this is not YAML: the `{` that begins here is not closed before line 3: write `}`",
    ),
    "a quote left open": (
        "targets:\n  a: 'x\n",
        "routes.yaml:2:6: this is not YAML: the quote that begins here is not closed: write its other half",
    ),
    "a tab as indent": ("targets:\n\ta: {script: demo}\n" + ROUTES, "routes.yaml:2:1: this is not YAML: indent with spaces, not tabs"),
    "a tab after spaces": (
        "targets:\n  a:\n  \tscript: demo\n" + ROUTES,
        "routes.yaml:3:3: this is not YAML: indent with spaces, not tabs",
    ),
    "a control character": ("targets: é\n  b\x07\n", "routes.yaml:2:4: this is not YAML: control characters are not allowed"),
    "a second document": (
        more("---\nx: 1"),
        "routes.yaml:5:1: a second document begins here: take this `---` away, it may stand at the top only",
    ),
    "a merge key": (
        "targets:\n  a: &a {script: demo}\n  b:\n    script: demo\n    <<: *a\n" + ROUTES,
        "routes.yaml:5:5: `<<` is not read here: write the keys out; what routes share stands under `defaults`",
    ),
    "a key that is a list": ("? [a, b]\n: 1\n" + TARGETS + ROUTES, "routes.yaml:1:3: a key must be a plain word"),
    "a tag": (
        target("{script: !!python/name:os.system demo}"),
        "routes.yaml:2:15: tags such as tag:yaml.org,2002:python/name:os.system are not read here: leave it out",
    ),
    "an anchor that is none": (
        target("*x"),
        "routes.yaml:2:6: `*` begins an alias, and no anchor &x stands above: write `x` without it, or in quotes",
    ),
    "an anchor inside itself": (
        "targets: &a\n  a: *a\n" + ROUTES,
        "routes.yaml:2:6: `*` begins an alias, and no anchor &a stands above: write `a` without it, or in quotes",
    ),
    "an alias bomb": (BOMB, "routes.yaml:3:40: aliases repeat more than 1000 nodes"),
    "deep nesting": ("x: " + "[" * 20_000, "routes.yaml:1:36: nested deeper than 32 levels"),
    "nothing": ("", "routes.yaml:1:1: the file is empty"),
    "nothing but a comment": ("# later\n", "routes.yaml:1:1: the file is empty"),
    "a list": (
        "- a\n",
        "routes.yaml:1:1: `routes.yaml` takes a mapping with targets, routes, defaults, server, network, drills, e.g. {targets: {NAME: {model: openai/gpt-5.6}}, routes: {NAME: {pipeline: chat, targets: [chat]}}}",
    ),
    # a variable
    "a variable that is not set": (
        target("{model: openai/x, api_key: '${NOPE}'}"),
        "routes.yaml:2:33: the environment variable NOPE is not set: set it where the router is started or in .env, or give it a default, ${NOPE:-…}",
    ),
    "a variable that is empty": (
        target("{model: openai/x, api_key: '${EMPTY}'}"),
        "routes.yaml:2:33: the environment variable EMPTY is not set: set it where the router is started or in .env, or give it a default, ${EMPTY:-…}",
    ),
    "a variable with a message": (
        target("{model: openai/x, api_key: '${NOPE:?ask the operators}'}"),
        "routes.yaml:2:33: NOPE is not set: ask the operators",
    ),
    "a variable with an empty message": (
        target("{model: openai/x, api_key: '${NOPE:?}'}"),
        "routes.yaml:2:33: NOPE is not set: it is needed",
    ),
    "a variable (two of them) not set": (
        target("{model: openai/x, api_base: 'http://${HOST}:${PORT}'}"),
        "routes.yaml:2:34: the environment variable HOST is not set; the environment variable PORT is not set",
    ),
    "a variable in a file that is not there": (
        target("{model: openai/x, api_key: '${file:secrets/none}'}"),
        "routes.yaml:2:33: the secret file secrets/none cannot be read: No such file or directory",
    ),
    "a variable in a file that is a folder": (
        target("{model: openai/x, api_key: '${file:tools}'}"),
        "routes.yaml:2:33: the secret file tools cannot be read: Is a directory",
    ),
    "a variable with a default that does not fit": (
        target("{model: openai/x, api_base: '${NOPE:-nohost}'}"),
        "routes.yaml:2:34: this is not a web address: write e.g. https://host/v1",
    ),
    "a variable with an empty default": (
        more("defaults: {timeout: {total: '${NOPE:-}'}}"),
        "routes.yaml:5:29: what `${NOPE:-}` holds is no duration such as 10s",
    ),
    "a variable that does not fit": (
        route("{pipeline: chat, targets: [a], max_steps: '${WORD}'}"),
        "routes.yaml:4:48: `max_steps` takes a whole number, not `${WORD}`",
    ),
    "a variable without its closing brace": (
        target("{model: 'openai/${X'}"),
        "routes.yaml:2:14: write ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:/path}, or $$ for a dollar sign",
    ),
    "a variable without braces": (
        target("{model: openai/$X}"),
        "routes.yaml:2:14: write ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:/path}, or $$ for a dollar sign",
    ),
    "a variable with a name that is none": (
        target("{model: 'openai/${1X}'}"),
        "routes.yaml:2:14: write ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:/path}, or $$ for a dollar sign",
    ),
    "a variable with a mode that is none": (
        target("{model: 'openai/${X-y}', optional: true}"),
        "routes.yaml:2:14: write ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:/path}, or $$ for a dollar sign",
    ),
    "a variable without its closing brace, among targets": (
        route("{pipeline: chat, targets: ['${X']}"),
        "routes.yaml:4:33: write ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:/path}, or $$ for a dollar sign",
    ),
    "a variable that is not set, in a target's name": (
        route("{pipeline: chat, targets: ['x${NOPE}']}"),
        "routes.yaml:4:33: the environment variable NOPE is not set: set it where the router is started or in .env, or give it a default, ${NOPE:-…}",
    ),
    "a variable that is not set, in a pipeline's name": (
        route("{pipeline: 'x${NOPE}', targets: [a]}"),
        "routes.yaml:4:17: the environment variable NOPE is not set: set it where the router is started or in .env, or give it a default, ${NOPE:-…}",
    ),
    "a variable in a file whose name is none": (
        target('{model: openai/x, api_key: "${file:a\\0b}"}'),
        "routes.yaml:2:33: the secret file a\0b cannot be read: no file has such a name",
    ),
    # a value
    "a duration without its unit": (
        more("defaults: {timeout: {connect: 3}}"),
        "routes.yaml:5:31: `3` is not a duration: write a number and its unit, e.g. 250ms, 3s, 5m, 1h",
    ),
    "a duration with a space": (
        more("defaults: {timeout: {connect: 3 s}}"),
        "routes.yaml:5:31: `3 s` is not a duration: write a number and its unit, e.g. 250ms, 3s, 5m, 1h",
    ),
    "a duration of nothing": (
        more("defaults: {timeout: {connect: 0s}}"),
        "routes.yaml:5:31: `0s` is no time at all: it must be longer than 0s",
    ),
    "a duration on a clock": (
        more("defaults: {timeout: {total: 1:30}}"),
        "routes.yaml:5:29: `1:30` is not a duration: write a number and its unit, e.g. 250ms, 3s, 5m, 1h",
    ),
    "a duration in other digits": (
        more("defaults: {timeout: {connect: ٣s}}"),
        "routes.yaml:5:31: `٣s` is not a duration: write a number and its unit, e.g. 250ms, 3s, 5m, 1h",
    ),
    "a size in other digits": (
        more("server: {request: {body: ٣MiB}}"),
        "routes.yaml:5:26: `٣MiB` is not a size: write a whole number and its unit, e.g. 64KiB, 1MiB",
    ),
    "a size in thousands": (
        more("server: {request: {body: 1MB}}"),
        "routes.yaml:5:26: `1MB` is not a size: write a whole number and its unit, e.g. 64KiB, 1MiB",
    ),
    "a span of one": (
        more("defaults: {retry: {backoff: 3s}}"),
        "routes.yaml:5:29: `3s` is not a span: write the shortest and the longest, e.g. 0.25s..4s",
    ),
    "a span that runs backwards": (
        more("defaults: {retry: {backoff: 4s..1s}}"),
        "routes.yaml:5:29: `4s..1s` runs backwards: the shorter comes first",
    ),
    "a span without units": (
        more("defaults: {retry: {backoff: 4..5s}}"),
        "routes.yaml:5:29: `4` is not a duration: write a number and its unit, e.g. 250ms, 3s, 5m, 1h",
    ),
    "any origin": (
        more("server: {cors: {origins: ['https://*.example.com']}}"),
        "routes.yaml:5:27: `https://*.example.com` is not an origin: write scheme and host without a path, e.g. https://chat.example.com",
    ),
    "an origin without its scheme": (
        more("server: {cors: {origins: [localhost:3000]}}"),
        "routes.yaml:5:27: `localhost:3000` is not an origin: write scheme and host without a path, e.g. https://chat.example.com",
    ),
    "an origin with a path": (
        more("server: {cors: {origins: [http://localhost:3000/]}}"),
        "routes.yaml:5:27: `http://localhost:3000/` is not an origin: write http://localhost:3000",
    ),
    "an origin with a password": (
        more("server: {cors: {origins: ['https://me:pw@host']}}"),
        "routes.yaml:5:27: an origin has no user and no password: write scheme and host, e.g. https://chat.example.com",
    ),
    "an origin with an open bracket": (
        more("server: {cors: {origins: ['http://[x']}}"),
        "routes.yaml:5:27: `http://[x` is not an origin: write scheme and host without a path, e.g. https://chat.example.com",
    ),
    "one origin, no list": (
        more("server: {cors: {origins: http://localhost}}"),
        "routes.yaml:5:26: `origins` takes a list; write [http://localhost]",
    ),
    "a model without its provider": (
        target("{model: gpt-4o}"),
        "routes.yaml:2:14: `gpt-4o` lacks its provider: write provider/model as LiteLLM does, e.g. openai/gpt-4o",
    ),
    "a provider misspelled": (
        target("{model: opnai/gpt-4o}"),
        "routes.yaml:2:14: no provider is named `opnai`; did you mean `openai/gpt-4o`?",
    ),
    "a provider unheard of": (target("{model: qqqqqqqq/gpt-4o}"), "routes.yaml:2:14: no provider is named `qqqqqqqq`"),
    "a provider that does not work": (
        target("{model: cohere_chat/command-r, via: litellm}"),
        "routes.yaml:2:14: `cohere_chat/` via LiteLLM is refused: LiteLLM cannot stream from it: leave `via` out",
    ),
    "a version where there is none": (
        target("{model: openai/x, api_version: 2024-10-21}"),
        "routes.yaml:2:37: only azure/ has an `api_version`",
    ),
    "a version that is none": (
        target("{model: azure/x, api_version: 'a b'}"),
        "routes.yaml:2:36: api_version is a date, e.g. 2024-10-21, or a word",
    ),
    "an address without its scheme": (
        target("{model: openai/x, api_base: localhost:1}"),
        "routes.yaml:2:34: this is not a web address: write e.g. https://host/v1",
    ),
    "an address with an open bracket": (
        target("{model: openai/x, api_key: k, api_base: 'http://['}"),
        "routes.yaml:2:46: this is no web address such as https://host/v1",
    ),
    "an address with a letter that no host has": (
        target("{model: openai/x, api_key: k, api_base: 'http://a℀b/v1'}"),
        "routes.yaml:2:46: this is no web address such as https://host/v1",
    ),
    "an address with a password": (
        target("{model: openai/x, api_base: 'https://u:p@h/v1'}"),
        "routes.yaml:2:34: a secret does not belong in an address, where logs and errors show it: use `api_key`, or `token` for an MCP server or a collector",
    ),
    "an address with a key": (
        target("{model: openai/x, api_base: 'https://h/v1?api_key=k'}"),
        "routes.yaml:2:34: a secret (…key=) does not belong in an address, where logs and errors show it: use `api_key`, or `token` for an MCP server or a collector",
    ),
    "a Redis without its scheme": (
        more("server: {redis: 'localhost:6379'}"),
        "routes.yaml:5:17: this is not the address of a Redis: write redis://:password@host:6379/0, rediss:// with TLS, or unix:///path",
    ),
    "a Redis on no port": (
        more("server: {redis: 'redis://host:0'}"),
        "routes.yaml:5:17: this is not the address of a Redis: write redis://:password@host:6379/0, rediss:// with TLS, or unix:///path",
    ),
    "a Redis whose database has a name": (
        more("server: {redis: 'redis://host/cache'}"),
        "routes.yaml:5:17: a Redis database is a number: redis://host:6379/0",
    ),
    "a Redis with an option of its client": (
        more("server: {redis: 'redis://host/0?socket_timeout=9&db=1'}"),
        "routes.yaml:5:17: the address of a Redis takes no options but db, ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs",
    ),
    "a Redis with an option that cannot be read": (
        more("server: {redis: 'rediss://host?db=first'}"),
        "routes.yaml:5:17: the options of this Redis address cannot be read: db is a number",
    ),
    "a key with a space": (target("{model: openai/x, api_key: 'a b'}"), "routes.yaml:2:33: a key is one line of visible ASCII characters"),
    "yes": (target("{script: demo, optional: yes}"), "routes.yaml:2:31: `optional` takes true or false, not `yes`; did you mean `true`?"),
    "Off": (target("{script: demo, optional: Off}"), "routes.yaml:2:31: `optional` takes true or false, not `Off`; did you mean `false`?"),
    "a quoted truth": (
        target("{script: demo, optional: 'true'}"),
        "routes.yaml:2:31: `optional` takes true or false, not `'true'`; did you mean `true`?",
    ),
    "an octal number": (
        route("{pipeline: chat, targets: [a], max_steps: 012}"),
        "routes.yaml:4:48: `max_steps` takes a whole number, not `012`",
    ),
    "a number on a clock": (
        route("{pipeline: chat, targets: [a], max_steps: 1:30}"),
        "routes.yaml:4:48: `max_steps` takes a whole number, not `1:30`",
    ),
    "a quoted number": (
        route("{pipeline: chat, targets: [a], max_steps: '3'}"),
        "routes.yaml:4:48: `max_steps` takes a whole number, not `'3'`",
    ),
    "a number out of bounds": (route("{pipeline: chat, targets: [a], max_steps: 51}"), "routes.yaml:4:48: max_steps must be from 1 to 50"),
    "no tries at all": (more("defaults: {retry: {attempts: 0}}"), "routes.yaml:5:30: attempts must be from 1 to 10"),
    "no depth": (more("server: {request: {depth: 0}}"), "routes.yaml:5:27: depth must be from 1 to 100000"),
    "a window of nothing": (target("{script: demo, context_window: 0}"), "routes.yaml:2:37: context_window must be at least 1"),
    "a hot temperature": (target("{model: openai/x, params: {temperature: 3}}"), "routes.yaml:2:46: temperature must be from 0 to 2"),
    "a temperature in words": (
        target("{model: openai/x, params: {temperature: warm}}"),
        "routes.yaml:2:46: `temperature` takes a number, not `warm`",
    ),
    "too many stops": (target("{model: openai/x, params: {stop: [a, b, c, d, e]}}"), "routes.yaml:2:39: stop takes four texts at most"),
    "a word that is none of a few": (
        route("{pipeline: chat, targets: [a], reasoning: shw}"),
        "routes.yaml:4:48: `shw` is not one of hide, show; did you mean `show`?",
    ),
    "a list for a word": (route("{pipeline: [chat], targets: [a]}"), "routes.yaml:4:17: `pipeline` takes a name, e.g. chat, not a list"),
    "a mapping for a number": (
        route("{pipeline: chat, targets: [a], max_steps: {a: 1}}"),
        "routes.yaml:4:48: `max_steps` takes a whole number, not a mapping",
    ),
    "a doubtful word in a tool's arguments": (
        target("{script: [{call: x, arguments: {a: yes}}]}"),
        "routes.yaml:2:41: `yes` means different things to different readers: put it in quotes, or write true, false or a plain number",
    ),
    # no value
    "no value for a list": (
        route("{pipeline: chat, targets: [a], tools: }"),
        "routes.yaml:4:44: `tools` takes a list, and has no value: write [chat], or indent what belongs to it",
    ),
    "no value for a name": (route("{pipeline: , targets: [a]}"), "routes.yaml:4:17: `pipeline` has no value: a name, e.g. chat is needed"),
    "no value for a mapping": (
        route("{pipeline: chat, targets: [a], timeout: }"),
        "routes.yaml:4:46: `timeout` takes a mapping with connect, first_token, idle, tool, total, and has no value: indent its keys by two spaces more, e.g. {connect: 2s}",
    ),
    "no value for a key": (
        target("{model: openai/x, api_key: ~}"),
        "routes.yaml:2:33: `api_key` has no value: a key, e.g. ${OPENAI_API_KEY} is needed",
    ),
    "no value for a truth": (
        target("{script: demo, optional: null}"),
        "routes.yaml:2:31: `optional` has no value: true or false is needed",
    ),
    "no value for a route": (
        TARGETS + "routes:\n  m:\n",
        "routes.yaml:4:5: `m` takes a mapping, and has no value: indent its keys by two spaces more, e.g. {pipeline: chat, targets: [chat]}",
    ),
    "no value for the routes": (
        TARGETS + "routes:\n",
        "routes.yaml:3:8: `routes` takes a mapping of names, and has no value: indent what belongs to it, e.g. `NAME: {pipeline: chat, targets: [chat]}`, by two spaces",
    ),
    # a target
    "a target with a model and a script": (
        target("{model: openai/x, script: demo}"),
        "routes.yaml:2:32: a target has either `model` or `script`",
    ),
    "a target with neither": (target("{optional: true}"), "routes.yaml:2:6: a target has either `model` or `script`"),
    "a target scripted, with a key": (target("{script: demo, api_key: x}"), "routes.yaml:2:30: a scripted target has no use for `api_key`"),
    "a target with a script that is none": (target("{script: dmo}"), "routes.yaml:2:15: `dmo` is not one of demo; did you mean `demo`?"),
    "a target whose line does two things": (
        target("{script: [{text: a, pause: 1s}]}"),
        "routes.yaml:2:33: a script line does exactly one thing: text, thought, call, pause, fail or finish",
    ),
    "a target whose line does nothing": (
        target("{script: [{}]}"),
        "routes.yaml:2:16: a script line does exactly one thing: text, thought, call, pause, fail or finish",
    ),
    "a target whose line says nothing": (target("{script: [{text: ''}]}"), "routes.yaml:2:23: there is nothing to say in an empty text"),
    "a target whose line has idle arguments": (
        target("{script: [{text: a, arguments: {}}]}"),
        "routes.yaml:2:37: `arguments` go with `call`",
    ),
    # a reference
    "a reference to an unknown target": (
        route("{pipeline: chat, targets: [aa]}"),
        "routes.yaml:4:33: no target is named `aa`; did you mean `a`?",
    ),
    "a reference to a target nothing is like": (
        route("{pipeline: chat, targets: [zz]}"),
        "routes.yaml:4:33: no target is named `zz`; there is `a`",
    ),
    "a reference to an unknown tool set": (
        route("{pipeline: chat, targets: [a], tools: [wether]}"),
        "routes.yaml:4:45: there is no tools/wether.py; did you mean `weather`?",
    ),
    "a reference to an unknown pipeline": (
        route("{pipeline: chatt, targets: [a]}"),
        "routes.yaml:4:17: there is no pipelines/chatt.yaml; did you mean `chat`?",
    ),
    "a reference to a pipeline elsewhere": (
        route("{pipeline: ../secret, targets: [a]}"),
        "routes.yaml:4:17: `../secret` is not a name: use letters, digits and . _ - : / @, 128 at most\nroutes.yaml:4:17: there is no pipelines/../secret.yaml; there is `chat`",
    ),
    "a reference to one target twice": (
        route("{pipeline: chat, targets: [a, a]}"),
        "routes.yaml:4:36: `a` stands twice in the targets of `m`",
    ),
    "a reference to one tool set twice": (
        route("{pipeline: chat, targets: [a], tools: [weather, weather]}"),
        "routes.yaml:4:54: `weather` stands twice in the tools of `m`",
    ),
    # a route
    "a route without targets": (route("{pipeline: chat}"), "routes.yaml:4:6: `m` lacks `targets`"),
    "a route with an empty list of targets": (
        route("{pipeline: chat, targets: []}"),
        "routes.yaml:4:32: a route needs at least one target",
    ),
    "a route without anything": (route("{}"), "routes.yaml:4:6: `m` lacks `pipeline` and `targets`"),
    "a route all whose targets are skipped": (
        target("{model: openai/x, api_key: '${NOPE}', optional: true}"),
        "routes.yaml:4:33: `m` has no target left, all are optional: the environment variable NOPE is not set",
    ),
    "a route whose alias is taken": (
        route("{pipeline: chat, targets: [a], aliases: [x]}\n  n: {pipeline: chat, targets: [a], aliases: [x]}"),
        "routes.yaml:5:47: `x` is taken: line 4 names it already",
    ),
    "a route named as another's alias": (
        route("{pipeline: chat, targets: [a], aliases: [n]}\n  n: {pipeline: chat, targets: [a]}"),
        "routes.yaml:4:47: `n` is taken: line 5 names it already",
    ),
    "a route with its own name as alias": (
        route("{pipeline: chat, targets: [a], aliases: [m]}"),
        "routes.yaml:4:47: `m` is taken: line 4 names it already",
    ),
    "a cache without a time": (
        route("{pipeline: chat, targets: [a], cache: {size: 1MiB}}"),
        "routes.yaml:4:44: `cache` lacks `ttl`",
    ),
    "a cache without room": (
        route("{pipeline: chat, targets: [a], cache: {ttl: 1h, size: 63KiB}}"),
        "routes.yaml:4:60: size must be at least 64KiB: few answers would fit",
    ),
    "a cache for nobody": (
        route("{pipeline: chat, targets: [a], cache: {ttl: 1h, scope: nobody}}"),
        "routes.yaml:4:61: `nobody` is not one of user, caller, route",
    ),
    "a route with a name that is none": (
        TARGETS + "routes:\n  'm m': {pipeline: chat, targets: [a]}\n",
        "routes.yaml:4:3: `m m` is not a name: use letters, digits and . _ - : / @, 128 at most",
    ),
    "no routes": (TARGETS, "routes.yaml:1:1: `routes.yaml` lacks `routes`"),
    "no targets": ("routes: {}\n", "routes.yaml:1:1: `routes.yaml` lacks `targets`"),
}


@pytest.mark.parametrize("mistake", IN_ROUTES)
def test_a_mistake_in_routes(workspace: Workspace, mistake: str) -> None:
    """It is told once, where it stands, with what was meant where that can be guessed."""
    written, told = IN_ROUTES[mistake]
    assert complaints(workspace.write("routes.yaml", written), EMPTY="", WORD="many") == told.split("\n")


DEEP = "{{ " + "[" * 300 + "]" * 300 + " }}"
BLOCKS = "{% for m in messages %}" * 25 + "{% endfor %}" * 25
BESIDE: dict[str, tuple[dict[str, str], str]] = {
    "a pipeline with an unknown step": (
        {"pipelines/chat.yaml": "steps:\n  - histry: {keep: 3}\n"},
        "pipelines/chat.yaml:2:5: there is no step `histry`; did you mean `history`?",
    ),
    "a pipeline with a route's own step": (
        {"pipelines/chat.yaml": "steps:\n  - tools: {}\n"},
        "pipelines/chat.yaml:2:5: there is no step `tools`; write `tools: [NAME]` in the route",
    ),
    "a pipeline whose step has an unknown option": (
        {"pipelines/chat.yaml": "steps:\n  - history: {keep: 3, kep: 3}\n"},
        "pipelines/chat.yaml:2:24: unknown key `kep` in `history`; did you mean `keep`?",
    ),
    "a pipeline whose step lacks an option": (
        {"pipelines/chat.yaml": "steps:\n  - history: {}\n"},
        "pipelines/chat.yaml:2:14: `history` lacks `keep`",
    ),
    "a pipeline whose step refuses an option": (
        {"pipelines/chat.yaml": "steps:\n  - history: {keep: 0}\n"},
        "pipelines/chat.yaml:2:21: keep must be at least 1",
    ),
    "a pipeline whose step has no options": (
        {"pipelines/chat.yaml": "steps:\n  - history:\n"},
        "pipelines/chat.yaml:2:13: `history` takes a mapping with keep, and has no value: indent its keys by two spaces more, e.g. {keep: 1}",
    ),
    "a pipeline whose step is told nothing": (
        {"pipelines/chat.yaml": "steps:\n  - edit: {}\n"},
        "pipelines/chat.yaml:2:11: edit needs `strip` or `max_chars`, or both",
    ),
    "a pipeline whose step takes one of a few words": (
        {"pipelines/chat.yaml": "steps:\n  - edit: {strip: quote}\n"},
        "pipelines/chat.yaml:2:19: `quote` is not one of quotes, whitespace, fences; did you mean `quotes`?",
    ),
    "a pipeline whose step is a word alone": (
        {"pipelines/chat.yaml": "steps:\n  - history\n"},
        "pipelines/chat.yaml:2:5: a step is one word and its options, e.g. `- history: {keep: 40}`",
    ),
    "a pipeline with two steps in one": (
        {"pipelines/chat.yaml": "steps:\n  - history: {keep: 1}\n    edit: {max_chars: 1}\n"},
        "pipelines/chat.yaml:2:5: a step is one word and its options, e.g. `- history: {keep: 40}`",
    ),
    "a pipeline with parameters out of bounds": (
        {"pipelines/chat.yaml": "steps:\n  - params: {temperature: 9}\n"},
        "pipelines/chat.yaml:2:27: temperature must be from 0 to 2",
    ),
    "a pipeline with an unknown parameter": (
        {"pipelines/chat.yaml": "steps:\n  - params: {temprature: 1}\n"},
        "pipelines/chat.yaml:2:14: unknown key `temprature` in `params`; did you mean `temperature`?",
    ),
    "a pipeline with an unknown key": (
        {"pipelines/chat.yaml": "steps: []\nstps: []\n"},
        "pipelines/chat.yaml:2:1: unknown key `stps` in a pipeline; did you mean `steps`?",
    ),
    "a pipeline with a mapping of steps": (
        {"pipelines/chat.yaml": "steps: {history: {keep: 3}}\n"},
        "pipelines/chat.yaml:1:8: a pipeline is `steps:` and a list under it, e.g. `- prompt: chat.j2`",
    ),
    "a pipeline without steps": (
        {"pipelines/chat.yaml": "hello\n"},
        "pipelines/chat.yaml:1:1: a pipeline is `steps:` and a list under it, e.g. `- prompt: chat.j2`",
    ),
    "a pipeline that is empty": ({"pipelines/chat.yaml": ""}, "pipelines/chat.yaml:1:1: the file is empty"),
    "a pipeline that is not YAML": (
        {"pipelines/chat.yaml": "steps: [\n"},
        "pipelines/chat.yaml:2:1: this is not YAML: a value is missing before this, or a bracket is not closed",
    ),
    "a pipeline with a variable that is not set": (
        {"pipelines/chat.yaml": "steps:\n  - history: {keep: '${NOPE}'}\n"},
        "pipelines/chat.yaml:2:21: the environment variable NOPE is not set: set it where the router is started or in .env, or give it a default, ${NOPE:-…}",
    ),
    "a template that is missing": (
        {"pipelines/chat.yaml": "steps:\n  - prompt: caht.j2\n", "pipelines/chat.j2": "Hi"},
        "pipelines/chat.yaml:2:13: there is no pipelines/caht.j2; did you mean `chat.j2`?",
    ),
    "a template given as a mapping": (
        {"pipelines/chat.yaml": "steps:\n  - prompt: {template: chat.j2}\n"},
        "pipelines/chat.yaml:2:13: `prompt` takes a name, e.g. chat, not a mapping",
    ),
    "a template given as nothing": (
        {"pipelines/chat.yaml": "steps:\n  - prompt:\n"},
        "pipelines/chat.yaml:2:12: `prompt` has no value: a name, e.g. chat is needed",
    ),
    "a template that does not compile": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hi\n{% if ask %}\n"},
        "pipelines/chat.j2:2:1: this template does not compile: Unexpected end of template. Jinja was looking for the following tags: 'elif' or 'else' or 'endif'. The innermost block that needs to be closed is 'if'.",
    ),
    "a template with an open tag": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hi\n\n{{ ask.kind \n"},
        "pipelines/chat.j2:3:1: this template does not compile: unexpected end of template, expected 'end of print statement'.",
    ),
    "a template with an unknown tag": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "{% fro m in messages %}{% endfor %}"},
        "pipelines/chat.j2:1:1: this template does not compile: Encountered unknown tag 'fro'.",
    ),
    "a template with an unknown filter": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hi\n{{ ask.kind | uper }}"},
        "pipelines/chat.j2:2:15: no filter or test is named `uper`; did you mean `upper`?",
    ),
    "a template with an unknown test in a branch": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "{% if ask.kind %}\n{% if ask.kind is strng %}{% endif %}{% endif %}"},
        "pipelines/chat.j2:2:19: no filter or test is named `strng`; did you mean `string`?",
    ),
    "a template with an unknown name": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hello\n\n  {{ mesages[0].text }}\n"},
        "pipelines/chat.j2:3:6: a template knows no `mesages`; did you mean `messages`?",
    ),
    "a template with an unknown name, also written in its prose": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "user: {{ ask.user }} {{ user }}\n"},
        "pipelines/chat.j2:1:25: a template knows no `user`; there is `messages`, `params`, `ask`",
    ),
    "a template that includes one that is missing": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hi\n{% include 'rules.j2' %}"},
        "pipelines/chat.j2:2:13: there is no pipelines/rules.j2; there is `chat.j2`, `chat.yaml`",
    ),
    "a template that includes one with a mistake": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "{% include 'rules.j2' %}", "pipelines/rules.j2": "Be\n{{ kind }}"},
        "pipelines/rules.j2:2:4: a template knows no `kind`; there is `messages`, `params`, `ask`",
    ),
    "a template nested too deeply": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": DEEP},
        "pipelines/chat.j2:1:1: this template does not compile: it is nested too deeply",
    ),
    "a template with too many blocks": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": BLOCKS},
        "pipelines/chat.j2:1:1: this template does not compile: it is nested too deeply",
    ),
    "a tool file that is not Python": (
        {"tools/weather.py": "X = 1\ndef get(:\n    pass\n"},
        "tools/weather.py:2:9: this is not Python: invalid syntax",
    ),
    "a tool file that fails when it is loaded": (
        {"tools/weather.py": "X = 1\nraise ValueError('a secret')\n"},
        "tools/weather.py:2:1: this file fails when it is loaded: ValueError",
    ),
    "a tool file that fails in a function": (
        {"tools/weather.py": "def _go():\n    return [][1]\n\n\n_go()\n"},
        "tools/weather.py:2:1: this file fails when it is loaded: IndexError",
    ),
    "a tool file that ends the process": (
        {"tools/weather.py": "import sys\nsys.exit(1)\n"},
        "tools/weather.py:2:1: this file fails when it is loaded: SystemExit",
    ),
    "a tool file that lacks a package": (
        {"tools/weather.py": "import no_such_package\n"},
        "tools/weather.py:1:1: this file fails when it is loaded: ModuleNotFoundError",
    ),
    "a tool file without a public function": (
        {"tools/weather.py": "def _get() -> str:\n    return ''\n"},
        "tools/weather.py:1:1: this file has no public function: a tool set is one or more",
    ),
    "a tool file whose tool lacks an annotation": (
        {"tools/weather.py": 'import math\n\ndef get(city):\n    """Get."""\n'},
        "tools/weather.py:3:9: a tool's parameters must have types that JSON has: parameter city of get has no type annotation",
    ),
    "a tool file whose tool has a type that JSON lacks": (
        {"tools/weather.py": 'def get(city: bytes) -> str:\n    """Get."""\n'},
        "tools/weather.py:1:9: a tool's parameters must have types that JSON has: <class 'bytes'> is not a type that JSON has",
    ),
    "a tool file whose tool has an annotation that is none": (
        {"tools/weather.py": 'def get(city: "a city") -> str:\n    """Get."""\n'},
        "tools/weather.py:1:9: a tool's parameters must have types that JSON has: Forward reference must be an expression -- got 'a city'",
    ),
    "a tool file whose tool is a generator": (
        {"tools/weather.py": 'def get(city: str) -> object:\n    """Get."""\n    yield city\n'},
        "tools/weather.py:1:1: `get` yields without `async`: a tool that reports progress is an `async def`",
    ),
    "a tool file whose tool has a parameter by position only": (
        {"tools/weather.py": 'def get(city: str, /) -> str:\n    """Get."""\n'},
        "tools/weather.py:1:9: `get` has `/` or `*` among its parameters: a tool is called with all of them by name",
    ),
    "a tool file whose tool has a parameter by keyword only": (
        {"tools/weather.py": 'def get(city: str, *, days: int = 1) -> str:\n    """Get."""\n'},
        "tools/weather.py:1:23: `get` has `/` or `*` among its parameters: a tool is called with all of them by name",
    ),
    "a tool file whose tool takes anything": (
        {"tools/weather.py": 'def get(*city: str) -> str:\n    """Get."""\n'},
        "tools/weather.py:1:10: a tool's parameters must have types that JSON has: get takes *city: name each parameter",
    ),
    "a tool file whose tool lacks a docstring": (
        {"tools/weather.py": "\n\ndef get(city: str) -> str:\n    return city\n"},
        "tools/weather.py:3:1: `get` needs a docstring: it is what the model knows of it",
    ),
}


@pytest.mark.parametrize("mistake", BESIDE)
def test_a_mistake_beside_routes(workspace: Workspace, mistake: str) -> None:
    """A pipeline, a template and a tool file are told of in their own lines."""
    files, told = BESIDE[mistake]
    workspace.write("routes.yaml", WITH_TOOLS)
    for name, content in files.items():
        workspace.write(name, content)
    assert complaints(workspace) == told.split("\n")


def test_two_tools_of_one_name(workspace: Workspace) -> None:
    """A route cannot be granted both: its list of tool sets says so."""
    workspace.write("routes.yaml", route("{pipeline: chat, targets: [a], tools: [weather, other]}")).write("tools/other.py", WEATHER)
    assert complaints(workspace) == ["routes.yaml:4:54: `m` gets two tools named `get_weather`: from weather and from other"]


def test_ten_mistakes_are_told_at_once(workspace: Workspace) -> None:
    """Over all files, in reading order, nine of them with what was meant."""
    written = """targets:
  demo: {script: demo}
  gpt: {model: opnai/gpt-4o}
  claude: {model: anthropic/claude, optionl: true}
defaults:
  timeout: {frist_token: 10s}
  retry: {attempts: 0}
routes:
  chat-model:
    pipeline: chta
    targets: [dmo]
    tools: [wether]
    reasoning: shwo
  title-model: {pipeline: title, targets: [demo]}
"""
    workspace.write("routes.yaml", written)
    workspace.write("pipelines/title.yaml", "steps:\n  - prompt: title.j2\n  - histroy: {keep: 4}\n")
    workspace.write("pipelines/title.j2", "Title this:\n\n{{ mesages[0].text }}\n")
    assert complaints(workspace) == [
        "routes.yaml:3:16: no provider is named `opnai`; did you mean `openai/gpt-4o`?",
        "routes.yaml:4:37: unknown key `optionl` in `claude`; did you mean `optional`?",
        "routes.yaml:6:13: unknown key `frist_token` in `timeout`; did you mean `first_token`?",
        "routes.yaml:7:21: attempts must be from 1 to 10",
        "routes.yaml:10:15: there is no pipelines/chta.yaml; did you mean `chat`?",
        "routes.yaml:11:15: no target is named `dmo`; did you mean `demo`?",
        "routes.yaml:12:13: there is no tools/wether.py; did you mean `weather`?",
        "routes.yaml:13:16: `shwo` is not one of hide, show; did you mean `show`?",
        "pipelines/title.j2:3:4: a template knows no `mesages`; did you mean `messages`?",
        "pipelines/title.yaml:3:5: there is no step `histroy`; did you mean `history`?",
    ]


def test_a_complaint_shows_its_line(workspace: Workspace) -> None:
    """With a caret under the culprit."""
    workspace.write("routes.yaml", target("{script: demo, optionl: true}"))
    with pytest.raises(ConfigError) as caught:
        workspace.build()
    assert str(caught.value).splitlines() == [
        "routes.yaml:2:21: unknown key `optionl` in `a`; did you mean `optional`?",
        "      a: {script: demo, optionl: true}",
        "                        ^",
    ]


def test_a_time_is_no_secret(workspace: Workspace) -> None:
    """A slip in `first_token` is shown with its line."""
    workspace.write("routes.yaml", target("{script: demo}") + "defaults:\n  timeout: {frist_token: 10s}\n")
    with pytest.raises(ConfigError) as caught:
        workspace.build()
    assert "      timeout: {frist_token: 10s}" in str(caught.value).splitlines()


LITERALS = {
    "behind it": target("{model: openai/x, optionl: true, api_key: sk-HIDDEN}"),
    "before it": target("{model: openai/x, api_key: sk-HIDDEN, optionl: true}"),
    "in quotes": target("""{model: openai/x, "api_key": 'sk-HIDDEN', optionl: true}"""),
    "that is none": target("{model: openai/x, api_key: sk-HIDDEN é}"),
    "on its own line": f"targets:\n  a:\n    model: openai/x\n    api_key:\n      sk-HIDDEN é\n{ROUTES}",
    "below a comment": f"targets:\n  a:\n    model: openai/x\n    api_key:\n      # mine\n\n      sk-HIDDEN é\n{ROUTES}",
    "below a comment beside its word": f"targets:\n  a:\n    model: openai/x\n    api_key:  # mine\n      sk-HIDDEN é\n{ROUTES}",
    "in a list": target("{model: openai/x, api_key: [sk-HIDDEN]}"),
    "under the variable's name": target("{model: openai/x, OPENAI_API_KEY: sk-HIDDEN}"),
    "under client_secret": target("{model: openai/x, client_secret: sk-HIDDEN}"),
    "under access_token": target("{model: openai/x, access_token: sk-HIDDEN}"),
    "in a header": target("{model: openai/x, headers: {Authorization: Bearer sk-HIDDEN}}"),
    "without the space after the colon": target("{model: openai/x, api_key:sk-HIDDEN}"),
    "behind an equals sign": target("{model: openai/x, api_key=sk-HIDDEN}"),
    "behind a wide colon": target("{model: openai/x, api_key：sk-HIDDEN}"),
    "under a mistyped word": target("{model: openai/x, api_kye: sk-HIDDEN}"),
    "as a default": target("{model: openai/x, api_key: '${NOPE:-sk-HIDDEN}', optionl: true}"),
    "as a password in an address": target("{model: openai/x, api_base: 'https://me:sk-HIDDEN@host/v1'}"),
    "as a password in an origin": more("server: {cors: {origins: ['https://me:sk-HIDDEN@host/']}}"),
    "as a parameter of an address": target("{model: openai/x, api_base: 'https://host/v1?api_key=sk-HIDDEN'}"),
    "as a password of a Redis": more("server: {redis: 'redis://:sk-HIDDEN@host/x'}"),
    "in a file that is not YAML": target("{model: openai/x, api_key: sk-HIDDEN"),
}


@pytest.mark.parametrize("where", LITERALS)
def test_a_key_in_the_file_is_not_quoted(workspace: Workspace, where: str) -> None:
    """A complaint shows its line without the key that stands in it."""
    with pytest.raises(ConfigError) as caught:
        workspace.write("routes.yaml", LITERALS[where]).build()
    assert caught.value.complaints
    assert "HIDDEN" not in str(caught.value)


VARIABLES = {
    "a model": target("{model: '${V}'}"),
    "a key": target("{model: openai/x, api_key: '${V} é'}"),
    "an address": target("{model: openai/x, api_base: '${V}'}"),
    "a number": target("{script: demo, context_window: '${V}'}"),
    "a truth": target("{script: demo, optional: '${V}'}"),
    "a word": target("{script: '${V}'}"),
    "a temperature": target("{model: openai/x, params: {temperature: '${V}'}}"),
    "a list of targets": route("{pipeline: chat, targets: '${V}'}"),
    "a target": route("{pipeline: chat, targets: ['${V}']}"),
    "a target twice": route("{pipeline: chat, targets: ['${V}', '${V}']}"),
    "an alias": route("{pipeline: chat, targets: [a], aliases: ['${V}', '${V}']}"),
    "an origin": more("server: {cors: {origins: ['${V}']}}"),
    "a size": more("server: {request: {body: '${V}'}}"),
    "a duration": more("defaults: {timeout: {connect: '${V}'}}"),
    "a Redis": more("server: {redis: '${V}'}"),
    "half a span": more("defaults: {retry: {backoff: '${V}..4s'}}"),
}


@pytest.mark.parametrize("what", VARIABLES)
def test_value_of_a_variable_is_not_quoted(workspace: Workspace, what: str) -> None:
    """A complaint about it shows `${V}` instead."""
    with pytest.raises(ConfigError) as caught:
        workspace.write("routes.yaml", VARIABLES[what]).build(V="sk-HIDDEN")
    assert "HIDDEN" not in str(caught.value)
    assert "${V}" in str(caught.value)


def declared(workspace: Workspace, written: str, **variables: str) -> Declaration:
    """The declaration of a routes.yaml that is right."""
    made = declare(read(workspace.write("routes.yaml", written).root / "routes.yaml"), variables)
    assert made.complaints.in_order() == ()
    return made


KEYS: dict[str, tuple[str, str, str]] = {
    "a variable": ("${KEY}", "sk-1", "${KEY}"),
    "a variable in a text": ("sk-${KEY}-x", "sk-sk-1-x", "sk-${KEY}-x"),
    "a default": ("${NOPE:-sk-2}", "sk-2", "***"),
    "no default needed": ("${KEY:-sk-2}", "sk-1", "***"),
    "a default for what is empty": ("${EMPTY:-sk-2}", "sk-2", "***"),
    "a message not needed": ("${KEY:?set it}", "sk-1", "${KEY:?set it}"),
    "a file": ("${file:secrets/key}", "sk-3", "${file:secrets/key}"),
    "a dollar sign": ("sk-$$${KEY}", "sk-$sk-1", "sk-$$${KEY}"),
    "a literal": ("sk-4", "sk-4", "***"),
}


@pytest.mark.parametrize("spelled", KEYS)
def test_a_key(workspace: Workspace, spelled: str) -> None:
    """It is what its spelling stands for, and shows no more than that spelling."""
    written, value, shown = KEYS[spelled]
    workspace.write("secrets/key", "sk-3\n")
    made = declared(workspace, target(f"{{model: openai/x, api_key: '{written}'}}"), KEY="sk-1", EMPTY="")
    key = next(iter(made.routes.targets.values())).api_key
    assert isinstance(key, Secret)
    assert (key.value, repr(key), str(key)) == (value, shown, shown)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"x" * (1024 * 1024 + 1), "is larger than 1 MiB"), (b"caf\xe9", "cannot be read: it is not UTF-8")],
    ids=["too large", "not UTF-8"],
)
def test_a_secret_file_that_is_none(workspace: Workspace, content: bytes, why: str) -> None:
    """It is refused by its name; nothing of it is shown."""
    workspace.write("routes.yaml", target("{model: openai/x, api_key: '${file:key}'}"))
    (workspace.root / "key").write_bytes(content)
    assert complaints(workspace) == [f"routes.yaml:2:33: the secret file key {why}"]


def test_a_value_cannot_inject_yaml(workspace: Workspace) -> None:
    """A variable that holds YAML is a text."""
    made = declared(workspace, target("{model: 'openai/${V}'}"), V="x, api_key: stolen}\nb: {")
    one = next(iter(made.routes.targets.values()))
    assert (one.model, one.api_key) == ("openai/x, api_key: stolen}\nb: {", None)


READ: list[tuple[Any, str, object]] = [
    (Seconds, "250ms", 0.25),
    (Seconds, "1.5s", 1.5),
    (Seconds, "5m", 300.0),
    (Seconds, "1h", 3600.0),
    (Seconds, "2d", 172_800.0),
    (ByteSize, "512B", 512),
    (ByteSize, "64KiB", 65_536),
    (ByteSize, "1MiB", 1_048_576),
    (ByteSize, "2GiB", 2_147_483_648),
    (Backoff, "0.25s..4s", Span(0.25, 4.0)),
    (Backoff, "0s..0s", Span(0.0, 0.0)),
    (Origin, "HTTP://LocalHost:3000", "http://localhost:3000"),
    (WebAddress, "https://host/v1/", "https://host/v1"),
]


@pytest.mark.parametrize(("kind", "text", "value"), READ)
def test_a_value_with_a_spelling(kind: Any, text: str, value: object) -> None:
    """It is read as what it says."""
    assert check(shape_of(kind), text) == value


@given(st.sampled_from([Seconds, ByteSize, Backoff]), st.text() | st.from_regex(r"\d+(\.\d+)?(ms|s|m|h|d|B|KiB|MiB|\.\.)?"))
@example(Seconds, "9" * 400 + "s")
@example(ByteSize, "9" * 5_000 + "B")
@example(Backoff, "1s.." + "9" * 400 + "s")
def test_any_text_is_a_number_or_a_misfit(kind: Any, text: str) -> None:
    """Nothing else comes of reading it: no other error, nothing infinite."""
    with contextlib.suppress(Misfit):
        value = check(shape_of(kind), text)
        ends = (value.least, value.most) if isinstance(value, Span) else (value,)
        assert all(isinstance(one, int | float) and 0 <= one < 1e25 for one in ends)


def test_a_route_inherits_what_it_does_not_say(workspace: Workspace) -> None:
    """Key by key: the route's own word, else the defaults' own, else the built-in one."""
    written = more("defaults: {timeout: {first_token: 5s, idle: 7s}, retry: {attempts: 4}}").replace(
        "targets: [a]}", "targets: [a], timeout: {first_token: 60s}}"
    )
    one = declared(workspace, written).routes.routes["m"]  # type: ignore[index]  # a Name is a str
    assert (one.timeout.first_token, one.timeout.idle, one.timeout.connect) == (60.0, 7.0, 2.0)
    assert (one.retry.attempts, one.retry.backoff) == (4, Span(0.25, 4.0))


def test_a_plain_route_has_the_defaults(workspace: Workspace) -> None:
    """What is not said is as documented."""
    one = declared(workspace, TARGETS + ROUTES).routes.routes["m"]  # type: ignore[index]  # a Name is a str
    assert (one.max_steps, one.reasoning, one.aliases, one.tools) == (5, "hide", (), ())
    limits = one.timeout
    assert (limits.connect, limits.first_token, limits.idle, limits.tool, limits.total) == (2.0, 10.0, 15.0, 20.0, 300.0)


def test_an_optional_target_is_skipped_while_its_variable_is_not_set(workspace: Workspace) -> None:
    """It is named with the reason; the others of its route answer."""
    written = (
        "targets:\n  a: {model: openai/x, api_key: '${KEY}', optional: true}\n  b: {script: demo}\n"
        "routes:\n  m: {pipeline: chat, targets: [a, b]}\n"
    )
    made = workspace.write("routes.yaml", written).build()
    assert (made.skipped, [one.name for one in made.routes["m"].targets]) == ({"a": "the environment variable KEY is not set"}, ["b"])
    made = workspace.build(KEY="sk-1")
    assert (made.skipped, [one.name for one in made.routes["m"].targets]) == ({}, ["a", "b"])


def test_a_skipped_target_is_checked_all_the_same(workspace: Workspace) -> None:
    """Its other mistakes do not wait for the day its variable is set."""
    workspace.write("routes.yaml", target("{model: openai/x, api_key: '${KEY}', optional: true, context_window: many}"))
    assert complaints(workspace)[0] == "routes.yaml:2:75: `context_window` takes a whole number, not `many`"


def test_a_thousand_routes_load(workspace: Workspace) -> None:
    """Each with its alias."""
    lines = "".join(f"  m{index}: {{pipeline: chat, targets: [a], aliases: [x{index}]}}\n" for index in range(1_000))
    made = workspace.write("routes.yaml", f"{TARGETS}routes:\n{lines}").build()
    assert len(made.routes) == 1_000
    assert made.route("x999") is made.routes["m999"]


def test_the_digest_names_the_text(workspace: Workspace) -> None:
    """Equal text, equal digest; a change in any file, or in a secret file, is another one. A file nobody reads is none."""
    workspace.write("routes.yaml", target("{model: openai/x, api_key: '${file:secrets/key}'}")).write("secrets/key", "one")

    def digest() -> str:
        return workspace.build().digest

    seen = [digest()]
    assert len(seen[0]) == 12
    assert digest() == seen[0]
    changes = {
        "routes.yaml": target("{model: openai/y, api_key: '${file:secrets/key}'}"),
        "pipelines/chat.yaml": CHAT + "# more\n",
        "pipelines/unused.j2": "Hi",
        "tools/weather.py": WEATHER + "\n",
        "secrets/key": "two",
    }
    for name, content in changes.items():
        workspace.write(name, content)
        seen.append(digest())
    assert len(set(seen)) == len(changes) + 1
    workspace.write("notes.txt", "nobody reads this").write("tools/__pycache__/weather.py", "nor this")
    assert digest() == seen[-1]


def test_a_byte_order_mark_and_dos_line_ends_are_read(workspace: Workspace) -> None:
    """As editors on Windows write them."""
    (workspace.root / "routes.yaml").write_bytes(b"\xef\xbb\xbf" + (TARGETS + ROUTES).replace("\n", "\r\n").encode())
    assert list(workspace.build().routes) == ["m"]


def test_a_file_that_is_not_utf8(workspace: Workspace) -> None:
    """It is named, with the line."""
    (workspace.root / "routes.yaml").write_bytes(b"targets:\n  a: {script: demo}\n# caf\xe9\n")
    assert complaints(workspace) == ["routes.yaml:3:1: the file is not UTF-8"]


def test_a_file_that_is_too_large(workspace: Workspace) -> None:
    """It is not read."""
    workspace.write("routes.yaml", TARGETS + ROUTES).write("pipelines/big.j2", "x" * (MAX_BYTES + 1))
    assert complaints(workspace) == ["pipelines/big.j2:1:1: the file is larger than 8 MiB"]


def test_a_file_that_is_not_there(workspace: Workspace) -> None:
    """No routes.yaml, no configuration; a first run is told how to begin."""
    (told,) = complaints(workspace)
    assert told.startswith("routes.yaml:1:1: the file cannot be read: No such file or directory; `router init DIR` writes a workspace")


def test_a_link_that_leads_out(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A single file that is elsewhere is refused; a link within the folder is read."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.j2"
    elsewhere.write_text("secret")
    workspace.write("routes.yaml", TARGETS + ROUTES)
    (workspace.root / "pipelines/same.yaml").symlink_to("chat.yaml")
    workspace.build()
    (workspace.root / "pipelines/out.j2").symlink_to(elsewhere)
    assert complaints(workspace) == ["pipelines/out.j2:1:1: this link leads out of the configuration's folder"]


@pytest.mark.parametrize(
    ("name", "leads", "what"),
    [
        ("tools/a.py", "a.py", "file"),
        ("pipelines/a.yaml", "../tools/../pipelines/a.yaml", "file"),
        ("routes.yaml", "routes.yaml", "file"),
        ("tools", "tools", "folder"),
        ("tools", "tools/more", "folder"),
    ],
)
def test_a_link_that_leads_in_a_circle(workspace: Workspace, name: str, leads: str, what: str) -> None:
    """It is a mistake with its place, as anything else is that cannot be read."""
    workspace.write("routes.yaml", TARGETS + ROUTES)
    link = workspace.root / name
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to(leads)
    assert complaints(workspace) == [f"{name}:1:1: the {what} cannot be read: Too many levels of symbolic links"]


def test_a_link_to_the_folder_around_it_is_not_walked_round(workspace: Workspace) -> None:
    """Links to folders below pipelines/ and tools/ are left alone."""
    workspace.write("routes.yaml", TARGETS + ROUTES)
    (workspace.root / "pipelines/again").symlink_to("..")
    assert sorted(read(workspace.root / "routes.yaml").texts) == ["pipelines/chat.yaml", "routes.yaml", "tools/weather.py"]


def test_a_mounted_configuration_is_read(workspace: Workspace) -> None:
    """As Kubernetes mounts one: every file a link into `..data`, which is a link to a folder beside it."""
    mounted = workspace.root / "mounted"
    Workspace(mounted / "..2026").write("routes.yaml", TARGETS + ROUTES).write("pipelines/chat.yaml", CHAT)
    (mounted / "..data").symlink_to("..2026")
    (mounted / "routes.yaml").symlink_to("..data/routes.yaml")
    (mounted / "pipelines").symlink_to("..data/pipelines")
    assert list(Workspace(mounted).build().routes) == ["m"]


def test_the_shipped_configuration_loads_without_a_key() -> None:
    """Everything that needs one is optional."""
    made = build(declare(read(ROOT / "routes.yaml"), {}))
    assert "chat-model" in made.routes
    targets = {name: [one.name for one in compiled.targets] for name, compiled in made.routes.items()}
    assert targets.pop("demo") == ["demo", "understudy"]
    assert all(names == ["demo"] for names in targets.values())


VALID = (ROOT / "routes.yaml").read_text(encoding="utf-8")
FILES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted((ROOT / "pipelines").iterdir())}
MARKS = st.text(alphabet="{}[]:,-?'\"&*!|>%@`#~$.<= \n\t\r\x00\x85\u2028aZ09é", max_size=12)


def found(routes: str, **files: str) -> tuple[Complaint, ...]:
    """What is wrong with a routes.yaml beside the shipped pipelines; any error but a ConfigError is let through."""
    snapshot = Snapshot(Path("/nowhere"), "routes.yaml", {"routes.yaml": routes, **FILES, **files})
    try:
        build(declare(snapshot, {}))
    except ConfigError as error:
        return error.complaints or (Complaint(Place("nowhere", 0, 0), "an error without a complaint"),)
    return ()


def stands_somewhere(complaint: Complaint) -> bool:
    """Whether its place is one in a text."""
    return complaint.place.line >= 1 and complaint.place.column >= 1


@given(st.text(st.characters(codec="utf-8")) | MARKS)
@example("9" * 5_000)
@example("targets: {a: {script: demo, context_window: " + "9" * 5_000 + "}}\nroutes: {}")
def test_any_text_is_answered_with_complaints(text: str) -> None:
    """Nothing is right by chance, and nothing brings the loader down."""
    told = found(text)
    assert told
    assert all(map(stands_somewhere, told))


SLOTS = [
    target("{model: HERE, api_key: k}"),
    target("{model: openai/x, api_key: HERE}"),
    target("{model: openai/x, api_key: k, api_base: HERE}"),
    target("{script: [{call: x, arguments: {a: HERE}}]}"),
    route("{pipeline: HERE, targets: [a]}"),
    route("{pipeline: chat, targets: [HERE], aliases: [HERE], tools: [HERE], max_steps: HERE}"),
    more("server: {cors: {origins: [HERE]}, request: {body: HERE}}"),
    more("defaults: {timeout: {connect: HERE}, retry: {backoff: HERE}}"),
    "targets: {HERE: {script: demo}}\nroutes: {HERE: {pipeline: chat, targets: [HERE]}}\n",
]
PIECES = st.lists(
    st.sampled_from(
        ["http://", "https://", "[", "]", ":", "@", "a", "/", "?", "${", "}", "file:", "V", ":-", "$$", "\0", "℀", "9", "s", ".."]
    )
)


@given(st.sampled_from(SLOTS), PIECES.map("".join) | st.text(st.characters(codec="utf-8"), max_size=40))
@example(SLOTS[2], "http://[")
@example(SLOTS[1], "${file:\0}")
@example(SLOTS[1], "${file:" + "a" * 5_000 + "}")
def test_any_text_is_a_value_or_complained_about(slot: str, text: str) -> None:
    """Wherever a value may stand: a generation or a ConfigError."""
    assert all(map(stands_somewhere, found(slot.replace("HERE", json.dumps(text, ensure_ascii=False)))))


@given(st.integers(0, len(VALID)), st.integers(0, 40), MARKS)
def test_any_slip_of_the_pen_loads_or_is_complained_about(start: int, length: int, typed: str) -> None:
    """Some of a good file replaced by whatever a hand may type: a generation or a ConfigError."""
    tools = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted((ROOT / "tools").glob("*.py"))}
    assert all(map(stands_somewhere, found(VALID[:start] + typed + VALID[start + length :], **tools)))


@given(MARKS.map(lambda marks: f"{{{{ {marks} }}}}") | MARKS.map(lambda marks: f"{{% {marks} %}}") | st.text(st.characters(codec="utf-8")))
def test_any_template_loads_or_is_complained_about(text: str) -> None:
    """Whatever stands in it."""
    files: dict[str, str] = {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": text}
    assert all(map(stands_somewhere, found(TARGETS + ROUTES, **files)))


def test_file_is_checked_without_an_environment(workspace: Workspace) -> None:
    """No variable, no secret file is looked at; each reference stands for a value of the right kind, and other mistakes are still found."""
    target = (
        "a: {model: openai/x, api_key: '${A}', api_base: '${B}', context_window: '${C}', params: {temperature: '${D}'}, optional: '${E}'}"
    )
    route = "targets: [a]\n    retry: {attempts: '${F}', backoff: '${G}', budget: '${H}'}\n    tools: ['${I}']"
    jwt = "{issuer: '${L}', audience: '${M}', algorithms: [HS512], secret: '${N}'}"
    auth = f"{{keys: {{one: {{hash: '${{O}}'}}, two: {{hash: '${{P}}', expires: '${{Q}}'}}}}, jwt: {jwt}}}"
    more = f"server: {{admin: {{key: '${{file:/no/such/file}}'}}, otel: {{endpoint: '${{J}}', token: '${{K:-x}}'}}, auth: {auth}}}\n"
    snapshot = read(workspace.write("routes.yaml", routes(target, route, more)).root / "routes.yaml")
    assert declare(snapshot, None).complaints.in_order() == ()
    assert len(declare(snapshot, {}).complaints.in_order()) >= 10
    workspace.write("routes.yaml", routes(target, "targets: [b]", "server: {drain: '${}'}\n"))
    assert [one.message for one in declare(read(workspace.root / "routes.yaml"), None).complaints.in_order()] == [
        "no target is named `b`; there is `a`",
        "write ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:/path}, or $$ for a dollar sign",
    ]
