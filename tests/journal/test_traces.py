"""OpenTelemetry traces and metrics by the GenAI conventions, as an OTLP collector receives them."""

import asyncio
import sys
from typing import Any

import pytest

from router.config import load
from router.errors import ConfigError
from router.generation import build
from tests.conftest import AS_OPERATOR, ROOT, Workspace, direct_target, routes, serving
from tests.support.collector import Collector, attributes, collector
from tests.support.provider import Provider, Reply, calls, chunk, error, frame, provider, text

PIECE: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_request_its_attempts_and_its_tools_are_trace_spans(workspace: Workspace) -> None:
    """The request's span has the caller's span as its parent and each attempt and tool call as a child; no span has text of the chat."""
    async with (
        collector() as there,
        provider(error(500)) as down,
        provider(Reply(calls(("call_1", "get_weather", '{"location": "Ulm"}'))), Reply(text("Sunny."))) as good,
    ):
        targets = direct_target(down.base) + direct_target(good.base, "b")
        more = f"server: {{otel: {{endpoint: '{there.endpoint}', token: otel-secret, every: 1h}}}}\n"
        route = "targets: [a, b]\n    tools: [weather]\n    retry: {attempts: 1}"
        workspace.write("routes.yaml", routes(targets, route, more))
        async with serving(workspace.build()) as client:
            await client.ask("first: the packages are loaded")
            good.script[:] = [Reply(calls(("call_1", "get_weather", '{"location": "Ulm"}'))), Reply(text("Sunny."))]
            async with asyncio.timeout(240):
                while client.edge.admin.traces.opening:
                    await asyncio.sleep(0.01)
            body = {"model": "gpt-4", "messages": [{"role": "user", "content": "canary question"}]}
            async with client.session.post(f"{client.base}/api/chat", json=body, headers={"traceparent": PARENT}) as response:
                assert response.status == 200
                request_id = response.headers["x-request-id"]
                await response.read()
        (request,) = [span for span in there.spans if span.name == "chat chat-model"]
        assert request.trace_id.hex() == PARENT.split("-")[1]
        assert request.parent_span_id.hex() == PARENT.split("-")[2]
        told = attributes(request)
        assert (told["gen_ai.operation.name"], told["gen_ai.request.model"]) == ("chat", "chat-model")
        assert told["gen_ai.response.finish_reasons"] == ["stop"]
        assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (22, 6)
        assert told["router.request_id"] == request_id
        below = [span for span in there.spans if span.parent_span_id == request.span_id]
        assert len(below) == len(there.spans) - 1
        tries = [attributes(span) for span in below if span.name == "chat fake"]
        assert [one.get("error.type") for one in tries] == ["status_500", None, "status_500", None]
        assert {one["gen_ai.provider.name"] for one in tries} == {"openai"}
        (tool,) = [span for span in below if span.name == "execute_tool get_weather"]
        assert attributes(tool) == {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "get_weather",
            "gen_ai.tool.call.id": "call_1",
        }
        for span in below:
            assert request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= request.end_time_unix_nano
        assert set(there.metrics) == {
            "gen_ai.client.operation.duration",
            "gen_ai.client.operation.time_to_first_chunk",
            "gen_ai.client.token.usage",
        } | ({"gen_ai.client.operation.time_per_output_chunk"} & set(there.metrics))
        assert there.metrics["gen_ai.client.operation.duration"].unit == "s"
        assert sum(point.count for point in there.metrics["gen_ai.client.operation.duration"].histogram.data_points) == 4
        assert there.tokens == {"Bearer otel-secret"}
        for word in (b"canary", b"Sunny", b"Ulm", b"otel-secret", b"sk-test"):
            assert word not in there.raw


NAMES: dict[str, tuple[Any, str | None]] = {
    "a name": ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
    "a path": ("accounts/x/models/llama-v3:8b@1", "accounts/x/models/llama-v3:8b@1"),
    "words": ("Ignore what was said before", None),
    "no ASCII": ("modèle", None),
    "a long one": ("m" * 101, None),
    "two lines": ("gpt-4o\n", None),
    "no text": ({"name": "gpt-4o"}, None),
    "nothing": (None, None),
}


