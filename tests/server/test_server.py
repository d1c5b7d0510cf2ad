"""The chat API over HTTP, as a front end uses it."""

import asyncio
import io
import json
import logging
from typing import Any

import aiohttp
import pytest

from router.journal.log import JsonLines
from router.server import application
from tests.conftest import LANES, Answered, Workspace, direct_target, litellm_target, parsed_lines, routes, serving
from tests.support.promises import timed, within
from tests.support.provider import DONE, Reply, calls, chunk, error, frame, provider, text

SEED: dict[str, Any] = {"messages": [{"role": "user", "content": "你好"}], "model": "gpt-4", "temperature": 0.7, "stream": True}
HI = "a: {script: [{text: Hi}]}"


async def test_body_of_the_guide_is_answered_in_the_line_protocol(workspace: Workspace) -> None:
    """The request body of the front end's guide gets exactly the expected lines of the line protocol."""
    workspace.write("routes.yaml", routes('a: {script: [{text: "你"}, {text: "好"}, {text: "！"}]}'))
    async with serving(workspace.build()) as client:
        answer = await client.post(**SEED)
    assert answer.status == 200
    expected = [f'0:{{"type":"text-delta","textDelta":"{piece}"}}\n' for piece in "你好！"]
    expected.append('d:{"type":"finish","finishReason":"stop","usage":{"promptTokens":1,"completionTokens":3}}\n')
    assert answer.body.decode() == "".join(expected)


async def test_stream_headers_name_the_target_and_forbid_buffering(workspace: Workspace) -> None:
    """The headers of a stream name request, generation and target, forbid buffering and storing, and do not name the server."""
    workspace.write("routes.yaml", routes(HI))
    generation = workspace.build()
    async with serving(generation) as client:
        answer = await client.ask()
    expected = {
        "content-type": "text/event-stream; charset=utf-8",
        "x-router-generation": generation.digest,
        "x-router-target": "a",
        "x-accel-buffering": "no",
        "cache-control": "no-store, no-transform",
        "x-content-type-options": "nosniff",
    }
    assert expected.items() <= answer.headers.items()
    assert answer.headers["x-request-id"].startswith("req_")
    assert "server" not in answer.headers


async def test_request_id_of_the_client_is_kept_if_it_is_a_plain_word(workspace: Workspace) -> None:
    """An `x-request-id` of up to 64 plain characters is returned; one that is longer or has a space is replaced."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        for given, kept in (("trace-1.a", True), ("x" * 65, False), ("a b", False)):
            async with client.session.post(f"{client.base}/api/chat", json=SEED, headers={"x-request-id": given}) as response:
                assert (response.headers["x-request-id"] == given) is kept


async def test_stream_false_returns_one_json_object(workspace: Workspace) -> None:
    """A request with `stream: false` gets one JSON object with the text, the tool calls, their results and the summed usage."""
    async with provider(Reply(calls(("call_1", "get_weather", '{"location":"Beijing"}'))), Reply(text("Sunny."))) as fake:
        workspace.write("routes.yaml", routes(litellm_target(fake.base), "targets: [a]\n    tools: [weather]"))
        async with serving(workspace.build()) as client:
            answer = await client.ask(stream=False, model="gpt-4")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    made = answer.json
    assert len(made.pop("id")) == 36
    assert made == {
        "model": "gpt-4",
        "role": "assistant",
        "content": "Sunny.",
        "toolCalls": [{"type": "tool-call", "toolCallId": "call_1", "toolName": "get_weather", "args": {"location": "Beijing"}}],
        "toolResults": [{"type": "tool-result", "toolCallId": "call_1", "toolName": "get_weather", "result": "Beijing: 25°C"}],
        "finishReason": "stop",
        "usage": {"promptTokens": 22, "completionTokens": 6},
    }


async def test_route_in_the_path_overrides_the_model_in_the_body(workspace: Workspace) -> None:
    """POST /api/chat/{route} needs no model in the body and ignores a model there, even an unknown one."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        for path in ("/api/chat/chat-model", "/api/chat/gpt-4"):
            assert (await client.post(path, messages=SEED["messages"])).text == "Hi"
            assert (await client.post(path, messages=SEED["messages"], model="no-such")).text == "Hi"


