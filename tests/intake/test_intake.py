"""Reading a request into one question: the question itself, the wire of an error, and how long the body's bytes count."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import OutputFormat, TextMessages, ToolSpec
from router.config.server import RequestBounds, Server
from router.errors import BadAsk, Crowded, TooLarge, UnknownResponse
from router.intake import Asked, Intake, KeptResponse, Request, question
from router.intake.body import Bodies, parsed
from router.intake.client_tools import EMPTY
from router.intake.fields import Fields
from router.intake.plain_question import LONG, ON_LOOP_BYTES, plain_question
from router.intake.scope import Receive
from router.lifecycle import Holdings
from router.params import Params
from router.value import replace
from router.wire import WIRES

SERVER = Server(request=RequestBounds(body=1000))
SAID = {"messages": [{"role": "user", "content": "Hello"}]}
OF_A_PAGE = {"id": "chat-1", "trigger": "submit-message", "messages": [{"role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}


def request(body: bytes, path: str = "/api/chat", **headers: str) -> Request:
    """Return a request with this body, in one piece, and these headers."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": path, "headers": sent, "client": ("127.0.0.1", 1)}, receive)


async def none_kept(fields: Fields, name: str) -> KeptResponse:
    """Raise UnknownResponse: no response is stored."""
    raise UnknownResponse


async def read(intake: Intake, asking: Request, held: Holdings) -> Asked:
    """Return the question of a request; its model is `usual` if the request names none."""
    asking.speaks(SERVER.protocol)
    return await intake.read(asking, SERVER, "usual", none_kept, held=held)


async def test_read_request_has_question_wire_chat_and_cache_wishes() -> None:
    """A read request has its messages, model, stream flag, wire, chat id and Cache-Control wishes."""
    with Holdings() as held:
        asked = await read(Intake(), request(json.dumps(OF_A_PAGE).encode(), cache_control="no-store"), held)
    assert [message.text for message in asked.ask.messages] == ["Hello"]
    assert (asked.ask.model, asked.stream, asked.wire.name, asked.chat_id) == ("usual", True, "ui-message-stream", "chat-1")
    assert not asked.cache.store


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b'{"messages": [{"parts": [', {}, "ui-message-stream"),
        (json.dumps({**OF_A_PAGE, "stream": 5}).encode(), {}, "ui-message-stream"),
        (b'{"messages": [{"parts": [', {"x_stream_protocol": "data-stream"}, "data-stream"),
        (b'{"messages": [', {}, "line"),
    ],
    ids=["a broken body", "a wrong field", "a name in a header", "nothing"],
)
async def test_error_of_an_invalid_body_has_the_wire_of_header_or_body_beginning(
    body: bytes, headers: dict[str, str], expected: str
) -> None:
    """An invalid body raises BadAsk, and the wire of the error is that of the header, else of what the body's beginning shows."""
    asking = request(body, **headers)
    with Holdings() as held, pytest.raises(BadAsk):
        await read(Intake(), asking, held)
    assert asking.wire.name == expected


async def test_field_stated_in_a_header_overrides_the_body() -> None:
    """A field that was taken from a header, such as the gateway's model, overrides the same field of the body."""
    asking = request(json.dumps({**SAID, "model": "of-the-body"}).encode())
    asking.stated = {"model": "of-the-header"}
    with Holdings() as held:
        assert (await read(Intake(), asking, held)).ask.model == "of-the-header"


async def test_body_bytes_are_counted_until_the_request_ends() -> None:
    """The bytes of a body count for the bound on all bodies until its request ends: a second one raises Crowded until then."""
    body = json.dumps({**SAID, "filler": "x" * 500}).encode()
    intake = Intake(most=1)  # a body of the largest size is read all the same: two of these are larger
    with Holdings() as first, Holdings() as second:
        await read(intake, request(body), first)
        with pytest.raises(Crowded):
            await read(intake, request(body), second)
    with Holdings() as third:
        await read(intake, request(body), third)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_sampling_parameter_is_named_first_of_two_invalid_fields(path: str) -> None:
    """A body with an invalid sampling parameter and an invalid output format is refused by the parameter, as on every path."""
    asking = request(json.dumps({**SAID, "model": "m", "seed": "x", "response_format": {"type": "x"}}).encode(), path)
    asking.surface = "completions" if path.startswith("/v1") else "chat"
    with Holdings() as held, pytest.raises(BadAsk, match="seed"):
        await read(Intake(), asking, held)