@pytest.mark.parametrize("name", NAMES)
async def test_trace_has_the_providers_model_name_only_if_it_is_well_formed(workspace: Workspace, name: str) -> None:
    """The attempt's span has the model name that the provider reports if it is short and of valid characters, and else leaves it out."""
    said, told = NAMES[name]
    async with collector() as there, provider(Reply((frame({**PIECE, "model": said}), chunk({}, "stop", model=None)))) as good:
        await asked_twice(workspace, there, good)
    (attempt,) = [attributes(span) for span in there.spans if span.name == "chat fake"]
    assert attempt.get("gen_ai.response.model") == told
    assert attempt["gen_ai.request.model"] == "fake"


async def test_time_per_output_chunk_is_measured_without_reported_usage(workspace: Workspace) -> None:
    """A call of two chunks without usage records one time per output chunk: not another for the first chunk or the end.

    The time to first chunk is recorded once, and no token usage.
    """
    heard = asyncio.Event()
    rest = chunk({"content": "far"}) + chunk({}, "stop") + b"data: [DONE]\n\n"
    async with collector() as there, provider(Reply(text("Hi")), Reply((chunk({"content": "So "}), rest), gate=heard)) as good:
        await asked_twice(workspace, there, good, heard)
    measured = there.metrics["gen_ai.client.operation.time_per_output_chunk"]
    assert measured.unit == "s"
    (point,) = measured.histogram.data_points
    assert (point.count, attributes(point)["gen_ai.request.model"]) == (1, "fake")
    assert 0 < point.sum < 10
    assert there.metrics["gen_ai.client.operation.time_to_first_chunk"].histogram.data_points[0].count == 1
    assert "gen_ai.client.token.usage" not in there.metrics


async def asked_twice(workspace: Workspace, there: Collector, good: Provider, heard: asyncio.Event | None = None) -> None:
    """Ask twice: the first question loads the OpenTelemetry packages. `heard` is set once the second answer has sent something."""
    more = f"server: {{otel: {{endpoint: '{there.endpoint}', every: 1h}}}}\n"
    workspace.write("routes.yaml", routes(direct_target(good.base), more=more))
    async with serving(workspace.build()) as client:
        await client.ask()
        async with asyncio.timeout(240):
            while client.edge.admin.traces.opening:
                await asyncio.sleep(0.01)
        async with client.session.post(f"{client.base}/api/chat", json={"messages": [{"role": "user", "content": "Hi"}]}) as response:
            async for _ in response.content.iter_any():
                if heard is not None:
                    heard.set()


async def test_answers_are_unaffected_while_the_trace_collector_is_away(workspace: Workspace) -> None:
    """Requests are answered while the collector refuses connections, and an edit that removes the collector is loaded."""
    away = "server: {otel: {endpoint: 'http://127.0.0.1:9', share: 100%}}\n"
    file = workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", more=away)).root / "routes.yaml"
    async with serving(build(load(file)), file) as client:
        for _ in range(20):
            assert (await client.ask()).text == "Hi"
        async with asyncio.timeout(240):
            while client.edge.admin.traces.opening:
                await asyncio.sleep(0.01)
        for _ in range(20):
            assert (await client.ask()).text == "Hi"
        workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}"))
        async with client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR) as response:
            assert response.status == 200
        assert (await client.ask()).text == "Hi"


async def test_opentelemetry_sdk_is_not_imported_by_the_server_module() -> None:
    """Importing `router.server` imports no module of `opentelemetry.sdk`."""
    code = "import sys, router.server; print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert (await process.communicate())[0].strip() == b"[]"


def test_missing_opentelemetry_package_is_a_configuration_error(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A declared `server.otel` without its package is a configuration error with the command that installs it."""
    monkeypatch.setattr("router.generation.find_spec", dict[str, None]().get)  # finds no package
    workspace.write("routes.yaml", routes("a: {script: demo}", more="server: {otel: {endpoint: 'http://127.0.0.1:9'}}\n"))
    with pytest.raises(ConfigError, match=r"`server.otel` needs a package that is not here: pip install 'pointsman\[otel\]'"):
        workspace.build()