REFUSALS: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"{", 400, "bad_request"),
    "not an object": (b"[]", 400, "bad_request"),
    "not UTF-8": (b'{"messages":"\xff"}', 400, "bad_request"),
    "a key twice": (b'{"model":"a","model":"b"}', 400, "bad_request"),
    "NaN": (b'{"temperature":NaN}', 400, "bad_request"),
    "a number beyond a float": (b'{"messages":[{"role":"user","content":"Hi"}],"tools":[{"a":[1e999]}]}', 400, "bad_request"),
    "a negative one": (b'{"messages":[{"role":"user","content":"Hi"}],"x":-1E+400}', 400, "bad_request"),
    "too deep": (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", 400, "bad_request"),
    "far too deep": (b"[" * 40_000, 400, "bad_request"),
    "far too deep, and too many values": (b"[" * 200_000, 413, "too_large"),
    "too many values": (b'{"a":[' + b"1," * 50_000 + b"1]}", 413, "too_large"),
    "an empty model": ({**SEED, "model": ""}, 400, "bad_request"),
    "an unknown model": ({**SEED, "model": "no-such"}, 404, "unknown_model"),
    "a model that is no id": ({**SEED, "model": "../../etc"}, 404, "unknown_model"),
    "a hostile model": ({**SEED, "model": "<script>alert(1)</script>"}, 404, "unknown_model"),
    "no messages": ({**SEED, "messages": []}, 400, "bad_request"),
    "messages of another kind": ({**SEED, "messages": "Hi"}, 400, "bad_request"),
    "a role that is none": ({**SEED, "messages": [{"role": "root", "content": ""}]}, 400, "bad_request"),
    "content that is none": ({**SEED, "messages": [{"role": "user", "content": 5}]}, 400, "bad_request"),
    "a part that is not read": ({**SEED, "messages": [{"role": "user", "content": [{"type": "video"}]}]}, 400, "bad_request"),
    "a temperature that is a truth": ({**SEED, "temperature": False}, 400, "bad_request"),
    "a temperature that is a text": ({**SEED, "temperature": "0.7"}, 400, "bad_request"),
    "a temperature out of range": ({**SEED, "temperature": 3}, 400, "bad_request"),
    "a stream that is a text": ({**SEED, "stream": "yes"}, 400, "bad_request"),
    "params that are a list": ({**SEED, "params": []}, 400, "bad_request"),
    "too many messages": ({**SEED, "messages": SEED["messages"] * 501}, 413, "too_large"),
    "too large": (b'{"x":"' + b"x" * (8 * 1024 * 1024) + b'"}', 413, "too_large"),
}


@pytest.mark.parametrize("body", REFUSALS)
async def test_invalid_body_is_refused_with_its_status_and_code(workspace: Workspace, body: str) -> None:
    """Each invalid body gets its 4xx and code, in a form that repeats nothing of what was sent, and reaches no target."""
    sent, status, code = REFUSALS[body]
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        data = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
        async with client.session.post(f"{client.base}/api/chat", data=io.BytesIO(data)) as response:
            answer = await response.json()
    assert (response.status, answer["code"]) == (status, code)
    assert set(answer) - {"message"} == {"type", "error", "code", "requestId"}  # `message`: while no dialect is known
    assert answer.get("message", answer["error"]) == answer["error"]
    assert answer["requestId"] == response.headers["x-request-id"]
    assert "script" not in answer["error"]
    assert "etc" not in answer["error"]


async def test_endless_chunked_body_is_refused_with_413(workspace: Workspace) -> None:
    """A chunked body of 64 MB gets a 413, or its connection is closed, once it exceeds the size limit."""

    async def endless() -> Any:
        for _ in range(1000):
            yield b"x" * 65536

    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        status = 0
        try:
            async with client.session.post(f"{client.base}/api/chat", data=endless()) as response:
                status = response.status
        except aiohttp.ClientError:  # the server may close before the client has sent all of it
            status = 413
    assert status == 413


