"""The public clients against hand-written streams, correct and malformed ones: evidence of what the clients accept, without the router."""

import re
from dataclasses import replace

import pytest

from tests.clients.cases import CASES, NAMED, STEPLESS, Case, Seen, differences, played
from tests.clients.harness import AI4, CHATS, CLIENTS, OPENAI, UI, Client, Workers, cuts
from tests.clients.replay import PATIENCE, Cut, Replay, Reply
from tests.clients.streams import RIGHT, TEXT, WRONG, Wrong, plain_json
from tests.conftest import ROOT


@pytest.mark.parametrize(("client", "case"), played(*CASES), ids=str)
def test_client_shows_the_expected_messages_for_each_handwritten_stream(
    client: Client, case: Case, workers: Workers, replay: Replay
) -> None:
    """Each client shows the messages, status and callbacks of the case table for the hand-written streams of its wire."""
    replies = RIGHT[client.wire][case.name]
    stage = replay.stage(*replies)
    saw = workers.saw(client, stage.base, case.asks(client, case.name))
    assert differences(client, case.sees[client.wire], saw) == {}
    assert len(stage.requests) == len(replies)


@pytest.mark.parametrize(("client", "case"), played(NAMED["unicode"], NAMED["tool"], NAMED["thought"], NAMED["error-after"]), ids=str)
def test_client_reads_a_handwritten_stream_byte_by_byte(client: Client, case: Case, workers: Workers, replay: Replay) -> None:
    """Each client shows the messages of the case table when every byte of a hand-written stream arrives alone."""
    stage = replay.stage(*RIGHT[client.wire][case.name], cut="bytes")
    assert differences(client, case.sees[client.wire], workers.saw(client, stage.base, case.asks(client, case.name))) == {}


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_client_reads_a_handwritten_stream_split_at_any_byte(client: Client, workers: Workers, replay: Replay) -> None:
    """Each client shows the same messages when a hand-written stream arrives in two pieces, split at any byte."""
    case = NAMED["unicode"]
    replies = RIGHT[client.wire][case.name]
    stages = [replay.stage(*replies, cut=place) for place in cuts(client, len(replies[0].body))]
    all_saw = workers.all([workers.ask(client, stage.base, case.asks(client, case.name)) for stage in stages])
    wrong = {
        stage.cut: found for stage, saw in zip(stages, all_saw, strict=True) if (found := differences(client, case.sees[client.wire], saw))
    }
    assert wrong == {}


FOUND_OUT = [
    pytest.param(client, wrong, id=f"{wrong.name.replace(' ', '-')}-{client}")
    for wrong in WRONG
    for client in CLIENTS
    if client.wire == wrong.wire and client.name in (wrong.readers or (client.name,))
]


@pytest.mark.parametrize(("client", "wrong"), FOUND_OUT)
def test_client_differs_from_the_case_table_for_a_malformed_stream(client: Client, wrong: Wrong, workers: Workers, replay: Replay) -> None:
    """Each malformed stream makes a client's report differ from the case table in the expected field."""
    case = NAMED[wrong.of]
    stage = replay.stage(*wrong.before, wrong.reply)
    assert wrong.by in differences(client, case.sees[client.wire], workers.saw(client, stage.base, case.asks(client, case.name)))


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_stop_in_a_client_closes_its_connection(client: Client, workers: Workers, replay: Replay) -> None:
    """A client whose user stops an answer closes its connection to the replay server."""
    case = NAMED["stop"]
    stage = replay.stage(*RIGHT[client.wire][case.name])
    workers.saw(client, stage.base, case.asks(client, case.name))
    assert stage.left.wait(PATIENCE)


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_chat_client_shows_a_handwritten_text_stream(client: Client, workers: Workers, replay: Replay) -> None:
    """A chat client with protocol `text` shows the text of hand-written streams, sent whole or byte by byte, and can stop one."""
    for name, replies in TEXT.items():
        case = NAMED[name]
        for cut in ("whole", "bytes"):
            asked = {**case.asks(client, name), "protocol": "text"}
            saw = workers.saw(client, replay.stage(*replies, cut=cut).base, asked)
            assert differences(client, as_text(client, case), saw) == {}


def as_text(client: Client, case: Case) -> Seen:
    """Return what a client must show of a case in text mode: without a finish reason, and in AI SDK 4 without steps."""
    seen = case.sees[client.wire]
    if client in AI4:
        messages = [{**message, "parts": [part for part in message["parts"] if part != ["step"]]} for message in seen.messages]
        return replace(seen, messages=messages, finish=seen.finish and None)
    return replace(seen, finish=seen.finish and None)


REFUSALS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "InternalServerError",
}


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "complete", "stream"])
def test_openai_client_raises_the_error_class_of_the_http_status(client: Client, deed: str, workers: Workers, replay: Replay) -> None:
    """An OpenAI client raises its error class for each HTTP status, with the body's message and code and the request's id."""
    body = '{"error":{"message":"No.","type":"t","param":null,"code":"c"}}'
    for status, kind in REFUSALS.items():
        stage = replay.stage(plain_json(body, status))
        saw = workers.saw(client, stage.base, {"model": "m", "deeds": [{"do": deed, "text": "Hi"}]})
        assert saw["error"] == {"kind": kind, "status": status, "code": "c", "message": "No.", "request": "req_1"}


@pytest.mark.parametrize("client", OPENAI, ids=str)
def test_openai_client_raises_api_error_for_an_error_frame(client: Client, workers: Workers, replay: Replay) -> None:
    """An error frame makes an OpenAI client raise APIError and keep the text before it."""
    case = NAMED["error-after"]
    saw = workers.saw(client, replay.stage(*RIGHT["openai"][case.name]).base, case.asks(client, "m"))
    assert saw["error"]["kind"] == "APIError"
    assert saw["messages"][-1] == {"role": "assistant", "parts": [["text", "Partial"]]}