RARE: dict[str, tuple[str, str, object]] = {
    "id": ("x_request_id", "mine", "mine"),
    "traceparent": ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'a' * 32}-{'b' * 16}-01"),
    "announced": ("expect", "100-Continue", True),
    "steers": ("x_router_fault", "cut", True),
    "cache_control": ("cache_control", "no-store", b"no-store"),
    "forwarded": ("x_forwarded_for", "192.0.2.1", [b"192.0.2.1"]),
}
"""Field of a Request → the header that sets it, a value of the header, and the field's value then."""


@pytest.mark.parametrize("field", RARE)
def test_rare_header_sets_its_field_of_the_request_alone(field: str) -> None:
    """Each header that few requests have sets its field of the request; the others keep their values of a request without it."""
    header, value, expected = RARE[field]
    usual, asking = request(b""), request(b"", **{header: value})
    assert (len(usual.id), len(asking.id)) == (28, 4 if field == "id" else 28)
    assert getattr(asking, field) == expected != getattr(usual, field)
    for other in RARE.keys() - {field, "id"}:
        assert bool(getattr(asking, other)) is bool(getattr(usual, other)) is False


ONLY = {"messages": SAID["messages"], "model": "m"}
FURTHER: dict[str, tuple[object, str, object]] = {
    "temperature": (0.5, "params", Params(temperature=0.5)),
    "max_completion_tokens": (5, "params", Params(max_tokens=5)),
    "user": ("u", "fields", {"user": "u"}),
    "params": ({"a": 1}, "extra", {"a": 1}),
    "store": (True, "unsent", ("store",)),
    "response_format": ({"type": "json_object"}, "output", OutputFormat()),
    "tools": ([{"type": "function", "function": {"name": "t"}}], "tools", (ToolSpec("t", "", EMPTY),)),
}
"""Further field of a chat completion's body → its value, the field of the Ask that it sets, and that field's value then."""


@pytest.mark.parametrize("name", FURTHER)
def test_further_field_of_a_chat_completion_sets_its_field_of_the_question_alone(name: str) -> None:
    """A body with one field besides messages and model gives the question of a body without it, but for what the field sets."""
    value, field, expected = FURTHER[name]
    bare = question.asked(ONLY, None, "completions", "usual", SERVER.request)
    made = question.asked(cast("Fields", {**ONLY, name: value}), None, "completions", "usual", SERVER.request)
    assert getattr(made.ask, field) == expected != getattr(bare.ask, field)
    others = {"fields": bare.ask.fields} if name not in question.OWN else {}
    assert replace(made, ask=replace(made.ask, **{**others, field: getattr(bare.ask, field)})) == bare


@pytest.mark.parametrize(
    ("more", "complaint"),
    [({"stream": "x"}, "stream"), ({"model": ""}, "model"), ({"model": None}, "model"), ({"messages": None}, "messages"), ({"n": 2}, "n")],
    ids=str,
)
def test_short_chat_completion_is_checked_like_a_longer_one(more: dict[str, Any], complaint: str) -> None:
    """A body with only messages, model and stream is refused with the same sentence as one that has a further, harmless field."""
    said: list[str] = []
    for harmless in ({}, {"logprobs": False}):
        with pytest.raises(BadAsk, match=f"^{complaint}: ") as refused:
            question.asked({**ONLY, **harmless, **more}, None, "completions", "usual", SERVER.request)
        said.append(refused.value.public)
    assert said[0] == said[1]