@pytest.mark.parametrize("lane", LANES)
async def test_unknown_fields_of_a_client_are_not_sent_to_a_provider(workspace: Workspace, lane: str) -> None:
    """Body fields that could redirect or forge a provider call, such as `api_base`, are dropped; the provider gets only known fields."""
    hostile: dict[str, Any] = {
        "api_base": "http://127.0.0.1:9/v1",
        "base_url": "http://127.0.0.1:9/v1",
        "api_key": "sk-mine",
        "extra_headers": {"x-evil": "1"},
        "extra_body": {"evil": 1},
        "mock_response": "mocked",
        "custom_llm_provider": "evil",
        "tools": [{"type": "function", "function": {"name": "evil"}}],
        "n": 9,
        "user": "me",
    }
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(LANES[lane](fake.base)))
        async with serving(workspace.build()) as client:
            answer = await client.ask(**hostile)
    assert answer.text == "Hi"
    assert set(fake.requests[0]) == {"model", "messages", "stream", "stream_options", "tools"}  # the page's own tools are for the model
    assert fake.requests[0]["model"] == "fake"
    assert fake.headers[0]["authorization"] == "Bearer sk-test"
    assert "x-evil" not in fake.headers[0]


@pytest.mark.parametrize("lane", LANES)
async def test_split_surrogate_pairs_are_joined_and_unicode_is_sent_unescaped(workspace: Workspace, lane: str) -> None:
    """A surrogate pair split over two chunks is joined, a lone half becomes U+FFFD, and the answer is UTF-8 without JSON escapes."""
    halves = (chunk({"content": "a\ud83d"}), chunk({"content": "\ude00b"}), chunk({"content": "\ud83d"}), chunk({}, "stop"), DONE)
    async with provider(Reply(halves)) as fake:
        workspace.write("routes.yaml", routes(LANES[lane](fake.base)))
        async with serving(workspace.build()) as client:
            answer = await client.ask("北京 \ud83d")
    assert answer.text == "a😀b\ufffd"
    assert "😀".encode() in answer.body
    assert fake.requests[0]["messages"][0]["content"] == "北京 \ufffd"


@pytest.mark.parametrize("lane", LANES)
async def test_parallel_tool_calls_over_two_rounds_precede_their_results(workspace: Workspace, lane: str) -> None:
    """An answer with two parallel tool calls and then a third sends each call before its result, with one finish and summed usage."""
    rounds = (
        Reply(calls(("c1", "get_weather", '{"location":"Beijing"}'), ("c2", "get_weather", '{"location":"Tokyo"}'))),
        Reply(calls(("c1", "get_weather", '{"location":"Rome"}'))),
        Reply(text("Done.")),
    )
    async with provider(*rounds) as fake:
        workspace.write("routes.yaml", routes(LANES[lane](fake.base), "targets: [a]\n    tools: [weather]"))
        async with serving(workspace.build()) as client:
            answer = await client.ask()
    assert answer.codes == "99aa9a0d"
    called = [value for code, value in answer.lines if code == "9"]
    assert [value["args"]["location"] for value in called] == ["Beijing", "Tokyo", "Rome"]
    assert len({value["toolCallId"] for value in called}) == 3
    assert answer.lines[-1][1] == {"type": "finish", "finishReason": "stop", "usage": {"promptTokens": 33, "completionTokens": 9}}
    second, third = fake.requests[1]["messages"], fake.requests[2]["messages"]
    assert [one["role"] for one in second] == ["user", "assistant", "tool", "tool"]
    assert [one["content"] for one in second[2:]] == ["Beijing: 25°C", "Tokyo: 25°C"]
    assert [one["tool_call_id"] for one in second[2:]] == [one["id"] for one in second[1]["tool_calls"]]
    assert [one["role"] for one in third] == ["user", "assistant", "tool", "tool", "assistant", "tool"]


