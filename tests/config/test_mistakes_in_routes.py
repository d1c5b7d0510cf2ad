"""Mistakes in routes.yaml: each complaint has the place, the cause, and a similar valid name where there is one."""

import pytest

from tests.config.written import ROUTES, TARGETS, complaints, more, route, target
from tests.conftest import Workspace

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
    "a duplicate key above a list left open": (
        route("{pipeline: chat, pipeline: chat, targets: [a"),
        (
            "routes.yaml:4:23: `pipeline` stands here twice, first in line 4: put both into one\n"
            "routes.yaml:4:48: this is not YAML: the `[` that begins here is not closed before line 5: write `]`"
        ),
    ),
    "nested too deep": (more("server: " + "[" * 40 + "]" * 40), "routes.yaml:5:41: nested deeper than 32 levels"),
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
def test_mistake_in_routes_yaml_gives_exactly_these_complaints(workspace: Workspace, mistake: str) -> None:
    """A mistake in routes.yaml gives exactly the expected complaints, with line, column and, if there is one, a suggestion."""
    written, told = IN_ROUTES[mistake]
    assert complaints(workspace.write("routes.yaml", written), EMPTY="", WORD="many") == told.split("\n")
