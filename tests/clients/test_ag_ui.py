"""@ag-ui/client before the router: its HttpAgent, whose pipeline verifies each event and adds them up to messages."""

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
    """A call of the weather tool."""
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
"""A model id → the messages that the client has in the end, after the user's."""


def asks(model: str, *deeds: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A case as the worker takes it."""
    return {"model": model, "thread": f"thread-{model}", "deeds": list(deeds or (HI,)), **more}


def posted(url: str, body: dict[str, Any]) -> bytes:
    """The whole answer to a question that another client asks."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.read()


def check(saw: Saw, *messages: list[Any]) -> None:
    """Hold that a run ended well, that the client had nothing to complain of, and these messages after the user's."""
    assert (saw["error"], saw["warnings"]) == (None, [])
    assert saw["messages"] == [USER, *messages]
    assert (saw["events"][0], saw["events"][-1]) == ("RUN_STARTED", "RUN_FINISHED")


@pytest.mark.parametrize("model", SHOWN)
def test_events_add_up_to_the_answers_messages(model: str, workers: Workers, router: Running) -> None:
    """The client takes each event, and has the text, the thoughts, the calls and their results where they belong."""
    saw = workers.saw(AG_UI, router.base, asks(model))
    check(saw, *SHOWN[model])
    assert saw["finish"] == ("length" if model == "length" else "stop")
    assert (saw["outcomes"], saw["pending"]) == (["success"], [])


def test_events_may_come_byte_by_byte(workers: Workers, replay: Replay, router: Running) -> None:
    """No event depends on how the network cuts the stream."""
    base = replay.through(router.base, "bytes").base
    for model, saw in zip(SHOWN, workers.all([workers.ask(AG_UI, base, asks(model)) for model in SHOWN]), strict=True):
        check(saw, *SHOWN[model])


def test_usage_is_in_the_last_event(workers: Workers, router: Running) -> None:
    """It counts both model calls, and names the model that made them."""
    (usage,) = workers.saw(AG_UI, router.base, asks("tool"))["usage"]
    assert usage == {"model": "openai/tool", "inputTokens": 22, "outputTokens": 6, "totalTokens": 28}


def test_tool_of_the_client_is_answered_in_the_next_run(workers: Workers, router: Running) -> None:
    """The first run names the call that is pending; the provider is told its result in the second."""
    case = asks("client-tool", {"do": "run-tools", "text": "Hi"}, tools={"get_weather": "25°C"})
    saw = workers.saw(AG_UI, router.base, case)
    check(saw, ["assistant", weather("Beijing")], ["tool", "25°C"], ["assistant", "Then it is done."])
    assert (saw["runs"], saw["pending"]) == (2, [])
    sent = router.provider.requests[-1].json
    assert [one["role"] for one in sent["messages"]] == ["user", "assistant", "tool"]
    assert sent["tools"][0]["function"]["name"] == "get_weather"


def test_conversation_goes_on_in_the_next_run(workers: Workers, router: Running) -> None:
    """The calls and results of the first run reach the model again, in its own form."""
    saw = workers.saw(AG_UI, router.base, asks("two-turns", HI, {"do": "send", "text": "Thanks"}))
    check(saw, *SHOWN["tool"], ["user", "Thanks"], ["assistant", "You are welcome."])
    messages = router.provider.requests[-1].json["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert messages[2]["content"] == "Beijing: 25°C"


def test_image_context_and_parameters_reach_the_model(workers: Workers, router: Running) -> None:
    """What the application tells of itself is a system message; the user's image is an image; `forwardedProps` has the parameters."""
    image = {"type": "image", "source": {"type": "data", "value": DOT.partition(",")[2], "mimeType": "image/png"}}
    content = [{"type": "text", "text": "What is this?"}, image]
    asked = {"context": [{"description": "The page", "value": "drawings"}], "forwardedProps": {"temperature": 0.5}}
    saw = workers.saw(AG_UI, router.base, asks("file", {"do": "send", "text": "", "content": content}, asked=asked))
    assert (saw["error"], saw["messages"][1:]) == (None, [["assistant", "A red dot."]])
    sent = router.provider.requests[-1].json
    assert (sent["messages"][0], sent["temperature"]) == ({"role": "system", "content": "The page:\ndrawings"}, 0.5)
    assert sent["messages"][1]["content"][1]["image_url"]["url"] == DOT


def test_route_may_stand_in_the_path(workers: Workers, router: Running) -> None:
    """An application that sends no `forwardedProps` names the route in its address."""
    check(workers.saw(AG_UI, router.base, {"path": "/api/agui/text", "deeds": [HI]}), *SHOWN["text"])


def test_error_before_the_run_is_a_status(workers: Workers, router: Running) -> None:
    """The client's error has the status, and our JSON as its payload."""
    for model, status, code in (("error-before", 502, "no_answer"), ("no-such", 404, "unknown_model")):
        saw = workers.saw(AG_UI, router.base, asks(model))
        assert (saw["error"]["status"], saw["error"]["payload"]["code"]) == (status, code)
        assert (saw["messages"], saw["events"]) == ([USER], [])


def test_error_in_a_run_ends_it(workers: Workers, router: Running) -> None:
    """RUN_ERROR has our code; what was said before stays."""
    saw = workers.saw(AG_UI, router.base, asks("error-after"))
    assert saw["error"]["code"] == "no_answer"
    assert saw["messages"] == [USER, ["assistant", "Partial"]]
    assert (saw["events"][-1], saw["warnings"]) == ("RUN_ERROR", [])


def test_aborted_run_stops_the_model(workers: Workers, router: Running) -> None:
    """`abortRun` leaves the answer, and nothing goes on without its reader."""
    router.provider.left.clear()
    workers.saw(AG_UI, router.base, asks("stop", {**HI, "stop": "Before"}))
    assert router.provider.left.wait(PATIENCE)


def test_stopped_run_is_cancelled(workers: Workers, patient_router: Running) -> None:
    """`POST …/stop` ends the run by the name that the protocol has for it, and the model with it."""
    patient_router.provider.left.clear()
    saw = workers.saw(AG_UI, patient_router.base, asks("stop", {**HI, "end": "Before"}))
    check(saw, ["assistant", "Before"])
    assert (saw["outcomes"], saw["finish"]) == (["cancelled"], "other")
    assert patient_router.provider.left.wait(PATIENCE)


def test_run_is_found_again_from_its_start(workers: Workers, patient_router: Running) -> None:
    """A client that left in the middle asks for the answer of its thread, and verifies it from RUN_STARTED on."""
    saw = workers.saw(AG_UI, patient_router.base, asks("resume", {**HI, "stop": "Before"}, {"do": "resume"}))
    assert saw["messages"] == [USER, ["assistant", "Before and after"]]
    assert (saw["events"][-1], saw["warnings"]) == ("RUN_FINISHED", [])


def test_chat_of_another_dialect_is_followed_as_a_run(workers: Workers, router: Running) -> None:
    """An answer that was asked for in another dialect is found again as a run, with ids of ours."""
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
def test_wrong_stream_is_found_out(complaint: str, workers: Workers, replay: Replay) -> None:
    """This harness can fail: the client verifies what it reads."""
    saw = workers.saw(AG_UI, replay.stage(Reply(WRONG[complaint])).base, asks("text"))
    assert complaint in saw["error"]["message"]


def test_source_and_image_of_a_model_are_custom_events(workers: Workers, router: Running) -> None:
    """They may stand within a message."""
    saw = workers.saw(AG_UI, router.base, asks("shown"))
    assert (saw["error"], saw["warnings"]) == (None, [])
    assert saw["custom"] == [
        ["source", {"url": CITED[0], "title": CITED[1]}],
        ["file", {"mediaType": "image/png", "data": DRAWN}],
    ]