async def test_tool_call_in_the_history_reaches_the_provider_unchanged(workspace: Workspace) -> None:
    """The tool calls and results of an OpenAI-style history reach the provider unchanged through LiteLLM."""
    history = [
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"location": "Rome"}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "25°C"},
        {"role": "user", "content": "Thanks"},
    ]
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(litellm_target(fake.base)))
        async with serving(workspace.build()) as client:
            await client.post(messages=history, model="chat-model")
    sent = fake.requests[0]["messages"]
    assert sent[0] == {"role": "user", "content": "Weather?"}
    assert sent[1]["tool_calls"] == history[1]["tool_calls"]
    assert sent[2:] == [{"role": "tool", "tool_call_id": "c1", "content": "25°C"}, {"role": "user", "content": "Thanks"}]


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("stream", [True, False])
async def test_provider_error_500_is_retried_and_then_falls_back(workspace: Workspace, lane: str, stream: bool) -> None:
    """A target that answers 500 is asked twice, then the next target answers; the header names it, and the client sees no error."""
    async with provider(error(500, "secret-canary")) as first, provider(Reply(text("Hello"))) as second:
        targets = LANES[lane](first.base) + LANES[lane](second.base, name="b")
        workspace.write("routes.yaml", routes(targets, "targets: [a, b]\n    retry: {attempts: 2, backoff: 1ms..2ms}"))
        async with serving(workspace.build()) as client:
            answer = await client.ask(stream=stream)
    assert answer.status == 200
    assert (answer.text if stream else answer.json["content"]) == "Hello"
    assert answer.headers["x-router-target"] == "b"
    assert (len(first.requests), len(second.requests)) == (2, 1)
    assert b"canary" not in answer.body


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("how", ["a broken connection", "an error in the stream", "a silence", "an end without a finish"])
async def test_answer_that_breaks_off_is_continued_by_another_provider(workspace: Workspace, lane: str, how: str) -> None:
    """An answer that breaks off is continued by the next provider, which gets the text so far; the client sees one answer."""
    half = (chunk({"content": "The quick brown "}), chunk({"content": "fox"}))
    breaks = {
        "a broken connection": Reply(half, drop=True),
        "an error in the stream": Reply((*half, frame({"error": {"message": "overloaded", "code": 529}}))),
        "a silence": Reply(half, hold=True),
        "an end without a finish": Reply(half),
    }
    async with provider(breaks[how]) as first, provider(Reply(text(" jumps", " over the dog."))) as second:
        targets = LANES[lane](first.base) + LANES[lane](second.base, name="b")
        idle = "2s" if how == "a silence" else "60s"
        workspace.write("routes.yaml", routes(targets, f"targets: [a, b]\n    timeout: {{idle: {idle}}}"))
        async with serving(workspace.build()) as client:
            answer = await client.ask()
    assert answer.text == "The quick brown fox jumps over the dog."
    assert answer.codes == "0d"
    assert second.requests[0]["messages"][1:] == [{"role": "assistant", "content": "The quick brown fox"}]


@pytest.mark.parametrize("lane", LANES)
async def test_failure_after_text_ends_the_stream_with_an_error_line_and_a_finish(workspace: Workspace, lane: str) -> None:
    """A stream whose only provider breaks off ends with a `3:` line that has the request id, and a `d:` line with reason `error`."""
    broken = Reply((chunk({"content": "Half"}),), drop=True)
    async with provider(broken) as fake:
        workspace.write("routes.yaml", routes(LANES[lane](fake.base)))
        async with serving(workspace.build()) as client:
            answer = await client.ask()
    assert answer.status == 200
    assert answer.codes == "03d"
    request_id = answer.headers["x-request-id"]
    assert answer.lines[-2][1]["error"] == f"The model's answer broke off. Please try again. (request {request_id})"
    assert answer.lines[-1][1] == {"type": "finish", "finishReason": "error"}


async def test_answer_that_breaks_off_is_a_502_without_streaming(workspace: Workspace) -> None:
    """An answer that breaks off under `stream: false` is a 502 with code `no_answer`."""
    async with provider(Reply((chunk({"content": "Half"}),), drop=True)) as fake:
        workspace.write("routes.yaml", routes(litellm_target(fake.base)))
        async with serving(workspace.build()) as client:
            answer = await client.ask(stream=False)
    assert (answer.status, answer.json["code"]) == (502, "no_answer")


