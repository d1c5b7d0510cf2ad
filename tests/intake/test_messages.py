"""The messages of every client API, read into the internal form."""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Ask, Call, File, Json, Message, Part, Result
from router.config.server import RequestBounds
from router.errors import BadAsk, TooLarge
from router.intake.cache_control import cache_control
from router.intake.messages import DENIED, messages
from router.intake.question import Asked, asked
from router.params import Params
from router.wire import WIRES
from tests.conftest import ROOT, Workspace, routes, serving
from tests.wire.readers import READERS

BODIES = ROOT / "tests/golden/requests"
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def user(*parts: Part) -> Message:
    """Return a user message with these parts."""
    return Message("user", parts)


def assistant(*parts: Part) -> Message:
    """Return an assistant message with these parts."""
    return Message("assistant", parts)


def tool(*results: Result) -> Message:
    """Return a tool message with these results."""
    return Message("tool", results)


def read(*given: dict[str, Any]) -> list[Message]:
    """Return the internal messages of these client messages."""
    return list(messages(list(given), 500))


def ui(role: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an AI SDK UI message."""
    return {"id": "m1", "role": role, "parts": list(parts), **more}


def called(state: str, name: str = "tool-get_weather", **more: Any) -> dict[str, Any]:
    """Return the tool part of a UI message in this state."""
    return {"type": name, "toolCallId": "c1", "state": state, "input": {"location": "Beijing"}, **more}


WEATHER = Call("c1", "get_weather", {"location": "Beijing"})
STEP = {"type": "step-start"}

FORMS: dict[str, tuple[list[dict[str, Any]], list[Message]]] = {
    "plain": ([{"role": "user", "content": "Hi"}], [user("Hi")]),
    "developer is system": ([{"role": "developer", "content": "Be brief."}], [Message("system", ("Be brief.",))]),
    "OpenAI's content parts": (
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}],
            }
        ],
        [user("look", File("image/png", PIXEL, detail="low"))],
    ),
    "an image to be looked at as usual, and the name of who speaks": (
        [{"role": "user", "name": "Ada", "content": [{"type": "image_url", "image_url": {"url": PIXEL, "detail": "auto"}}]}],
        [Message("user", (File("image/png", PIXEL),), "Ada")],
    ),
    "an image at an address, in the older form": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x.example/a"}]}],
        [user(File("image/*", "https://x.example/a"))],
    ),
    "OpenAI's file": (
        [
            {
                "role": "user",
                "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}}],
            }
        ],
        [user(File("application/pdf", "data:application/pdf;base64,JVBERg==", "a.pdf"))],
    ),
    "OpenAI's tool round": (
        [
            {"role": "user", "content": "?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"location":"Beijing"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "25°C"}]},
        ],
        [user("?"), assistant(WEATHER), tool(Result("c1", "get_weather", "25°C"))],
    ),
    "UI text": ([ui("user", {"type": "text", "text": "Hi", "state": "done"})], [user("Hi")]),
    "UI system": ([ui("system", {"type": "text", "text": "a"}, {"type": "text", "text": "b"})], [Message("system", ("ab",))]),
    "a file by another name": (
        [ui("user", {"type": "file", "mediaType": "image/jpeg", "url": "https://x.example/b", "name": "b.jpg"})],
        [user(File("image/jpeg", "https://x.example/b", "b.jpg"))],
    ),
    "a text file": (
        [
            ui(
                "user",
                {
                    "type": "file",
                    "mediaType": "text/csv",
                    "filename": "a.csv",
                    "url": "data:text/csv;base64," + base64.b64encode("a,ü".encode()).decode(),
                },
            )
        ],
        [user("a.csv:\na,ü\n")],
    ),
    "a text file that is percent-encoded": (
        [ui("user", {"type": "file", "mediaType": "text/plain", "url": "data:text/plain,a%20b"})],
        [user("a b")],
    ),
    "data of the page's own": ([ui("user", {"type": "data-location", "data": {"x": 1}}, {"type": "text", "text": "Hi"})], [user("Hi")]),
    "a tool that answered": (
        [
            ui(
                "assistant",
                STEP,
                {"type": "text", "text": "One moment."},
                called("output-available", output={"c": 25}),
                STEP,
                {"type": "text", "text": "25."},
            )
        ],
        [assistant("One moment.", WEATHER), tool(Result("c1", "get_weather", {"c": 25})), assistant("25.")],
    ),
    "steps whose beginnings were lost": (
        [ui("assistant", called("output-available", output="25"), {"type": "text", "text": "25."})],
        [assistant(WEATHER), tool(Result("c1", "get_weather", "25")), assistant("25.")],
    ),
    "a dynamic tool": (
        [ui("assistant", called("output-available", "dynamic-tool", toolName="get_weather", output="25"))],
        [assistant(WEATHER), tool(Result("c1", "get_weather", "25"))],
    ),
    "a tool that failed": (
        [ui("assistant", called("output-error", errorText="boom"))],
        [assistant(WEATHER), tool(Result("c1", "get_weather", "boom", is_error=True))],
    ),
    "a tool that was not allowed": (
        [ui("assistant", called("output-denied", approval={"id": "a", "approved": False, "reason": "no"}))],
        [assistant(WEATHER), tool(Result("c1", "get_weather", f"{DENIED} no", is_error=True))],
    ),
    "a tool that was just refused": (
        [ui("assistant", called("approval-responded", approval={"id": "a", "approved": False}))],
        [assistant(WEATHER), tool(Result("c1", "get_weather", DENIED, is_error=True))],
    ),
    "calls nobody answered": (
        [
            user_message := {"role": "user", "content": "Hi"},
            ui(
                "assistant",
                {"type": "text", "text": "So:"},
                *(called(state) for state in ("input-streaming", "input-available", "approval-requested")),
                called("approval-responded", approval={"id": "a", "approved": True}),
            ),
        ],
        [user("Hi"), assistant("So:")],
    ),
    "a tool that the provider ran": (
        [ui("assistant", {"type": "text", "text": "So:"}, called("output-available", output=1, providerExecuted=True))],
        [assistant("So:")],
    ),
    "what is not said to a model": (
        [
            user_message,
            ui(
                "assistant",
                STEP,
                *({"type": kind} for kind in ("reasoning", "source-url", "source-document", "file", "reasoning-file", "custom")),
            ),
        ],
        [user("Hi")],
    ),
    "a user who steers": (
        [
            ui(
                "assistant",
                {"type": "text", "text": "A"},
                {"type": "steering-message", "id": "s", "parts": [{"type": "text", "text": "shorter"}]},
                {"type": "text", "text": "B"},
            )
        ],
        [assistant("A"), user("shorter"), assistant("B")],
    ),
    "AI SDK 4's attachments": (
        [{"role": "user", "content": "look", "experimental_attachments": [{"name": "a.png", "contentType": "image/png", "url": PIXEL}]}],
        [user("look", File("image/png", PIXEL, "a.png"))],
    ),
    "AI SDK 4's file part": (
        [{"role": "user", "content": "", "parts": [{"type": "file", "mimeType": "image/png", "data": "iVBORw0KGgo="}]}],
        [user(File("image/png", PIXEL))],
    ),
    "AI SDK 4's invocations, without parts": (
        [
            {
                "role": "assistant",
                "content": "Both.",
                "toolInvocations": [
                    {
                        "state": "result",
                        "step": 0,
                        "toolCallId": "c1",
                        "toolName": "get_weather",
                        "args": {"location": "Beijing"},
                        "result": "25",
                    },
                    {"state": "result", "step": 1, "toolCallId": "c2", "toolName": "get_time", "args": {}, "result": "9"},
                    {"state": "call", "step": 1, "toolCallId": "c3", "toolName": "get_time", "args": {}},
                ],
            }
        ],
        [
            assistant(WEATHER),
            tool(Result("c1", "get_weather", "25")),
            assistant(Call("c2", "get_time", {})),
            tool(Result("c2", "get_time", "9")),
            assistant("Both."),
        ],
    ),
    "AI SDK 4's invocation of a tool that failed": (
        [
            {
                "role": "assistant",
                "content": "",
                "toolInvocations": [
                    {"state": "result", "toolCallId": "c1", "toolName": "get_weather", "args": {"location": "Beijing"}, "result": "boom"}
                    | {"isError": True}
                ],
            }
        ],
        [assistant(WEATHER), tool(Result("c1", "get_weather", "boom", is_error=True))],
    ),
    "OpenAI's refusal": (
        [user_message, {"role": "assistant", "content": None, "refusal": "I cannot help."}],
        [user("Hi"), assistant("I cannot help.")],
    ),
    "an answer of OpenAI's, as it came": (
        [user_message, {"role": "assistant", "content": "Hello", "refusal": None, "annotations": []}],
        [user("Hi"), assistant("Hello")],
    ),
    "an assistant that said nothing": (
        [
            user_message,
            {"role": "assistant", "content": None},
            {"role": "assistant"},
            {"role": "assistant", "content": None, "tool_calls": []},
        ],
        [user("Hi")],
    ),
    "half a surrogate pair": ([{"role": "user", "content": "a\ud83d"}], [user("a\ufffd")]),
}


@pytest.mark.parametrize("form", FORMS)
def test_client_messages_are_converted_to_internal_messages(form: str) -> None:
    """Each form of message, part, attachment and tool call of a client API becomes the expected internal messages."""
    given, expected = FORMS[form]
    assert read(*given) == expected


REFUSED: dict[str, tuple[list[Any], str]] = {
    "no messages": ([], "messages: a list with at least one message is needed."),
    "no object": (["Hi"], "messages[0]: an object is needed."),
    "no role": ([{"content": "Hi"}], "messages[0].role: one of system, developer, user, assistant, tool is needed."),
    "no content": ([{"role": "user"}], "messages[0].content: a text or a list of parts is needed."),
    "no content but a null": ([{"role": "user", "content": None}], "messages[0].content: a text or a list of parts is needed."),
    "a refusal that is none": (
        [{"role": "assistant", "content": None, "refusal": {}}],
        "messages[0].refusal: a text is needed.",
    ),
    "a part without a kind": ([ui("user", {"text": "Hi"})], "messages[0].parts[0]: an object with a type is needed."),
    "sound without data": (
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
        "messages[0].content[0].input_audio.data: a text is needed.",
    ),
    "a moving picture": (
        [{"role": "user", "content": [{"type": "video_url", "video_url": {}}]}],
        "messages[0].content[0].type: one of text, image_url, file, input_audio, refusal, step-start is needed.",
    ),
    "a text that is none": ([ui("user", {"type": "text", "text": 1})], "messages[0].parts[0].text: a text is needed."),
    "a file of this machine": (
        [ui("user", {"type": "file", "mediaType": "image/png", "url": "file:///etc/passwd"})],
        "messages[0].parts[0]: a data: or http(s): URL is needed.",
    ),
    "a film": (
        [ui("user", {"type": "file", "mediaType": "video/mp4", "url": "https://x.example/a"})],
        "messages[0].parts[0]: images, PDF documents, audio and text files are read here, not video/mp4.",
    ),
    "no media type": (
        [ui("user", {"type": "file", "mediaType": "x\ny", "url": "https://x.example/a"})],
        "messages[0].parts[0]: this is no media type.",
    ),
    "no data": ([ui("user", {"type": "file", "url": "data:image/png;base64"})], "messages[0].parts[0]: this data: URL holds no data."),
    "a text file of bytes": (
        [ui("user", {"type": "file", "url": "data:text/plain;base64,/w=="})],
        "messages[0].parts[0]: this text file is not UTF-8.",
    ),
    "an unknown state": ([ui("assistant", called("dreamt"))], "messages[0].parts[0].state: this state is not known here."),
    "an unknown part": ([ui("assistant", {"type": "dream"})], "messages[0].parts[0].type: this kind of part is not known here."),
    "a result without its call's id": ([{"role": "tool", "content": "25"}], "messages[0].tool_call_id: a text is needed."),
    "arguments that are no text": (
        [{"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "a", "arguments": 1}}]}],
        "messages[0].tool_calls[0].function.arguments: a text is needed.",
    ),
    "a picture in a system message": (
        [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}],
        "messages[0]: a system message is text; files stand in messages of the user and of tools.",
    ),
    "attachments that are none": (
        [{"role": "user", "content": "", "experimental_attachments": "a"}],
        "messages[0].experimental_attachments: a list of attachments is needed, 1000 at most.",
    ),
    "nothing to say": ([ui("assistant", STEP)], "messages: there is nothing in them that can be said to a model."),
}


@pytest.mark.parametrize("what", REFUSED)
def test_invalid_message_is_refused_naming_the_field(what: str) -> None:
    """An invalid or unsupported message raises BadAsk whose message begins with the path of the field."""
    given, told = REFUSED[what]
    with pytest.raises(BadAsk) as caught:
        messages(given, 500)
    assert caught.value.public == told


def test_number_of_messages_parts_and_calls_is_bounded() -> None:
    """More messages than allowed, or more than 1,000 parts in one, raise TooLarge; more than 128 tool calls in one raise BadAsk."""
    with pytest.raises(TooLarge):
        messages([{"role": "user", "content": "Hi"}] * 3, 2)
    with pytest.raises(TooLarge):
        read(ui("user", *[{"type": "text", "text": "a"}] * 1001))
    with pytest.raises(BadAsk):
        read({"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "a", "arguments": ""}}] * 129})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "parts",
                    "type",
                    "text",
                    "state",
                    "toolCallId",
                    "tool_calls",
                    "url",
                    "toolInvocations",
                    "file",
                    "function",
                    "approval",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.lists(
        JSON
        | st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "system", "tool"])}, optional={"parts": JSON, "content": JSON}
        ),
        max_size=3,
    )
)
def test_arbitrary_messages_are_converted_or_refused(given: list[Any]) -> None:
    """Generated messages of any shape are converted or raise BadAsk or TooLarge, and no other exception."""
    with contextlib.suppress(BadAsk, TooLarge):
        assert messages(given, 500)


HISTORY = "reasoning-history"
CHECKED = "Let me check."
INVALID = {
    "ai5": 'Invalid input for tool get_weather: Type validation failed: Value: {"city":42}.\nError message: missing property "location"',
    "ai7": "Invalid input for tool get_weather: AI_TypeValidationError: Type validation failed: Value: "
    '{"city":42}.\nError message: Error: missing property "location"',
}
BEIJING = Call("call_abc123", "get_weather", {"location": "Beijing"})
SUNNY = Result("call_abc123", "get_weather", "Beijing weather: 25°C, Sunny")
ASK_USER = Call("call_c1", "ask_user", {"question": "OK?"})


def captured(sdk: str) -> dict[str, list[Message]]:
    """Return case → the expected messages of its last captured request, for one AI SDK version."""
    look: tuple[Part, ...] = ("look", File("image/png", PIXEL, "a.bin"))
    expected = {
        "submit": [user("plain-text")],
        "regenerate": [user("plain-text")],
        "file": [user(*(look if sdk == "ai4" else reversed(look)))],
        "reasoning-history": [
            user("reasoning-text"),
            assistant("Hi there."),
            user("sources-file"),
            assistant("See the source."),
            user("plain-text"),
        ],
        "two-turns-with-tool": [
            user("tool-call"),
            assistant(CHECKED, BEIJING),
            tool(SUNNY),
            assistant('Tool said: ["Beijing weather: 25°C, Sunny"]'),
            user("plain-text"),
        ],
        "client-tool": [user("client-side-tool"), assistant(ASK_USER), tool(Result("call_c1", "ask_user", {"answer": "yes"}))],
    }
    if sdk == "ai4":
        return expected
    failed, said = Result("call_e1", "failing_tool", "boom", is_error=True), "Error: boom" if sdk == "ai7" else "boom"
    invalid = INVALID.get(sdk, INVALID["ai5"])
    echo = f"AI_InvalidToolInputError: {invalid}" if sdk == "ai7" else invalid
    expected["tool-error-history"] = [
        user("tool-execution-error"),
        assistant(Call("call_e1", "failing_tool", {"q": "x"})),
        tool(failed),
        assistant(f'Tool said: ["{said}"]'),
        user("plain-text"),
    ]
    expected["tool-invalid-history"] = [
        user("tool-invalid-input"),
        assistant(Call("call_i1", "get_weather", {"city": 42})),
        tool(Result("call_i1", "get_weather", invalid, is_error=True)),
        assistant(f"Tool said: {json.dumps([echo], ensure_ascii=False)}"),
        user("plain-text"),
    ]
    if sdk != "ai5":
        expected["approval"] = [user("approve")]
        denied = Result("call_ap39", "delete_file", f"{DENIED} harness", is_error=True)
        expected["approval-denied"] = [user("approve"), assistant(Call("call_ap39", "delete_file", {"path": "/x"})), tool(denied)]
    return expected


TURNS = {
    "submit": (1,),
    "regenerate": (1, 1),
    "file": (1,),
    "reasoning-history": (1, 3, 5),
    "two-turns-with-tool": (1, 5),
    "client-tool": (1, 3),
    "tool-error-history": (1, 5),
    "tool-invalid-history": (1, 5),
    "approval": (1, 1),
    "approval-denied": (1, 3),
}
"""Case → the number of internal messages of each of its requests, the beginnings of one conversation."""
CONTINUED = {"client-tool": "srv-27", "approval": "srv-35", "approval-denied": "srv-38"}
"""Case → the id of the message that its last request continues. AI SDK 4 sends no ids."""


@pytest.mark.parametrize("sdk", ["ai4", "ai5", "ai6", "ai7"])
def test_captured_ai_sdk_requests_are_read_as_expected(sdk: str) -> None:
    """Every captured request of AI SDK 4 to 7 is read into the expected messages, model, chat id and continued message id."""
    expected = captured(sdk)
    files = {path.stem.removeprefix(f"{sdk}-"): path for path in BODIES.glob(f"{sdk}-*.json")}
    assert set(files) == {*expected, "resume"}
    for case, conversation in expected.items():
        requests = json.loads(files[case].read_text(encoding="utf-8"))
        assert len(requests) == len(TURNS[case])
        for number, (request, length) in enumerate(zip(requests, TURNS[case], strict=True)):
            made = asked(request["body"], None, "chat", "usual", RequestBounds())
            last = number == len(requests) - 1
            fields = {"trigger": request["body"].get("trigger"), "messageId": request["body"].get("messageId"), "id": "chat-1"}
            assert made == Asked(
                Ask(
                    model="chat-model" if case == "submit" else "usual",
                    messages=tuple(conversation[:length]),
                    params=Params(temperature=0.7) if case == "submit" else Params(),
                    chat="chat-1",
                    fields={name: value for name, value in fields.items() if value is not None},
                ),
                stream=True,
                wire=WIRES["line"],
                cache=cache_control(b"", fields),
                chat_id="chat-1",
                continues=CONTINUED.get(case) if last and sdk != "ai4" else None,
            ), (case, number)


@pytest.mark.parametrize("path", sorted((ROOT / "tests/golden/streams").glob("*-continue/*.request.json")), ids=lambda path: path.stem)
def test_captured_requests_that_continue_an_answer_are_read_as_expected(path: Path) -> None:
    """Captured requests with a client tool's result, an approval or a denial have the expected messages and continued message id."""
    body = json.loads(path.read_text(encoding="utf-8"))
    case = path.name.partition("-turn2")[0]
    made = asked(body, None, "chat", "usual", RequestBounds())
    wanted = {"client-side-tool": "client-tool", "approval": "approval", "approval-denied": "approval-denied"}[case]
    assert list(made.ask.messages) == captured(path.parent.name.removesuffix("-continue"))[wanted]
    assert (made.chat_id, made.continues) == ("chat-1", CONTINUED[wanted])


@pytest.mark.parametrize(
    ("sdk", "dialect"), [("ai4", "data-stream"), ("ai5", "ui-message-stream"), ("ai6", "ui-message-stream"), ("ai7", "ui-message-stream")]
)
async def test_captured_ai_sdk_requests_are_answered_in_their_wire(workspace: Workspace, sdk: str, dialect: str) -> None:
    """Every captured request of AI SDK 4 to 7 is answered in the wire of its version, and its resume request with an empty body."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hello}]}"))
    async with serving(workspace.build()) as client:
        for path in sorted(BODIES.glob(f"{sdk}-*.json")):
            for request in json.loads(path.read_text(encoding="utf-8")):
                address = request["url"].partition("/api/")[2]
                if request["method"] == "GET":
                    nothing = await client.get(f"/api/{address}")
                    assert (nothing.status, nothing.body) == (200 if sdk == "ai4" else 204, b"")
                    continue
                answer = await client.post(f"/api/{address}", **request["body"])
                assert answer.status == 200, (path.name, answer.body)
                heard = READERS[dialect](answer.body)
                assert heard.text == "Hello"
                last = request["body"]["messages"][-1]
                if last["role"] == "assistant" and dialect == "ui-message-stream":
                    start = json.loads(answer.body.partition(b"\n")[0].removeprefix(b"data: "))
                    assert start == {"type": "start", "messageId": last["id"]}


async def test_chatbot_body_with_one_message_and_selected_model_is_answered(workspace: Workspace) -> None:
    """A body with `message` and `selectedChatModel` is answered by that model as a UI message stream, and can be resumed."""
    targets = "a: {script: [{text: One}]}\nb: {script: [{text: Two}]}"
    workspace.write("routes.yaml", routes(targets, more="  other: {pipeline: chat, targets: [b]}\n"))
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
    body = {"id": "chat-1", "message": message, "selectedChatModel": "other", "selectedVisibilityType": "private"}
    async with serving(workspace.build()) as client:
        answer = await client.post("/api/chat", **body)
        null = await client.post("/api/chat", **{**body, "id": "chat-2", "model": None})
        again = await client.get("/api/chat/chat-1/stream")
    assert READERS["ui-message-stream"](answer.body).text == READERS["ui-message-stream"](null.body).text == "Two"
    assert again.body == answer.body


UNREADABLE = [
    '{"q": "say "a""}',
    "[1]",
    '{"q": ',
    "null",
    "5",
    "NaN",
    *('{"a":' * depth + "1" + "}" * depth for depth in (70, 970, 200_000)),
]


@pytest.mark.parametrize("written", UNREADABLE, ids=lambda written: written[:20])
def test_unreadable_tool_arguments_are_kept_as_raw_text(written: str) -> None:
    """Tool call arguments that are no JSON object or nested too deep become `{"raw": text}`."""
    given = {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "a", "arguments": written}}]}
    (message,) = read(given, {"role": "tool", "tool_call_id": "c1", "content": None})[:1]
    assert message.calls == (Call("c1", "a", {"raw": written}),)


def test_tool_result_may_be_null_or_contain_an_image() -> None:
    """A tool result of null becomes an empty text, and an image in one is kept beside its text."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    shown = {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "the page"}, image]}
    (nothing,) = read({"role": "tool", "tool_call_id": "c1", "content": None})
    (page,) = read(shown)
    assert nothing.results == (Result("c1", "", ""),)
    assert page.results == (Result("c1", "", "the page", files=(File("image/png", "data:image/png;base64,AA=="),)),)


def test_tool_arguments_with_too_many_values_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tool call arguments with 60,000 values stay raw text and are not parsed; 49,000 values, or one long text, are parsed."""
    calls: list[str] = []
    parse = json.loads

    def noted(written: str, **hooks: Any) -> object:
        calls.append(written)
        return parse(written, **hooks)

    monkeypatch.setattr(json, "loads", noted)
    for written, fits in (
        ('{"a":"' + ",[{" * 60_000 + '"}', True),
        ('{"a":[' + "1," * 49_000 + "1]}", True),
        ('{"a":[' + "[]," * 60_000 + "1]}", False),
    ):
        given = {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "a", "arguments": written}}]}
        (call,) = read(given, {"role": "tool", "tool_call_id": "c1", "content": None})[0].calls
        assert (call.arguments != {"raw": written}) is fits
        assert (written in calls) is fits


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
@pytest.mark.parametrize("content", ["Hi", " ", "", "\ud83d\ude00", "\ud800", None, ["Hi"], [{"type": "text", "text": "Hi"}], 7], ids=repr)
def test_plain_text_message_is_read_like_one_with_further_keys(role: str, content: Json) -> None:
    """A message with only a role and a content, valid or not, gives the same messages or error as the same message with an `id`."""

    def read(message: Json) -> object:
        try:
            return messages([message, {"role": "user", "content": "More", "id": "2"}], 10)
        except BadAsk as refused:
            return refused.public

    assert read({"role": role, "content": content}) == read({"role": role, "content": content, "id": "1"})
