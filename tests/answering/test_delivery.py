"""Text that a read from the provider passes on to the client by itself, while the answer's task sleeps, and when the task goes on."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bench import wire
from bench.by_hand import ByHand
from router.wire import openai

ROUTES = """
targets:
  a: {model: openai/a, api_base: 'http://127.0.0.1:9/v1', api_key: k}
routes:
  chat-model: {pipeline: chat, targets: [a]}
server:
  resume: {keep: 1m}
"""


@pytest.fixture
async def hands(tmp_path: Path) -> AsyncGenerator[ByHand, None]:
    """A router whose connections are fed by hand, and whose provider has begun to answer a streamed question."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/chat.yaml").write_text("steps: []\n", encoding="utf-8")
    (tmp_path / "routes.yaml").write_text(ROUTES, encoding="utf-8")
    made = ByHand(tmp_path / "routes.yaml")
    await made.ask(wire.request("/v1/chat/completions", {"model": "chat-model", "stream": True}, {}))
    assert b"first" in await made.say(wire.HEAD, wire.chunk("first "), wire.chunk("second "))
    yield made
    await made.close()


async def test_text_is_written_to_the_client_within_the_read_that_brings_it(hands: ByHand) -> None:
    """A chunk of text has been written when the provider connection's `data_received` returns, without a turn of the event loop."""
    for word in ("third ", "four\u00e9 ", "f\U0001f600 "):
        hands.provider.data_received(wire.chunk(word))
        assert word.encode() in hands.line.heard()
    said = await hands.say(wire.chunk("last "), wire.tail())
    assert b"last " in said
    assert b'"finish_reason":"stop"' in said
    assert said.endswith(b"0\r\n\r\n")


async def test_text_waits_while_the_client_does_not_read(hands: ByHand) -> None:
    """Chunks that come while writing is paused are written in their order once it resumes; later ones within their read again."""
    hands.client.pause_writing()
    assert await hands.say(wire.chunk("one "), wire.chunk("two "), wire.chunk("three ")) == b""
    hands.client.resume_writing()
    await hands.settle()
    said = hands.line.heard()
    places = [said.index(word) for word in (b"one ", b"two ", b"three ")]
    assert places == sorted(places)
    await hands.say(wire.chunk("four "))
    hands.provider.data_received(wire.chunk("five "))
    assert b"five " in hands.line.heard()


async def test_error_while_text_is_passed_on_ends_the_answer_with_a_failure(hands: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception within a read reaches the answer's task, which ends the stream with an error; the connection code is not disturbed."""
    encode = openai.utf8

    def broken(text: str) -> bytes:
        monkeypatch.setattr(openai, "utf8", encode)
        raise ZeroDivisionError(text)

    monkeypatch.setattr(openai, "utf8", broken)
    hands.provider.data_received(wire.chunk("lost "))
    await hands.settle()
    said = hands.line.heard()
    assert b'"error"' in said
    assert b"lost" not in said
    assert said.endswith(b"0\r\n\r\n")


async def test_event_of_another_kind_is_sent_after_the_text_before_it(hands: ByHand) -> None:
    """A finish that comes in one read with text, after text that was passed on by a read, keeps its place."""
    hands.provider.data_received(wire.chunk("third "))
    hands.provider.data_received(wire.chunk("fourth ") + wire.tail())
    await hands.settle()
    said = hands.line.heard()
    assert said.index(b"third ") < said.index(b"fourth ") < said.index(b'"finish_reason":"stop"')


async def test_read_without_a_complete_event_writes_nothing_and_loses_nothing(hands: ByHand) -> None:
    """A chunk that comes in two reads is written once, after the second."""
    chunk = wire.chunk("split ")
    assert await hands.say(chunk[:60]) == b""
    assert (await hands.say(chunk[60:])).count(b"split ") == 1


async def test_disconnected_client_gets_nothing_from_a_later_read(hands: ByHand) -> None:
    """After a client's disconnect nothing is written to its connection, neither before the answer's task ends nor after."""
    hands.provider.data_received(wire.chunk("third "))
    assert b"third " in hands.line.heard()
    hands.client.connection_lost(None)
    hands.provider.data_received(wire.chunk("fourth "))
    assert hands.line.heard() == b""
    assert await hands.say(wire.chunk("fifth ")) == b""