def test_short_chat_completion_obeys_the_cache_control_header() -> None:
    """The Cache-Control header counts for a body with only messages and model, too."""
    assert not question.asked(ONLY, None, "completions", "usual", SERVER.request, cache=b"no-store").cache.store
    assert question.asked(ONLY, None, "completions", "usual", SERVER.request).cache.store
    for header, stored in ((b"no-store", False), (b"", True)):
        read = plainly(json.dumps(ONLY).encode(), cache_control=header.decode())
        assert read is not None
        assert read.cache.store is stored


T = TypeVar("T")
OPENAI = WIRES["openai"]
WIDE = RequestBounds()


def generally(body: bytes, bounds: RequestBounds = WIDE) -> Asked:
    """Return the question of a chat completion's body as the general reader reads it."""
    return question.asked(parsed(body, bounds), None, "completions", "usual", bounds, wire=OPENAI)


def plainly(body: bytes, bounds: RequestBounds = WIDE, **headers: str) -> Asked | None:
    """Return the question of a chat completion's body as the reader of plain bodies reads it."""
    asking = request(body, "/v1/chat/completions", **headers)
    asking.surface, asking.wire = "completions", OPENAI
    return plain_question(body, asking, bounds, "usual")


def completion(*contents: str, role: str = "user", ascii_only: bool = False, **more: object) -> bytes:
    """Return a chat completion's body with a message for each content, and further fields."""
    fields = {"model": "m", "messages": [{"role": role, "content": one} for one in contents], **more}
    return json.dumps(fields, ensure_ascii=ascii_only).encode()


def lengthened(body: bytes) -> bytes:
    """Return the body with a message of LONG bytes before its first one; the same body if it has no list."""
    return body.replace(b"[", b'[{"role":"user","content":"%b"},' % (b"x" * LONG), 1)


MESSAGE = b'{"role":"user","content":"Hi"}'
PLAIN: dict[str, bytes] = {
    "plain": completion("Hello"),
    "white space": b' { "messages" : [ {"content":"Hi", "role" : "assistant"} ] ,\n"model":"m" }\r\n',
    "streamed": completion("Hello", stream=True),
    "not streamed": completion("Hello", stream=False),
    "stream is null": completion("Hello", stream=None),
    "system": completion("Be brief.", role="system"),
    "several": completion("Hello", "there", " ", "\u2028"),
    "escapes": completion('"', "\\", '\\"', '\\\\""\\', '{"a":"b\\"}', "\n\t\0/", stream=True),
    "other letters": completion("Gr\u00fc\u00dfe \U0001f600"),
    "escaped letters": completion("Gr\u00fc\u00dfe \U0001f600", ascii_only=True),
    "many bytes": completion(*["x" * 500] * 400),
    "no space": b'{"model":"m","messages":[%b,%b],"stream":true}' % (MESSAGE, MESSAGE),
    "no space, other letters": '{"stream":false,"messages":[{"content":"Gr\u00fc\u00dfe","role":"system"}],"model":"\u00fc"}'.encode(),
    "an escaped key": b'{"m\\u006fdel":"m","messages":[{"role":"user","content":"Hi"}]}',
}
"""Plain bodies."""


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("case", PLAIN)
def test_plain_body_is_read_as_the_general_reader_reads_it(case: str, *, long: bool) -> None:
    """A plain body, short or long, gives the question, the stream flag and the wire that the general reader gives."""
    body = lengthened(PLAIN[case]) if long else PLAIN[case]
    read = plainly(body)
    assert read is not None
    assert read == generally(body)
    assert type(read.ask.messages) is TextMessages


