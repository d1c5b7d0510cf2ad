"""The OpenAPI schema is true: schemathesis sends generated requests to every operation and validates the answers."""

import importlib
import itertools
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from requests.adapters import HTTPAdapter

from router.admin import openapi
from router.callers.keys import hashed, new
from router.intake.messages import SAID, STATES, UNSAID, messages
from tests.conftest import ROOT, routes
from tests.support.services import free_ports

EXAMPLES = int(os.environ.get("POINTSMAN_EXAMPLES", "8"))
"""Requests for each operation; `make fuzz` asks for many more."""
SCHEMATHESIS: Any = importlib.import_module("schemathesis")
CONFORMANCE: Any = importlib.import_module("schemathesis.specs.openapi.checks")
CONFORMS = [
    CONFORMANCE.status_code_conformance,
    CONFORMANCE.content_type_conformance,
    CONFORMANCE.response_schema_conformance,
]
CHECKS = [SCHEMATHESIS.checks.not_a_server_error, *CONFORMS]
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]


@contextmanager
def served(root: Path, configuration: str) -> Generator[str, None, None]:
    """Yield the address of a router with this configuration; at the end, assert that its log has no failed request and no traceback."""
    (root / "pipelines").mkdir()
    (root / "pipelines/chat.yaml").write_text("steps:\n  - history: {keep: 40}\n", encoding="utf-8")
    (root / "routes.yaml").write_text(configuration, encoding="utf-8")
    [port] = free_ports(1)
    command = [sys.executable, "-m", "router", "serve", "--port", str(port), "--no-reload"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with (root / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=root, env=environment, stderr=output)
    try:
        until = time.monotonic() + 240
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=240):
                    break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        said = (root / "output").read_text(encoding="utf-8")
        assert "a request failed" not in said
        assert "Traceback" not in said
    finally:
        process.terminate()
        process.wait(60)


def operations(base: str, **headers: str) -> list[Any]:
    """Return all operations that /openapi.json describes."""
    return [one.ok() for one in SCHEMATHESIS.openapi.from_url(f"{base}/openapi.json", headers=headers).get_all_operations()]


def test_every_answer_fits_the_openapi_schema(tmp_path: Path) -> None:
    """Answers to generated requests have only statuses, content types and bodies that the schema describes, and none is a 500."""
    # Two targets: where the first is broken on purpose (X-Router-Fault), the second answers; a stall is waited for as long as `idle`.
    targets = "a: {script: [{text: Hello}]}\nb: {script: [{text: Hello}]}"
    with served(tmp_path, routes(targets, "targets: [a, b]\n    cache: {ttl: 1h}\n    timeout: {idle: 250ms}")) as base:
        asked = operations(base)
        for operation in asked:

            @given(case=operation.as_strategy())
            @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=SLOW, database=None)
            def ask(case: Any) -> None:
                case.call_and_validate(checks=CHECKS, timeout=240)

            ask()
        assert len(asked) >= 12


KEYS = {name: new() for name in ("free", "limited", "elsewhere")}
OPERATOR = "adm-0123456789abcdef0123456789abcdef"
GUARDED = f"""
server:
  max_streams: 2
  admin: {{key: {OPERATOR}}}
  auth:
    keys:
      free: {{hash: {hashed(KEYS["free"])}}}
      limited: {{hash: {hashed(KEYS["limited"])}, limit: {{requests: 1/day}}}}
      elsewhere: {{hash: {hashed(KEYS["elsewhere"])}, routes: [other]}}
"""
QUESTION = {"messages": [{"role": "user", "content": "Hi"}]}
ASKERS = [
    ("", "chat-model"),
    ("nobody", "chat-model"),
    (OPERATOR, "chat-model"),
    (KEYS["free"], "chat-model"),
    (KEYS["free"], "nothing"),
    (KEYS["limited"], "chat-model"),
    (KEYS["elsewhere"], "chat-model"),
]


def test_every_refusal_fits_the_openapi_schema(tmp_path: Path) -> None:
    """Refusals fit the schema: of callers without a key, over a limit, without access to a route, or beyond the stream limit."""
    more = "  other: {pipeline: chat, targets: [a]}\n  held: {pipeline: chat, targets: [slow]}\n" + GUARDED
    targets = "a: {script: [{text: Hello}]}\nslow: {script: [{text: Hello}, {pause: 50s}, {text: there}]}"
    with served(tmp_path, routes(targets, more=more)) as base:
        asked = operations(base, Authorization=f"Bearer {OPERATOR}")
        with begun(base, KEYS["limited"], "other"):
            pass  # all it may ask in a day
        heard: set[int] = set()
        for operation in asked:
            heard |= statuses(operation, ASKERS if "/chat" in operation.path else ASKERS[:4])
        assert {200, 204, 400, 401, 403, 404, 429} <= heard
        with begun(base, KEYS["free"], "held"), begun(base, KEYS["free"], "held"):
            assert 503 in {status for operation in asked for status in statuses(operation, [(KEYS["free"], "chat-model")])}


