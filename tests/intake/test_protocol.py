"""The choice of the wire in which a request is answered."""

from typing import Any

import pytest

from router.errors import BadAsk
from router.intake import protocol
from router.wire import WIRES

PLAIN: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "model": "gpt-4"}
SDK_4: dict[str, Any] = {"id": "c", "messages": [{"role": "user", "content": "Hi", "parts": [{"type": "text", "text": "Hi"}]}]}
SDK_5: dict[str, Any] = {
    "id": "c",
    "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}],
    "trigger": "submit-message",
}
BOT: dict[str, Any] = {
    "id": "c",
    "message": {"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hi"}]},
    "selectedChatModel": "chat-model",
    "selectedVisibilityType": "private",
}
"""The request body of a chatbot front end whose server keeps the history."""
BOT_4: dict[str, Any] = {**BOT, "message": {**BOT["message"], "content": "Hi", "createdAt": "2025-06-01T00:00:00.000Z"}}

CHOICES: list[tuple[str | None, str, str, dict[str, Any], str]] = [
    # named, path, server.protocol, body, the dialect
    (None, "/api/chat", "auto", {}, "line"),
    (None, "/api/chat", "auto", PLAIN, "line"),
    (None, "/api/chat", "auto", SDK_4, "data-stream"),
    (None, "/api/chat", "auto", {"messages": [{"role": "user", "content": "Hi", "experimental_attachments": []}]}, "data-stream"),
    (None, "/api/chat", "auto", {"messages": [{"role": "assistant", "content": "", "toolInvocations": []}]}, "data-stream"),
    (None, "/api/chat", "auto", {"messages": [*PLAIN["messages"], *SDK_4["messages"]]}, "data-stream"),
    (None, "/api/chat", "auto", SDK_5, "ui-message-stream"),
    (None, "/api/chat", "auto", {"messages": SDK_5["messages"]}, "ui-message-stream"),
    (None, "/api/chat", "auto", {"messages": [{"role": "user", "content": None, "parts": []}]}, "ui-message-stream"),
    (None, "/api/chat", "auto", {"messages": [], "trigger": "regenerate-message"}, "ui-message-stream"),
    (None, "/api/chat", "auto", {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, "line"),
    (None, "/api/chat", "auto", BOT, "ui-message-stream"),
    (None, "/api/chat", "auto", {**BOT, "messages": None}, "ui-message-stream"),
    (None, "/api/chat", "auto", BOT_4, "data-stream"),
    (None, "/api/chat", "auto", {"message": {"role": "user", "content": "Hi"}}, "line"),
    (None, "/api/chat", "auto", {**PLAIN, "message": BOT["message"]}, "line"),
    (None, "/api/chat", "auto", {"message": "Hi"}, "line"),
    (None, "/api/chat", "auto", {"messages": "Hi"}, "line"),
    (None, "/api/chat", "auto", {"messages": ["Hi", None, []]}, "line"),
    (None, "/api/chat/claude", "auto", SDK_5, "ui-message-stream"),
    (None, "/api/chat", "text", SDK_5, "text"),
    (None, "/api/chat", "openai", PLAIN, "openai"),
    (None, "/v1/chat/completions", "auto", PLAIN, "openai"),
    (None, "/v1/chat/completions", "auto", SDK_5, "openai"),
    (None, "/v1/chat/completions", "line", PLAIN, "openai"),
    ("line", "/v1/chat/completions", "text", SDK_5, "line"),
    ("data-stream", "/api/chat", "text", SDK_5, "data-stream"),
]


@pytest.mark.parametrize("row", CHOICES, ids=str)
def test_wire_is_chosen_by_request_then_path_then_server_then_body(row: tuple[str | None, str, str, dict[str, Any], str]) -> None:
    """The wire is that of the request's parameter, else of its path, else of `server.protocol`, else of the body's shape."""
    named, path, declared, fields, expected = row
    before = protocol.chosen(named, path, declared)
    assert (protocol.spoken(fields) if before is protocol.UNDECIDED else before).name == expected


REQUESTS: list[tuple[bytes, bytes, str | None]] = [
    (b"", b"", None),
    (b"chatId=1", b"", None),
    (b"protocol=", b"", None),
    (b"protocol=openai", b"", "openai"),
    (b"chatId=1&protocol=data-stream", b"text", "data-stream"),
    (b"", b" ui-message-stream ", "ui-message-stream"),
]


@pytest.mark.parametrize("row", REQUESTS, ids=str)
def test_protocol_query_parameter_overrides_the_header(row: tuple[bytes, bytes, str | None]) -> None:
    """The query parameter `protocol` overrides the header, and empty values count as missing."""
    query, header, expected = row
    assert protocol.requested(query, header) == expected


@pytest.mark.parametrize(("query", "header"), [(b"protocol=sse", b""), (b"protocol=LINE", b"line"), (b"protocol=%ff", b""), (b"", b"\xff")])
def test_unknown_protocol_raises_bad_ask_listing_the_wires(query: bytes, header: bytes) -> None:
    """An unknown protocol name raises BadAsk that lists the known wires and does not repeat the name."""
    with pytest.raises(BadAsk) as caught:
        protocol.requested(query, header)
    assert caught.value.public == f"protocol: one of {', '.join(WIRES)} is needed."