OTHERS: dict[str, bytes] = {
    "a further field": completion("Hello", temperature=1),
    "a key twice": b'{"model":"a","model":"m","messages":[%b]}' % MESSAGE,
    "messages twice": b'{"model":"m","messages":[],"messages":[%b]}' % MESSAGE,
    "stream twice": b'{"model":"m","messages":[%b],"stream":true,"stream":false}' % MESSAGE,
    "a role twice": b'{"model":"m","messages":[{"role":"user","role":"user","content":"Hi"}]}',
    "a content twice, and backslashes": b'{"model":"m","messages":[{"role":"user","content":"\\\\","content":"\\""}]}',
    "a name": b'{"model":"m","messages":[{"role":"user","content":"Hi","name":"Ann"}]}',
    "no content": b'{"model":"m","messages":[{"role":"assistant"}]}',
    "an empty content": completion("Hello", ""),
    "parts": b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}]}',
    "a developer": completion("Hello", role="developer"),
    "a tool": completion("Hello", role="tool"),
    "no message": completion(),
    "no messages": b'{"model":"m"}',
    "no model": b'{"messages":[%b]}' % MESSAGE,
    "an empty model": b'{"model":"","messages":[%b]}' % MESSAGE,
    "a number as stream": completion("Hello", stream=1),
    "half a surrogate pair": b'{"model":"m","messages":[{"role":"user","content":"\\ud83d"}]}',
    "not UTF-8": b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}',
    "a byte order mark": "\ufeff".encode() + completion("Hello"),
    "not JSON": completion("Hello")[:-1],
    "more than JSON": completion("Hello") + b"{}",
    "a list": b"[%b]" % completion("Hello"),
    "nothing": b"",
    "many bytes": completion("x" * ON_LOOP_BYTES),
}
"""Bodies that are not plain, most of them invalid."""


def never_plain(*_: object) -> None:
    """Return None, as for a body that is not plain."""


async def read_with_defaults(asking: Request) -> Asked:
    """Return the question of a request to a server without a `server` block."""
    with Holdings() as held:
        return await Intake().read(asking, Server(), "usual", none_kept, held=held)


async def outcome(read: Callable[[T], Asked | Awaitable[Asked]], given: T) -> Asked | tuple[type[Exception], str]:
    """Return the question that is read, or the type and sentence of the error."""
    try:
        made = read(given)
        return made if isinstance(made, Asked) else await made
    except (BadAsk, TooLarge) as error:
        return type(error), error.public


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("case", OTHERS)
async def test_body_that_is_not_plain_is_left_to_the_general_reader(case: str, *, long: bool) -> None:
    """A body, short or long, that is not plain is not read as one: its question, or its error, is that of the general reader."""
    body = lengthened(OTHERS[case]) if long else OTHERS[case]
    assert plainly(body) is None
    asking = request(body, "/v1/chat/completions")
    asking.surface, asking.wire = "completions", OPENAI
    expected, made = await outcome(generally, body), await outcome(read_with_defaults, asking)
    assert made == expected


OF_A_CHAT: dict[str, tuple[bytes, str | None, bool]] = {
    "messages alone": (b'{"messages":[%b]}' % MESSAGE, None, True),
    "a model": (completion("Hello"), None, True),
    "a model in the path": (completion("Hello"), "path", True),
    "a model in the path alone": (b'{"messages":[%b]}' % MESSAGE, "path", True),
    "an empty model under one in the path": (b'{"model":"","messages":[%b]}' % MESSAGE, "path", True),
    "an empty model in the path": (completion("Hello"), "", False),
    "an empty model": (b'{"model":"","messages":[%b]}' % MESSAGE, None, False),
    "null as model": (b'{"model":null,"messages":[%b]}' % MESSAGE, None, False),
    "streamed": (completion("Hello", stream=True), "path", True),
    "not streamed": (completion("Hello", stream=False), None, True),
    "stream is null": (completion("Hello", stream=None), None, True),
    "an id": (completion("Hello", id="chat-1"), None, False),
    "a trigger": (completion("Hello", trigger="submit-message"), None, False),
    "a kept history": (b'{"message":%b}' % MESSAGE, None, False),
    "messages twice": (b'{"messages":[],"messages":[%b]}' % MESSAGE, None, False),
    "messages twice under a model in the path": (b'{"messages":[],"messages":[%b]}' % MESSAGE, "path", False),
    "a selected model": (completion("Hello", selectedChatModel="other"), None, False),
}
"""Bodies for the router's own address, with the model in its path, and whether they are plain."""