@pytest.mark.parametrize("lane", LANES)
async def test_api_key_in_a_provider_error_reaches_neither_client_nor_log(
    workspace: Workspace, lane: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider's 401 whose body repeats the API key leaves neither the key nor the sentence in the answer, its headers or the log."""
    key = "sk-canary-7f3a"
    refusing = error(401, f"Incorrect API key provided: {key}. Find yours at the provider's site.", "invalid_api_key")
    caplog.set_level(logging.DEBUG)
    async with provider(refusing) as fake:
        workspace.write("routes.yaml", routes(LANES[lane](fake.base, key=key)))
        async with serving(workspace.build()) as client:
            answer = await client.ask()
    assert fake.headers[0]["authorization"] == f"Bearer {key}"
    assert (answer.status, answer.json["code"]) == (502, "no_answer")
    logged = "\n".join(JsonLines().format(record) for record in caplog.records)
    for place in (answer.body.decode(), str(answer.headers), logged):
        assert key not in place
        assert "Incorrect API key" not in place
    assert '"outcome": "status_401"' in logged


async def test_request_leaves_one_access_log_line_without_its_text(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A request leaves one JSON line in the access log, with ids, times and outcomes, and without question or answer."""
    caplog.set_level(logging.INFO, "router.access")
    workspace.write("routes.yaml", routes("a: {script: [{text: secret-answer}]}"))
    async with serving(workspace.build()) as client:
        answer = await client.ask("secret-question\n{}")
    (record,) = [one for one in caplog.records if one.name == "router.access"]
    line = JsonLines().format(record)
    made = json.loads(line)
    assert made["request_id"] == answer.headers["x-request-id"]
    assert (made["route"], made["target"], made["outcome"], made["status"]) == ("chat-model", "a", "stop", 200)
    assert made["attempts"][0]["outcome"] == "ok"
    assert made["seconds"] >= made["first_token_seconds"] >= 0
    assert "secret" not in line
    assert "\n" not in line


async def test_unexpected_exception_is_a_500_without_details(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is a 500 with code `internal` for the client; the log has the exception's class name."""
    workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: broken.j2\n").write("pipelines/broken.j2", "{{ 1 / params.zero }}")
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        answer = await client.ask(params={"zero": 0})
    assert (answer.status, answer.json["code"]) == (500, "internal")
    (record,) = [one for one in caplog.records if one.name == "router.problems"]
    assert json.loads(JsonLines().format(record))["error"] == "ZeroDivisionError"


async def test_endless_answer_ends_at_its_total_timeout(workspace: Workspace) -> None:
    """An answer that streams on beyond `timeout.total` ends with an error line and a finish."""
    lines = ", ".join("{text: on}, {pause: 50ms}" for _ in range(400))
    workspace.write("routes.yaml", routes(f"a: {{script: [{lines}]}}", "targets: [a]\n    timeout: {total: 2s}"))
    async with serving(workspace.build()) as client:
        answer = await client.ask()
    assert answer.codes == "03d"
    assert "too long" in answer.lines[-2][1]["error"]


@pytest.mark.parametrize("lane", LANES)
async def test_reasoning_is_streamed_only_if_the_route_shows_it(workspace: Workspace, lane: str) -> None:
    """Thoughts are streamed on `g:` lines with `reasoning: show`, and left out with `reasoning: hide`."""
    thinking = (chunk({"reasoning_content": "Hm. "}), *text("Yes."))
    async with provider(Reply(thinking)) as fake:
        for reasoning, codes in (("show", "g0d"), ("hide", "0d")):
            workspace.write("routes.yaml", routes(LANES[lane](fake.base), f"targets: [a]\n    reasoning: {reasoning}"))
            async with serving(workspace.build()) as client:
                assert (await client.ask()).codes == codes


async def test_cors_headers_are_sent_to_declared_origins_only(workspace: Workspace) -> None:
    """A declared origin gets `access-control-allow-origin` and a 200 for its preflight; another gets no such header and a 400."""
    workspace.write("routes.yaml", routes(HI, more="server:\n  auth: none\n  cors: {origins: [http://localhost:3000]}\n"))
    async with serving(workspace.build()) as client:
        for origin, allowed in (("http://localhost:3000", True), ("http://evil.example", False)):
            async with client.session.post(f"{client.base}/api/chat", json=SEED, headers={"origin": origin}) as response:
                assert response.headers.get("access-control-allow-origin") == (origin if allowed else None)
                assert "origin" in response.headers["vary"].lower()
                parsed_lines(await response.read())
            asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
            async with client.session.options(f"{client.base}/api/chat", headers=asked) as response:
                assert response.status == (200 if allowed else 400)
                assert response.headers.get("access-control-allow-origin") == (origin if allowed else None)


async def test_models_health_readiness_and_docs_pages_answer(workspace: Workspace) -> None:
    """Models, health, readiness and docs are served; the OpenAPI document lists all paths; unknown paths are 404, wrong methods 405."""
    workspace.write("routes.yaml", routes(HI, "targets: [a]\n    tools: [weather]"))
    async with serving(workspace.build()) as client:
        first, *_ = (await client.get("/api/models")).json["models"]
        assert {
            "id": "chat-model",
            "aliases": ["gpt-4"],
            "tools": ["get_weather"],
            "reasoning": "hide",
            "scripted": True,
            "targets": ["a"],
        }.items() <= first.items()
        assert (await client.get("/healthz")).status == 200
        assert (await client.get("/readyz")).json["ready"] is True
        document = (await client.get("/openapi.json")).json
        chat = {"/api/chat", "/api/chat/{route}", "/v1/chat/completions", "/api/chat/{chat}/stream", "/api/chat/{chat}/stop"}
        chat |= {
            "/api/agui",
            "/api/agui/{route}",
            "/v4/ai/language-model",
            "/v4/ai/embedding-model",
            "/v1/responses",
            "/v1/responses/{response}",
            "/v1/responses/{response}/cancel",
            "/v1/responses/{response}/input_items",
            "/v1/responses/input_tokens",
            "/v1/completions",
            "/v1/embeddings",
            "/v1/messages",
            "/v1/messages/count_tokens",
        }
        operators = {"/metrics", "/admin/config", "/admin/reload", "/admin/targets", "/admin/targets/{name}", "/admin/requests"}
        operators |= {"/admin/requests/{request_id}", "/admin/spend", "/admin/budgets", "/admin/hour"}
        operators |= {"/admin/edit", "/admin/return", "/admin/drills"}
        models = {"/api/requests/{request_id}", "/api/models", "/v1/models", "/v1/models/{model}", "/v4/ai/config"}
        assert {*chat, *operators, *models, "/healthz", "/readyz"} == set(document["paths"])
        assert (await client.get("/docs")).status == 200
        assert (await client.get("/no-such")).status == 404
        assert (await client.get("/api/chat")).status == 405


async def test_readiness_waits_for_litellm(workspace: Workspace) -> None:
    """A target of the LiteLLM lane answers as soon as the probe `/readyz` is 200."""
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(litellm_target(fake.base)))
        async with serving(workspace.build()) as client:
            async with asyncio.timeout(240):
                while (await client.get("/readyz")).status != 200:
                    await asyncio.sleep(0)
            assert (await client.ask()).text == "Hi"


@timed
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("when", ["before the first event", "in mid-answer"])
async def test_disconnect_of_clients_closes_their_provider_connections(workspace: Workspace, lane: str, when: str) -> None:
    """A hundred clients that disconnect, before or during their answers, close as many provider connections and leave no task."""
    frames = (chunk({"content": "Hello"}),) if when == "in mid-answer" else ()
    async with provider(Reply(frames, hold=True)) as fake:
        workspace.write("routes.yaml", routes(LANES[lane](fake.base)))
        async with serving(workspace.build()) as client:
            while not (await client.get("/readyz")).json["ready"]:
                await asyncio.sleep(0)
            before = len(asyncio.all_tasks())
            asking = [asyncio.create_task(_begin(client.base, frames)) for _ in range(100)]
            leaving = [await one for one in asking]
            await fake.until(lambda: fake.open == 100)
            with within(0.5):
                for writer in leaving:
                    writer.transport.abort()
                await fake.until(lambda: fake.closed == 100)
            assert fake.open == 0
            async with asyncio.timeout(240):
                while len(asyncio.all_tasks()) > before + 2:
                    await asyncio.sleep(0)


async def _begin(base: str, frames: tuple[bytes, ...]) -> asyncio.StreamWriter:
    """Return a raw connection that has sent a chat request and, if `frames` are expected, has received the first text."""
    host, port = base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(SEED).encode()
    writer.write(b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()
    if frames:
        await reader.readuntil(b"Hello")
    return writer


async def test_disconnect_of_a_client_cancels_its_running_tool(workspace: Workspace) -> None:
    """A tool that runs when its client disconnects is cancelled."""
    workspace.write(
        "tools/slow.py",
        '''
import asyncio, pathlib

async def wait_long() -> str:
    """Waits."""
    here = pathlib.Path(__file__).parent
    (here / "begun").touch()
    try:
        await asyncio.Event().wait()
    finally:
        (here / "ended").touch()
    return "never"
''',
    )
    workspace.write("routes.yaml", routes("a: {script: [{call: wait_long}]}", "targets: [a]\n    tools: [slow]"))
    async with serving(workspace.build()) as client:
        writer = await _begin(client.base, ())
        async with asyncio.timeout(240):
            while not (workspace.root / "tools/begun").exists():
                await asyncio.sleep(0)
            writer.transport.abort()
            while not (workspace.root / "tools/ended").exists():
                await asyncio.sleep(0)


async def test_events_at_hand_are_sent_in_one_write(workspace: Workspace) -> None:
    """Fifty events that a scripted target yields without a pause arrive as one HTTP chunk."""
    lines = ", ".join(f"{{text: w{index}}}" for index in range(50))
    workspace.write("routes.yaml", routes(f"a: {{script: [{lines}, {{pause: 10ms}}, {{text: end}}]}}"))
    async with serving(workspace.build()) as client, client.session.post(f"{client.base}/api/chat", json=SEED) as response:
        chunks = [data async for data, _ in response.content.iter_chunks()]
    assert len(chunks) <= 3
    assert chunks[0].count(b"\n") == 50


STOPPED = {
    "in mid-answer": ("[{text: Half}, {pause: 60s}]", 200, "03d"),
    "before the first event": ("[{pause: 60s}]", 503, ""),
}


@pytest.mark.parametrize("when", STOPPED)
async def test_cancelled_request_ends_with_an_error_and_a_finish(workspace: Workspace, when: str) -> None:
    """A request that uvicorn cancels at its shutdown ends its stream with an error and a finish, or answers 503 if nothing was sent yet."""
    script, status, codes = STOPPED[when]
    workspace.write("routes.yaml", routes(f"a: {{script: {script}}}", "targets: [a]\n    timeout: {first_token: 60s, idle: 60s}"))
    sent: list[dict[str, Any]] = []
    begun = asyncio.Event()
    asked = [{"type": "http.request", "body": json.dumps(SEED).encode(), "more_body": False}]

    async def receive() -> Any:
        if asked:
            return asked.pop()
        begun.set()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    edge = application(workspace.build())
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/api/chat",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
    }
    serving_it = asyncio.create_task(edge(scope, receive, send))
    await begun.wait()
    while when == "in mid-answer" and not any(b"Half" in message.get("body", b"") for message in sent):
        await asyncio.sleep(0)
    serving_it.cancel()
    await serving_it
    assert sent[0]["status"] == status
    body = b"".join(message.get("body", b"") for message in sent[1:])
    assert sent[-1]["more_body"] is False
    if codes:
        assert Answered(200, {}, body).codes == codes
    else:
        assert json.loads(body)["code"] == "stopping"


async def test_slow_client_does_not_count_as_a_silent_provider(workspace: Workspace) -> None:
    """A client that stops reading for longer than `timeout.idle` still gets the whole answer, since only the provider's silence counts."""
    words = [chunk({"content": f"{number:05}" + "x" * 4000}) for number in range(1500)]
    async with provider(Reply((*words, chunk({}, "stop"), DONE))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), "targets: [a]\n    timeout: {idle: 2s}\n    rescue: fail"))
        async with serving(workspace.build()) as client:
            body = {"messages": [{"role": "user", "content": "Hi"}], "model": "chat-model"}
            async with client.session.post(f"{client.base}/api/chat", json=body, read_bufsize=1024) as response:
                begun = await response.content.read(10)
                await asyncio.sleep(3)  # the client's own slowness, not a wait for something
                lines = parsed_lines(begun + await response.read())
    said = "".join(value["textDelta"] for code, value in lines if code == "0")
    assert said == "".join(f"{number:05}" + "x" * 4000 for number in range(1500))
    assert lines[-1][1]["finishReason"] == "stop"