PEERS = itertools.count(2)


@contextmanager
def peer() -> Generator[requests.Session, None, None]:
    """Yield a client with a loopback address of its own: refusals of one address are delayed by up to a second each."""
    number = next(PEERS) % 2**16
    with requests.Session() as session:
        session.mount("http://", _From(f"127.9.{number // 256}.{number % 256}"))
        yield session


class _From(HTTPAdapter):
    """An HTTP adapter whose connections come from one source address."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more, source_address=(self._address, 0))


def statuses(operation: Any, askers: Sequence[tuple[str, str]]) -> set[int]:
    """Send generated requests, and to chat operations a plain question, with each of these (key, route) pairs; return the statuses.
    Each response must fit the schema, and none may be a 500.
    """
    heard: set[int] = set()

    def hear(case: Any, key: str, route: str) -> None:
        for place, name in ((case.body, "model"), (case.path_parameters, "route")):
            if isinstance(place, dict) and name in place:
                place[name] = route
        with peer() as session:
            response = case.call(headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=240, session=session)
        assert response.status_code != 500
        case.validate_response(response, checks=CONFORMS)
        heard.add(response.status_code)

    @given(case=operation.as_strategy())
    @settings(max_examples=max(3, EXAMPLES // 8), deadline=None, suppress_health_check=SLOW, database=None)
    def ask(case: Any) -> None:
        for key, route in askers:
            hear(case, key, route)

    if "ChatRequest" in json.dumps(operation.definition.raw):
        for key, route in askers:
            plain = {"path_parameters": {"route": route}, "body": {"model": route, **QUESTION}}
            hear(operation.Case(**plain, media_type="application/json"), key, route)
    ask()
    return heard


@contextmanager
def begun(base: str, key: str, route: str) -> Generator[None, None, None]:
    """Start an answer of this route and keep its connection open until the end of the block."""
    body = json.dumps({"model": route, **QUESTION}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    with urllib.request.urlopen(urllib.request.Request(f"{base}/api/chat", body, headers), timeout=240) as answer:
        assert answer.readline()
        yield


def test_openapi_schema_describes_every_message_part_that_is_read() -> None:
    """The schema names every kind of message part and every tool state that the router reads."""
    _, components = openapi.schemas()
    described = json.dumps({name: one for name, one in components.items() if name.endswith("Part") or name == "ToolInvocation"})
    kinds = {*SAID, *UNSAID, *STATES, "tool-invocation", "dynamic-tool", "steering-message", "^tool-[A-Za-z0-9_-]{1,64}$", "^data-"}
    assert {kind for kind in kinds if json.dumps(kind) not in described} == set()


def test_every_openapi_model_is_valid_and_its_references_resolve() -> None:
    """Each model is a valid JSON Schema of draft 2020-12, and each `$ref` names a component of the document."""
    made, components = openapi.schemas()
    for one in (*made.values(), *components.values()):
        Draft202012Validator.check_schema(one)
    references = re.findall(r'"\$ref": "([^"]*)"', json.dumps([*made.values(), components]))
    assert {*references} <= {f"#/components/schemas/{name}" for name in components}


def test_every_described_operation_is_in_the_openapi_document_once(tmp_path: Path) -> None:
    """The operation ids of /openapi.json are unique, and each operation that `openapi.OPERATIONS` describes is among them."""
    with (
        served(tmp_path, routes("a: {script: [{text: Hello}]}")) as base,
        urllib.request.urlopen(f"{base}/openapi.json", timeout=240) as answer,
    ):
        document = json.load(answer)
    found = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(found) == len({*found})
    assert {*openapi.OPERATIONS} <= {*found}


@pytest.mark.parametrize("state", STATES)
def test_every_tool_state_of_the_openapi_schema_is_accepted(state: str) -> None:
    """A message whose tool part has any of the states in the schema is accepted."""
    part: dict[str, Any] = {"type": "tool-get_weather", "toolCallId": "c1", "state": state, "input": {}, "output": 25, "errorText": "boom"}
    assert messages([{"role": "user", "content": "Hi"}, {"role": "assistant", "parts": [part]}], 500)
