"""The AG-UI endpoint `/api/agui`: request bodies and event streams. `@ag-ui/client` is tested in tests/clients."""

import json
from typing import Any

import pytest

from router.chat import Call, File, Message, ReasoningState, Result
from router.config.server import RequestBounds
from router.errors import BadAsk
from router.intake import question
from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.apis import MORE, TARGETS
from tests.support.provider import Reply, provider, text
from tests.wire.readers import READERS

HELLO: list[Any] = [{"id": "1", "role": "user", "content": "Hello"}]
RUN: dict[str, Any] = {"threadId": "thread-1", "runId": "run-1", "messages": HELLO, "tools": [], "context": [], "state": {}}
BOUNDS = RequestBounds()


def asked(**fields: Any) -> question.Asked:
    """Return the parsed AG-UI request whose body is RUN with these fields replaced."""
    return question.asked({**RUN, **fields}, None, "ag_ui", "chat-model", BOUNDS)


def events(body: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects of the `data:` frames of an event stream."""
    return [json.loads(frame.removeprefix(b"data: ")) for frame in body.split(b"\n\n")[:-1]]


async def test_ag_ui_run_events_repeat_thread_and_run_id_of_the_request(workspace: Workspace) -> None:
    """RUN_STARTED and RUN_FINISHED carry the `threadId` and `runId` of the request, and a resumed stream has the same bytes."""
    workspace.write("routes.yaml", routes(TARGETS, "targets: [a]\n    reasoning: show", more=MORE))
    async with serving(workspace.build()) as client:
        made = await client.post("/api/agui", **RUN, parentRunId="run-0", forwardedProps={"model": "gpt-4"})
        found = await client.get("/api/chat/thread-1/stream")
    assert made.headers["content-type"] == "text/event-stream"
    assert found.body == made.body
    first, *_, last = events(made.body)
    assert first == {"type": "RUN_STARTED", "threadId": "thread-1", "runId": "run-1", "parentRunId": "run-0"}
    assert (last["threadId"], last["runId"]) == ("thread-1", "run-1")
    assert last["metadata"] == {"finishReason": "stop", "model": "gpt-4"}
    heard = READERS["ag-ui"](made.body)
    assert (heard.text, heard.thoughts, heard.usage) == ("Hello", "Hm", (1, 2))


async def test_ag_ui_tool_call_without_result_is_listed_as_pending(workspace: Workspace) -> None:
    """A tool call for the client names the preceding text message as its parent and is listed in `pendingToolCallIds` of the last event."""
    workspace.write("routes.yaml", routes(TARGETS, "targets: [a]", more=MORE))
    async with serving(workspace.build()) as client:
        made = events((await client.post("/api/agui/asks", **RUN)).body)
    said = next(one for one in made if one["type"] == "TEXT_MESSAGE_START")
    call = next(one for one in made if one["type"] == "TOOL_CALL_START")
    assert (call["toolCallName"], call["parentMessageId"]) == ("get_weather", said["messageId"])
    assert made[-1]["outcome"] == {"type": "success", "pendingToolCallIds": [call["toolCallId"]]}


async def test_ag_ui_parameters_are_read_from_forwarded_props(workspace: Workspace) -> None:
    """The provider is sent `temperature` and `tool_choice` of `forwardedProps`; other props and `state` reach the prompt template."""
    workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n")
    workspace.write("pipelines/chat.j2", "{{ ask.tone }}, {{ ask.state.page }}")
    tool: dict[str, Any] = {"name": "get_weather", "description": "Weather.", "parameters": {"type": "object", "properties": {}}}
    properties = {"model": "gpt-4", "temperature": 0.5, "tool_choice": "required", "tone": "brief"}
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client:
            await client.post("/api/agui", **{**RUN, "tools": [tool], "state": {"page": 1}, "forwardedProps": properties})
        (sent,) = fake.requests
    assert (sent["messages"][0]["content"], sent["temperature"], sent["tool_choice"]) == ("brief, 1", 0.5, "required")
    assert sent["tools"][0]["function"]["name"] == "get_weather"


async def refused(client: Client, path: str = "/api/agui", **fields: Any) -> tuple[int, str, str]:
    """Return status, code and message of a request that is refused with a RUN_ERROR object."""
    answer = await client.post(path, **fields)
    assert set(answer.json) == {"type", "message", "code", "requestId"}
    assert answer.json["type"] == "RUN_ERROR"
    return answer.status, answer.json["code"], answer.json["message"]


async def test_ag_ui_refusal_has_a_run_error_as_its_body(workspace: Workspace) -> None:
    """A refused AG-UI request (unknown route, no target answers, invalid body, GET) gets a RUN_ERROR object and an error status."""
    workspace.write("routes.yaml", routes(TARGETS, "targets: [a]", more=MORE))
    async with serving(workspace.build()) as client:
        assert (await refused(client, "/api/agui/no-such", **RUN))[:2] == (404, "unknown_model")
        assert (await refused(client, "/api/agui/down", **RUN))[:2] == (502, "no_answer")
        assert (await refused(client, "/api/agui", **{**RUN, "messages": []}))[2] == "messages: a list with at least one message is needed."
        async with client.session.post(f"{client.base}/api/agui", data=b"{") as broken:
            assert (broken.status, (await broken.json())["type"]) == (400, "RUN_ERROR")
        assert (await client.get("/api/agui")).json["code"] == "method_not_allowed"
        unknown = (await client.post("/api/nothing")).json["error"]
    assert "POST /api/agui, POST /api/agui/{route}" in unknown


CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
CALLED = Call("c1", "look", {"a": 1})
PNG = File("image/png", "data:image/png;base64,iVBORw0KGgo=")
READ: dict[str, tuple[list[Any], tuple[Message, ...]]] = {
    "system and developer": (
        [{"role": "system", "content": "a"}, {"role": "developer", "content": "b", "name": "app"}],
        (Message("system", ("a",)), Message("system", ("b",), "app")),
    ),
    "image": (
        [{"role": "user", "content": [{"type": "image", "source": {"type": "data", "value": "iVBORw0KGgo=", "mimeType": "image/png"}}]}],
        (Message("user", (PNG,)),),
    ),
    "image at an address": (
        [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "value": "https://x.test/a.png"}}]}],
        (Message("user", (File("image/*", "https://x.test/a.png"),)),),
    ),
    "document with a name": (
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "source": {"type": "data", "value": "JVBERi0=", "mimeType": "application/pdf"},
                        "metadata": {"filename": "a.pdf"},
                    }
                ],
            }
        ],
        (Message("user", (File("application/pdf", "data:application/pdf;base64,JVBERi0=", "a.pdf"),)),),
    ),
    "file of an older client": (
        [{"role": "user", "content": [{"type": "binary", "mimeType": "image/png", "data": "iVBORw0KGgo="}]}],
        (Message("user", (PNG,)),),
    ),
    "thought before a call": (
        [
            {"role": "reasoning", "content": "Hm"},
            {"role": "assistant", "content": "Let me look.", "toolCalls": [CALL]},
            {"role": "tool", "toolCallId": "c1", "content": "found"},
        ],
        (
            Message("assistant", ("Let me look.", ReasoningState("", {"reasoning_content": "Hm"}), CALLED)),
            Message("tool", (Result("c1", "look", "found"),)),
        ),
    ),
    "thought before a text": (
        [{"role": "reasoning", "content": "Hm"}, {"role": "assistant", "content": "Hi"}],
        (Message("assistant", ("Hi",)),),
    ),
    "errors of tools": (
        [
            {"role": "assistant", "toolCalls": [CALL]},
            {"role": "tool", "toolCallId": "c1", "content": "", "error": "It broke."},
            {"role": "tool", "toolCallId": "c1", "content": "Not there.", "metadata": {"isError": True}},
        ],
        (
            Message("assistant", (CALLED,)),
            Message("tool", (Result("c1", "look", "It broke.", is_error=True),)),
            Message("tool", (Result("c1", "look", "Not there.", is_error=True),)),
        ),
    ),
    "result with an image": (
        [
            {
                "role": "tool",
                "toolCallId": "c1",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image", "source": {"type": "data", "value": "iVBORw0KGgo=", "mimeType": "image/png"}},
                ],
            }
        ],
        (Message("tool", (Result("c1", "", "see", files=(PNG,)),)),),
    ),
    "activity": (
        [{"role": "activity", "activityType": "PLAN", "content": {}}, {"role": "user", "content": "Hi"}],
        (Message("user", ("Hi",)),),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_ag_ui_messages_are_converted_with_all_their_parts(name: str) -> None:
    """Each kind of AG-UI message and content part becomes the matching internal messages; activity messages are dropped."""
    given, wanted = READ[name]
    assert asked(messages=given).ask.messages == wanted


def test_valid_ag_ui_thread_id_becomes_the_chat_id() -> None:
    """A valid `threadId` becomes the chat id of the request and of its Ask; an invalid one gives none and is still kept in `repeated`."""
    one, other = asked(), asked(threadId="a thread")
    assert (one.chat_id, one.ask.chat, one.stream) == ("thread-1", "thread-1", True)
    assert (other.chat_id, other.ask.chat, other.repeated["threadId"]) == (None, "", "a thread")


UNSERVED: dict[str, tuple[dict[str, Any], str]] = {
    "no thread": ({"threadId": None}, "threadId: a text is needed."),
    "no run": ({"runId": 1}, "runId: a text is needed."),
    "resumed interrupt": ({"resume": [{"interruptId": "i", "status": "resolved"}]}, "resume: this is not served here."),
    "unknown role": (
        {"messages": [{"role": "robot"}]},
        "messages[0].role: one of developer, system, user, assistant, tool, reasoning, activity is needed.",
    ),
    "video": (
        {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
        "messages[0].content[0].type: one of text, image, document, audio, binary is needed.",
    ),
    "file of a provider": (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "value": "f"}}]}]},
        "messages[0].content[0].source.type: one of data, url is needed; files kept by a provider are not served here.",
    ),
    "call without a function": (
        {"messages": [{"role": "assistant", "toolCalls": [{"id": "c"}]}]},
        "messages[0].toolCalls[0].function: an object is needed.",
    ),
    "context": ({"context": [{"description": "a"}]}, "context[0].value: a text is needed."),
    "tool without a name": ({"tools": [{}]}, "tools[0].name: a text is needed."),
}


@pytest.mark.parametrize("name", UNSERVED)
def test_ag_ui_body_with_invalid_field_is_refused_naming_the_field(name: str) -> None:
    """A body with a missing or unsupported field raises BadAsk, and its message names the path of that field."""
    fields, sentence = UNSERVED[name]
    with pytest.raises(BadAsk) as error:
        asked(**fields)
    assert error.value.public == sentence