@pytest.mark.parametrize("protocol", ["auto", "line", "ui-message-stream"])
@pytest.mark.parametrize("case", OF_A_CHAT)
async def test_chat_body_is_read_as_the_general_reader_reads_it(case: str, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain body at /api/chat gives what the general reader gives: the question, the stream flag, the wires of answer and errors."""
    body, model, plain = OF_A_CHAT[case]

    def asking() -> Request:
        made = request(body, "/api/chat" if model is None else f"/api/chat/{model}")
        made.model = model
        made.speaks(protocol)
        return made

    assert (plain_question(body, asking(), WIDE, "usual") is not None) is plain
    one, other = asking(), asking()
    made = await outcome(read_with_defaults, one)
    monkeypatch.setattr("router.intake.intake.plain_question", never_plain)
    assert made == await outcome(read_with_defaults, other)
    assert one.wire is other.wire


@pytest.mark.parametrize("bounds", [RequestBounds(messages=2), RequestBounds(depth=2), RequestBounds(values=7)], ids=str)
def test_plain_body_beyond_a_bound_is_left_to_the_general_reader(bounds: RequestBounds) -> None:
    """A plain body with too many messages, levels or values is refused as the general reader refuses it."""
    body = completion("one", "two", "three")
    assert plainly(body, bounds) is None
    with pytest.raises((BadAsk, TooLarge)):
        generally(body, bounds)


@pytest.mark.parametrize("case", ["a model in the path", "another API"])
async def test_plain_body_of_another_request_is_left_to_the_general_reader(case: str) -> None:
    """The model in a path counts instead of the body's; a body for another API keeps what that API reads of it."""
    asking = request(completion("Hello"))
    if case == "a model in the path":
        asking.surface, asking.model = "completions", "of-the-path"
    with Holdings() as held:
        asked = await read(Intake(), asking, held)
    assert (asked.ask.model, asked.stream) == (("of-the-path", False) if case == "a model in the path" else ("m", True))


TEXT = st.text(alphabet='a"\\:,{}[] \n\u00e9\U0001f600\ud800', max_size=6)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), TEXT), max_size=3), st.booleans(), st.booleans())
def test_random_plain_body_is_read_as_the_general_reader_reads_it(said: list[tuple[str, str]], ascii_only: bool, streamed: bool) -> None:
    """A plain body is read as the general reader reads it, or left to that reader, whatever its texts hold."""
    more = {"stream": True} if streamed else {}
    fields = {"model": "m", "messages": [{"role": role, "content": content} for role, content in said], **more}
    body = json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    read = plainly(body)
    assert (read is None) is (not said or any(not text or "\ud800" in text for _, text in said))
    assert read is None or read == generally(body)


class Connection:
    """A client's connection that has received a whole body."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def received(self, receive: Receive, most: int) -> bytes | None:
        """Return the body, if it has at most `most` bytes."""
        return self.body if len(self.body) <= most else None


async def test_body_that_has_arrived_is_read_without_receiving_and_counted_until_the_request_ends() -> None:
    """A body that the connection has is read without a call of `receive`; its bytes count for the bound on all bodies."""
    body, bodies = completion("Hello"), Bodies(2 * SERVER.request.body)
    asking = Request(dict(request(b"").scope), lambda: pytest.fail("received"))
    asking.client = Connection(body)
    with Holdings() as held:
        assert bodies.arrived(asking, SERVER.request, held) == body
        assert bodies.held == len(body)
    assert bodies.held == 0


@pytest.mark.parametrize("case", ["too large", "too many", "another server"])
async def test_body_that_exceeds_a_bound_or_is_received_elsewhere_is_received(case: str) -> None:
    """A body that may exceed a bound is received, which refuses it; so is the body of a request to another server."""
    body, bounds = completion("x" * 1000 if case == "too large" else "Hello"), SERVER.request
    bodies, asking = Bodies(bounds.body if case == "too many" else 4 * bounds.body), request(body)
    asking.client = None if case == "another server" else Connection(body)
    bodies.held = 500
    with Holdings() as held:
        assert bodies.arrived(asking, bounds, held) is None
    assert bodies.held == 500
