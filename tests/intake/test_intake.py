"""Reading a request into one question: the question itself, the wire of an error, and how long the body's bytes count."""

import json
from typing import Any, cast

import pytest

from router.chat import OutputFormat, ToolSpec
from router.config.server import RequestBounds, Server
from router.errors import BadAsk, Crowded, UnknownResponse
from router.intake import Asked, Intake, KeptResponse, Request, question
from router.intake.client_tools import EMPTY
from router.intake.fields import Fields
from router.lifecycle import Holdings
from router.params import Params
from router.value import replace

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
