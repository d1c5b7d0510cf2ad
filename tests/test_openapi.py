"""What /openapi.json says is what is answered: schemathesis asks every operation whatever its schema allows, and some that it does not."""

import importlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from router.server import openapi
from router.server.messages import SAID, STATES, UNSAID, messages
from tests.conftest import ROOT, routes
from tests.process import free_port

EXAMPLES = int(os.environ.get("POINTSMAN_EXAMPLES", "25"))
"""Requests for each operation; `make fuzz` asks for many more."""
SCHEMATHESIS: Any = importlib.import_module("schemathesis")
CONFORMANCE: Any = importlib.import_module("schemathesis.specs.openapi.checks")
CHECKS = [
    SCHEMATHESIS.checks.not_a_server_error,
    CONFORMANCE.status_code_conformance,
    CONFORMANCE.content_type_conformance,
    CONFORMANCE.response_schema_conformance,
]
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Generator[Any, None, None]:
    """The schema of a router that runs, offline."""
    root: Path = tmp_path_factory.mktemp("openapi")
    (root / "pipelines").mkdir()
    (root / "pipelines/chat.yaml").write_text("steps:\n  - history: {keep: 40}\n", encoding="utf-8")
    (root / "routes.yaml").write_text(routes("a: {script: [{text: Hello}]}", "targets: [a]\n    cache: {ttl: 1h}"), encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "router", "serve", "--port", str(port), "--no-reload"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with (root / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=root, env=environment, stderr=output)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                    break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
        yield SCHEMATHESIS.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
        said = (root / "output").read_text(encoding="utf-8")
        assert "a request failed" not in said
        assert "Traceback" not in said
    finally:
        process.terminate()
        process.wait(20)


def test_every_answer_is_as_documented(api: Any) -> None:
    """No status, no content type and no body that is not; and never a 500."""
    asked: list[str] = []
    for result in api.get_all_operations():
        operation = result.ok()
        asked.append(operation.label)

        @given(case=operation.as_strategy())
        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=SLOW, database=None)
        def ask(case: Any) -> None:
            case.call_and_validate(checks=CHECKS, timeout=20)

        ask()
    assert len(asked) >= 12


def test_what_is_read_of_a_body_is_described() -> None:
    """Every kind of part that has a reader, and every state of a tool: what is not described is not asked by the test above."""
    described = json.dumps({name: openapi.SCHEMAS[name] for name in ("Message", "ChatRequest", *openapi.PARTS)})
    kinds = {*SAID, *UNSAID, *STATES, "tool-invocation", "dynamic-tool", "steering-message", "^tool-[A-Za-z0-9_-]{1,64}$", "^data-"}
    assert {kind for kind in kinds if json.dumps(kind) not in described} == set()


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_a_tool_that_is_described_is_read(state: str) -> None:
    """None of them is refused."""
    part: dict[str, Any] = {"type": "tool-get_weather", "toolCallId": "c1", "state": state, "input": {}, "output": 25, "errorText": "boom"}
    assert messages([{"role": "user", "content": "Hi"}, {"role": "assistant", "parts": [part]}], 500)
