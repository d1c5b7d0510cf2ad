"""@ag-ui/client against the router: its HttpAgent, which verifies each event and builds messages from them."""

import json
import urllib.request
from typing import Any

import pytest

from tests.clients.cases import DOT, NO_ORDER
from tests.clients.harness import AG_UI, Saw, Workers
from tests.clients.replay import PATIENCE, Replay, Reply
from tests.clients.router_cases import CITED, DRAWN, Running
from tests.clients.streams import UNICODE

HI = {"do": "send", "text": "Hi"}
USER = ["user", "Hi"]


def weather(city: str) -> list[Any]:
    """Return a call of the weather tool as the worker reports it."""
    return ["get_weather", {"location": city}]


SHOWN: dict[str, list[list[Any]]] = {
    "text": [["assistant", "Hello, world!"]],
    "unicode": [["assistant", UNICODE]],
    "thought": [["reasoning", "The user greets me. I greet back."], ["assistant", "Hi there."]],
    "tool": [["assistant", "Let me check.", weather("Beijing")], ["tool", "Beijing: 25°C"], ["assistant", "It is sunny."]],
    "tools": [
        ["assistant", weather("Beijing"), weather("Shanghai")],
        ["tool", "Beijing: 25°C"],
        ["tool", "Shanghai: 25°C"],
        ["assistant", weather("Paris")],
        ["tool", "Paris: 25°C"],
        ["assistant", "All are sunny."],
    ],
    "tool-error": [
        ["assistant", ["lost_orders", {"number": "A-1"}]],
        ["tool", NO_ORDER, "error"],
        ["assistant", "I cannot find it."],
    ],
    "length": [["assistant", "cut o"]],
    "slow": [["assistant", "slowly"]],
}
"""Model id → the messages that the client holds at the end, after the user's."""