@pytest.mark.parametrize("client", OPENAI, ids=str)
def test_openai_client_asks_for_usage_and_reads_it_from_the_last_frame(client: Client, workers: Workers, replay: Replay) -> None:
    """An OpenAI client sends `stream_options.include_usage` and reads the usage of the last frame."""
    for deed in ("send", "stream"):
        stage = replay.stage(*RIGHT["openai"]["usage"])
        saw = workers.saw(client, stage.base, {"model": "m", "deeds": [{"do": deed, "text": "Hi", "usage": True}]})
        assert (saw["error"], saw["usage"]) == (None, {"input": 11, "output": 3, "total": 14})
        assert stage.requests[0].json["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("name", ["text", "unicode", "length"])
def test_stream_helper_of_the_openai_library_builds_a_handwritten_answer(
    client: Client, name: str, workers: Workers, replay: Replay
) -> None:
    """The OpenAI library's `.stream()` helper builds the expected message; in Python it raises an error for an answer cut by length."""
    case = NAMED[name]
    saw = workers.saw(client, replay.stage(*RIGHT["openai"][name]).base, {"model": "m", "deeds": [{"do": "stream", "text": "Hi"}]})
    if name == "length" and client.family != "openai":
        assert saw["error"]["kind"] == "LengthFinishReasonError"
    else:
        assert differences(client, case.sees["openai"], saw) == {}


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_chat_client_sends_the_first_turns_tool_call_with_its_second_request(client: Client, workers: Workers, replay: Replay) -> None:
    """A chat client's second request contains the tool call and result of the first turn, in the client's own form."""
    stage = replay.stage(*RIGHT[client.wire]["two-turns"])
    workers.saw(client, stage.base, NAMED["two-turns"].asks(client, "chat-model"))
    first, second = (request.json for request in stage.requests)
    assert first["model"] == second["model"] == "chat-model"
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
    parts = second["messages"][1]["parts"]
    if client in AI4:
        called = (
            second["messages"][1]["toolInvocations"]
            if client.name in STEPLESS
            else [part["toolInvocation"] for part in parts if "toolInvocation" in part]
        )
        (call,) = called
        assert (call["state"], call["toolCallId"], call["args"], call["result"]) == (
            "result",
            "call_1",
            {"location": "Beijing"},
            "Beijing: 25°C",
        )
    else:
        (call,) = (part for part in parts if part["type"] == "tool-get_weather")
        assert (call["state"], call["toolCallId"], call["input"], call["output"]) == (
            "output-available",
            "call_1",
            {"location": "Beijing"},
            "Beijing: 25°C",
        )
        assert second["trigger"] == "submit-message"


@pytest.mark.parametrize("client", UI, ids=str)
def test_ui_client_sends_its_trigger_and_resumes_at_the_stream_address(client: Client, workers: Workers, replay: Replay) -> None:
    """A UI client sends the trigger `regenerate-message` when it regenerates an answer, and resumes with GET `/api/chat/{id}/stream`."""
    stage = replay.stage(*RIGHT[client.wire]["regenerate"])
    workers.saw(client, stage.base, NAMED["regenerate"].asks(client, "m"))
    assert [request.json["trigger"] for request in stage.requests] == ["submit-message", "regenerate-message"]
    stage = replay.stage(*RIGHT[client.wire]["resume"])
    workers.saw(client, stage.base, NAMED["resume"].asks(client, "m"))
    assert [(request.method, request.path) for request in stage.requests] == [
        ("POST", "/api/chat"),
        ("GET", "/api/chat/chat-resume/stream"),
    ]


def test_ai_sdk_4_resumes_at_the_same_address(workers: Workers, replay: Replay) -> None:
    """AI SDK 4 resumes with GET at the chat's address, with the chat's id in the query."""
    client = AI4[-1]
    stage = replay.stage(*RIGHT[client.wire]["resume"])
    workers.saw(client, stage.base, NAMED["resume"].asks(client, "m"))
    assert [(request.method, request.path) for request in stage.requests] == [
        ("POST", "/api/chat"),
        ("GET", "/api/chat?chatId=chat-resume"),
    ]


GOLDEN = ROOT / "tests/golden/streams"
FOLDERS = {"data-stream": ("ai4-data",), "ui-message-stream": ("ui-portable",), "openai": ("openai-chat",)}
WITH_ERRORS = re.compile("error|throws|invalid|abort")


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_golden_streams_are_read_without_an_error(client: Client, workers: Workers, replay: Replay) -> None:
    """Each client reads recorded streams of the SDKs' own servers without an error, with equal messages whole and byte by byte."""
    for folder in FOLDERS[client.wire]:
        for path in sorted((GOLDEN / folder).glob("*.txt")):
            if path.name.startswith("_") or WITH_ERRORS.search(path.stem):
                continue
            case = {"chat": "golden", "model": "m", "deeds": [{"do": "send", "text": "Hi"}]}
            cuts: tuple[Cut, Cut] = ("whole", "bytes")
            asked = [workers.ask(client, replay.stage(Reply(path.read_bytes()), cut=cut).base, case) for cut in cuts]
            whole, bytewise = workers.all(asked)
            assert (whole["error"], whole["status"]) == (None, "ready"), path.name
            assert whole["messages"] == bytewise["messages"], path.name
            assert len(whole["messages"]) == 2, path.name
