"""The one way of a body into the router: its question, the dialect that is known by then, and how long its bytes count."""

import json
from typing import Any

import pytest

from router.config.server import RequestBounds, Server
from router.errors import BadAsk, Crowded, UnknownResponse
from router.intake import Asked, Intake, KeptResponse, Request
from router.intake.fields import Fields
from router.lifecycle import Holdings

SERVER = Server(request=RequestBounds(body=1000))
SAID = {"messages": [{"role": "user", "content": "Hello"}]}
OF_A_PAGE = {"id": "chat-1", "trigger": "submit-message", "messages": [{"role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}


def request(body: bytes, path: str = "/api/chat", **headers: str) -> Request:
    """A request with this body, in one piece."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": path, "headers": sent, "client": ("127.0.0.1", 1)}, receive)


async def none_kept(fields: Fields, name: str) -> KeptResponse:
    """Keep nothing."""
    raise UnknownResponse


async def read(intake: Intake, asking: Request, held: Holdings) -> Asked:
    """Return the question that a request asks; `usual` answers where it names no model."""
    asking.speaks(SERVER.protocol)
    return await intake.read(asking, SERVER, "usual", none_kept, held=held)


async def test_request_is_one_value_after_it_was_read() -> None:
    """Its question, the form of its answer, its dialect, its chat and its wishes to caches."""
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
async def test_error_has_the_dialect_that_is_known_by_then(body: bytes, headers: dict[str, str], expected: str) -> None:
    """A client reads what is wrong in the dialect that it names, or that the beginning of its body gives away."""
    asking = request(body, **headers)
    with Holdings() as held, pytest.raises(BadAsk):
        await read(Intake(), asking, held)
    assert asking.wire.name == expected


async def test_field_in_a_header_stands_over_the_body() -> None:
    """As in the protocol of the AI SDK's gateway, whose model stands there."""
    asking = request(json.dumps({**SAID, "model": "of-the-body"}).encode())
    asking.stated = {"model": "of-the-header"}
    with Holdings() as held:
        assert (await read(Intake(), asking, held)).ask.model == "of-the-header"


async def test_body_counts_until_its_request_ends() -> None:
    """Its question is held as long as its answer is made: another one of that size comes too early until then."""
    body = json.dumps({**SAID, "filler": "x" * 500}).encode()
    intake = Intake(most=1)  # a body of the largest size is read all the same: two of these are larger
    with Holdings() as first, Holdings() as second:
        await read(intake, request(body), first)
        with pytest.raises(Crowded):
            await read(intake, request(body), second)
    with Holdings() as third:
        await read(intake, request(body), third)