def asks(model: str, *deeds: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a case for the worker process: a model, a thread named after it, and what the user does (`deeds`; by default, ask `Hi`).

    more: further fields of the case
    """
    return {"model": model, "thread": f"thread-{model}", "deeds": list(deeds or (HI,)), **more}


def posted(url: str, body: dict[str, Any]) -> bytes:
    """Return the body of the answer to a question that is posted without the client."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.read()


def check(saw: Saw, *messages: list[Any]) -> None:
    """Check that a run ended well, that the client reported no error or warning, and that these messages follow the user's."""
    assert (saw["error"], saw["warnings"]) == (None, [])
    assert saw["messages"] == [USER, *messages]
    assert (saw["events"][0], saw["events"][-1]) == ("RUN_STARTED", "RUN_FINISHED")


@pytest.mark.parametrize("model", SHOWN)
def test_ag_ui_client_builds_the_answers_messages_from_the_events(model: str, workers: Workers, router: Running) -> None:
    """The AG-UI client accepts every event and holds the text, thoughts, tool calls and results of the answer in the right messages."""
    saw = workers.saw(AG_UI, router.base, asks(model))
    check(saw, *SHOWN[model])
    assert saw["finish"] == ("length" if model == "length" else "stop")
    assert (saw["outcomes"], saw["pending"]) == (["success"], [])


def test_ag_ui_client_reads_events_that_arrive_byte_by_byte(workers: Workers, replay: Replay, router: Running) -> None:
    """The AG-UI client holds the same messages when the stream arrives in chunks of one byte."""
    base = replay.through(router.base, "bytes").base
    for model, saw in zip(SHOWN, workers.all([workers.ask(AG_UI, base, asks(model)) for model in SHOWN]), strict=True):
        check(saw, *SHOWN[model])


def test_ag_ui_run_reports_the_usage_of_all_its_model_calls(workers: Workers, router: Running) -> None:
    """An AG-UI run with one tool call reports the summed tokens of both model calls and the model's name."""
    (usage,) = workers.saw(AG_UI, router.base, asks("tool"))["usage"]
    assert usage == {"model": "openai/tool", "inputTokens": 22, "outputTokens": 6, "totalTokens": 28}


def test_ag_ui_client_returns_the_result_of_its_own_tool_in_a_second_run(workers: Workers, router: Running) -> None:
    """An AG-UI client runs its own tool and starts a second run with the result, which the provider receives as a tool message."""
    case = asks("client-tool", {"do": "run-tools", "text": "Hi"}, tools={"get_weather": "25°C"})
    saw = workers.saw(AG_UI, router.base, case)
    check(saw, ["assistant", weather("Beijing")], ["tool", "25°C"], ["assistant", "Then it is done."])
    assert (saw["runs"], saw["pending"]) == (2, [])
    sent = router.provider.requests[-1].json
    assert [one["role"] for one in sent["messages"]] == ["user", "assistant", "tool"]
    assert sent["tools"][0]["function"]["name"] == "get_weather"


def test_ag_ui_conversation_sends_earlier_calls_and_results_to_the_provider(workers: Workers, router: Running) -> None:
    """The second run of an AG-UI conversation sends the first run's call and result to the provider in the provider's form."""
    saw = workers.saw(AG_UI, router.base, asks("two-turns", HI, {"do": "send", "text": "Thanks"}))
    check(saw, *SHOWN["tool"], ["user", "Thanks"], ["assistant", "You are welcome."])
    messages = router.provider.requests[-1].json["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert messages[2]["content"] == "Beijing: 25°C"


def test_ag_ui_image_context_and_forwarded_props_reach_the_provider(workers: Workers, router: Running) -> None:
    """The AG-UI `context` becomes a system message, the user's image an image part, and `forwardedProps.temperature` the temperature."""
    image = {"type": "image", "source": {"type": "data", "value": DOT.partition(",")[2], "mimeType": "image/png"}}
    content = [{"type": "text", "text": "What is this?"}, image]
    asked = {"context": [{"description": "The page", "value": "drawings"}], "forwardedProps": {"temperature": 0.5}}
    saw = workers.saw(AG_UI, router.base, asks("file", {"do": "send", "text": "", "content": content}, asked=asked))
    assert (saw["error"], saw["messages"][1:]) == (None, [["assistant", "A red dot."]])
    sent = router.provider.requests[-1].json
    assert (sent["messages"][0], sent["temperature"]) == ({"role": "system", "content": "The page:\ndrawings"}, 0.5)
    assert sent["messages"][1]["content"][1]["image_url"]["url"] == DOT


def test_ag_ui_request_may_name_its_route_in_the_path(workers: Workers, router: Running) -> None:
    """An AG-UI request to `/api/agui/text` without `forwardedProps` is answered by the route `text`."""
    check(workers.saw(AG_UI, router.base, {"path": "/api/agui/text", "deeds": [HI]}), *SHOWN["text"])


def test_ag_ui_error_before_the_stream_is_an_http_status_with_a_json_body(workers: Workers, router: Running) -> None:
    """An error before the first event reaches the AG-UI client as HTTP 502 or 404 with the router's JSON code, without any event."""
    for model, status, code in (("error-before", 502, "no_answer"), ("no-such", 404, "unknown_model")):
        saw = workers.saw(AG_UI, router.base, asks(model))
        assert (saw["error"]["status"], saw["error"]["payload"]["code"]) == (status, code)
        assert (saw["messages"], saw["events"]) == ([USER], [])


def test_ag_ui_error_in_the_stream_is_a_run_error_event(workers: Workers, router: Running) -> None:
    """An error in the middle of an answer reaches the AG-UI client as RUN_ERROR with code `no_answer`; the partial text stays."""
    saw = workers.saw(AG_UI, router.base, asks("error-after"))
    assert saw["error"]["code"] == "no_answer"
    assert saw["messages"] == [USER, ["assistant", "Partial"]]
    assert (saw["events"][-1], saw["warnings"]) == ("RUN_ERROR", [])


def test_ag_ui_abort_closes_the_stream_to_the_provider(workers: Workers, router: Running) -> None:
    """When the AG-UI client aborts a run, the router closes the connection to the provider."""
    router.provider.left.clear()
    workers.saw(AG_UI, router.base, asks("stop", {**HI, "stop": "Before"}))
    assert router.provider.left.wait(PATIENCE)


def test_ag_ui_run_stopped_by_request_ends_as_cancelled(workers: Workers, patient_router: Running) -> None:
    """`POST …/stop` ends an AG-UI run with the outcome `cancelled` and closes the connection to the provider."""
    patient_router.provider.left.clear()
    saw = workers.saw(AG_UI, patient_router.base, asks("stop", {**HI, "end": "Before"}))
    check(saw, ["assistant", "Before"])
    assert (saw["outcomes"], saw["finish"]) == (["cancelled"], "other")
    assert patient_router.provider.left.wait(PATIENCE)


def test_ag_ui_client_resumes_a_run_from_its_first_event(workers: Workers, patient_router: Running) -> None:
    """An AG-UI client that disconnected during a run resumes it by its thread, and gets the complete message."""
    saw = workers.saw(AG_UI, patient_router.base, asks("resume", {**HI, "stop": "Before"}, {"do": "resume"}))
    assert saw["messages"] == [USER, ["assistant", "Before and after"]]
    assert (saw["events"][-1], saw["warnings"]) == ("RUN_FINISHED", [])


def test_finished_answer_of_another_wire_is_replayed_as_an_ag_ui_run(workers: Workers, router: Running) -> None:
    """When an AG-UI client resumes a chat whose finished answer another wire requested, the answer is replayed with the same messages."""
    for wire in ("line", "ui-message-stream", "openai"):
        chat = f"chat-of-{wire}"
        body = {"id": chat, "model": "tool", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        posted(f"{router.base}/api/chat?protocol={wire}", body)
        saw = workers.saw(AG_UI, router.base, {"thread": chat, "deeds": [{**HI, "do": "resume"}], "query": "?protocol=ag-ui"})
        check(saw, *SHOWN["tool"])


STARTED = b'data: {"type":"RUN_STARTED","threadId":"t","runId":"r"}\n\n'
FINISHED = b'data: {"type":"RUN_FINISHED","threadId":"t","runId":"r"}\n\n'
OPENED = b'data: {"type":"TEXT_MESSAGE_START","messageId":"m","role":"assistant"}\n\n'
WRONG = {
    "First event must be 'RUN_STARTED'": OPENED,
    "text messages are still active": STARTED + OPENED + FINISHED,
    "No active text message": STARTED + b'data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"Hi"}\n\n' + FINISHED,
    "already finished": STARTED + FINISHED + OPENED,
}


@pytest.mark.parametrize("complaint", WRONG)
def test_ag_ui_client_rejects_a_malformed_stream(complaint: str, workers: Workers, replay: Replay) -> None:
    """The AG-UI client reports the expected error for each malformed stream."""
    saw = workers.saw(AG_UI, replay.stage(Reply(WRONG[complaint])).base, asks("text"))
    assert complaint in saw["error"]["message"]


def test_source_and_image_of_an_answer_are_ag_ui_custom_events(workers: Workers, router: Running) -> None:
    """A source and an image within an answer reach the AG-UI client as CUSTOM events, without an error or warning."""
    saw = workers.saw(AG_UI, router.base, asks("shown"))
    assert (saw["error"], saw["warnings"]) == (None, [])
    assert saw["custom"] == [
        ["source", {"url": CITED[0], "title": CITED[1]}],
        ["file", {"mediaType": "image/png", "data": DRAWN}],
    ]
