"""The public clients before streams that are known to be right, and before wrong ones: what this harness can tell apart."""

import re
from dataclasses import replace

import pytest

from tests.clients.cases import CASES, NAMED, STEPLESS, Case, Seen, differences, played
from tests.clients.harness import AI4, CHATS, CLIENTS, OPENAI, UI, Client, Workers, cuts
from tests.clients.replay import PATIENCE, Cut, Replay, Reply
from tests.clients.streams import RIGHT, TEXT, WRONG, Wrong, plain_json
from tests.conftest import ROOT


@pytest.mark.parametrize(("client", "case"), played(*CASES), ids=str)
def test_a_right_stream_is_shown_as_it_was_meant(client: Client, case: Case, workers: Workers, replay: Replay) -> None:
    """Each client makes of each case's streams the messages, the status and the callbacks that the table says."""
    replies = RIGHT[client.wire][case.name]
    stage = replay.stage(*replies)
    saw = workers.saw(client, stage.base, case.asks(client, case.name))
    assert differences(client, case.sees[client.wire], saw) == {}
    assert len(stage.requests) == len(replies)


@pytest.mark.parametrize(("client", "case"), played(NAMED["unicode"], NAMED["tool"], NAMED["thought"], NAMED["error-after"]), ids=str)
def test_bytes_may_come_one_by_one(client: Client, case: Case, workers: Workers, replay: Replay) -> None:
    """What a client shows does not depend on where the network cuts: every byte comes alone."""
    stage = replay.stage(*RIGHT[client.wire][case.name], cut="bytes")
    assert differences(client, case.sees[client.wire], workers.saw(client, stage.base, case.asks(client, case.name))) == {}


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_a_stream_may_be_cut_anywhere(client: Client, workers: Workers, replay: Replay) -> None:
    """A stream in two pieces, cut anywhere, in the middle of a character too, is read the same."""
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
def test_a_wrong_stream_is_found_out(client: Client, wrong: Wrong, workers: Workers, replay: Replay) -> None:
    """This harness can fail: what a client makes of a wrong stream differs from the table, and in the way that tells why."""
    case = NAMED[wrong.of]
    stage = replay.stage(*wrong.before, wrong.reply)
    assert wrong.by in differences(client, case.sees[client.wire], workers.saw(client, stage.base, case.asks(client, case.name)))


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_a_stop_closes_the_connection(client: Client, workers: Workers, replay: Replay) -> None:
    """Who stops an answer leaves it: the server can see that nobody reads on."""
    case = NAMED["stop"]
    stage = replay.stage(*RIGHT[client.wire][case.name])
    workers.saw(client, stage.base, case.asks(client, case.name))
    assert stage.left.wait(PATIENCE)


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_the_text_protocol_is_read_as_text(client: Client, workers: Workers, replay: Replay) -> None:
    """Raw text is shown as it is, however it is cut, and stopped as any other answer."""
    for name, replies in TEXT.items():
        case = NAMED[name]
        for cut in ("whole", "bytes"):
            asked = {**case.asks(client, name), "protocol": "text"}
            saw = workers.saw(client, replay.stage(*replies, cut=cut).base, asked)
            assert differences(client, as_text(client, case), saw) == {}


def as_text(client: Client, case: Case) -> Seen:
    """What a case looks like in raw text: no finish reason of the server's, and in AI SDK 4 no steps."""
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
def test_a_status_becomes_the_error_class_it_stands_for(client: Client, deed: str, workers: Workers, replay: Replay) -> None:
    """An OpenAI client raises the class of the HTTP status, with the body's message and code and the request's id."""
    body = '{"error":{"message":"No.","type":"t","param":null,"code":"c"}}'
    for status, kind in REFUSALS.items():
        stage = replay.stage(plain_json(body, status))
        saw = workers.saw(client, stage.base, {"model": "m", "deeds": [{"do": deed, "text": "Hi"}]})
        assert saw["error"] == {"kind": kind, "status": status, "code": "c", "message": "No.", "request": "req_1"}


@pytest.mark.parametrize("client", OPENAI, ids=str)
def test_an_error_in_the_stream_is_raised(client: Client, workers: Workers, replay: Replay) -> None:
    """A frame that bears an error raises, after what was said before it."""
    case = NAMED["error-after"]
    saw = workers.saw(client, replay.stage(*RIGHT["openai"][case.name]).base, case.asks(client, "m"))
    assert saw["error"]["kind"] == "APIError"
    assert saw["messages"][-1] == {"role": "assistant", "parts": [["text", "Partial"]]}


@pytest.mark.parametrize("client", OPENAI, ids=str)
def test_usage_comes_where_it_is_asked_for(client: Client, workers: Workers, replay: Replay) -> None:
    """The last frame's usage arrives, read by hand or by the library."""
    for deed in ("send", "stream"):
        stage = replay.stage(*RIGHT["openai"]["usage"])
        saw = workers.saw(client, stage.base, {"model": "m", "deeds": [{"do": deed, "text": "Hi", "usage": True}]})
        assert (saw["error"], saw["usage"]) == (None, {"input": 11, "output": 3, "total": 14})
        assert stage.requests[0].json["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("name", ["text", "unicode", "length"])
def test_the_library_puts_the_stream_together_itself(client: Client, name: str, workers: Workers, replay: Replay) -> None:
    """`.stream()` reads what the loop by hand reads; Python's raises where an answer was too long, which is its rule."""
    case = NAMED[name]
    saw = workers.saw(client, replay.stage(*RIGHT["openai"][name]).base, {"model": "m", "deeds": [{"do": "stream", "text": "Hi"}]})
    if name == "length" and client.family != "openai":
        assert saw["error"]["kind"] == "LengthFinishReasonError"
    else:
        assert differences(client, case.sees["openai"], saw) == {}


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_the_second_request_tells_what_happened_in_the_first(client: Client, workers: Workers, replay: Replay) -> None:
    """A conversation comes back with its tool's call and result, in the client's own form."""
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
def test_trigger_of_a_request_is_read(client: Client, workers: Workers, replay: Replay) -> None:
    """A regenerated answer is asked for as such, and a stream is resumed at an address of its own."""
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
    """It names the chat in the query."""
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
    """What the SDKs' own servers write, every release reads: whole, and byte by byte to the same messages."""
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
