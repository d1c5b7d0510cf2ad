"""Text that a read from the provider passes on to the client by itself, while the answer's task sleeps, and when the task goes on."""

import asyncio
import gc
import json
import weakref
import zlib
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench import wire
from bench.by_hand import ByHand
from router.answering.reply import MAX_COLLECTED
from router.wire import openai
from tests.support.by_hand import fed_by_hand

ROUTES = """
targets:
  a: {model: openai/a, api_base: 'http://127.0.0.1:9/v1', api_key: k}
  native: {model: openai/gpt-4o, api_base: 'http://127.0.0.1:9/v1', api_key: k}
  neither: {model: openai/b, api_base: 'http://127.0.0.1:9/v1', api_key: k, facts: {schemas: false, json_mode: false}}
routes:
  chat-model: {pipeline: chat, targets: [a]}
  native: {pipeline: chat, targets: [native], reasoning: show}
  neither: {pipeline: chat, targets: [neither], reasoning: show}
server:
  resume: {keep: 1m}
"""


@pytest.fixture
async def unasked(tmp_path: Path) -> AsyncGenerator[ByHand, None]:
    """A router whose connections are fed by hand."""
    async with fed_by_hand(tmp_path, ROUTES) as made:
        yield made


@pytest.fixture
async def hands(unasked: ByHand) -> ByHand:
    """The router of `unasked`, whose provider has begun to answer a streamed question."""
    await unasked.ask(question())
    assert b"first" in await unasked.say(wire.HEAD, wire.chunk("first "), wire.chunk("second "))
    return unasked


def question(model: str = "chat-model", **more: object) -> bytes:
    """Return the bytes of a streamed question."""
    return wire.request("/v1/chat/completions", {"model": model, "stream": True, **more}, {})


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


async def test_large_answer_is_written_once_to_a_client_that_does_not_read(unasked: ByHand) -> None:
    """An answer beyond the size at which output is flushed at once, after an event that was not flushed yet, is sent once."""
    await unasked.ask(question())
    unasked.client.pause_writing()
    words = [f"word{number} ".ljust(100) for number in range(MAX_COLLECTED // 100 + 1)]
    assert await unasked.say(wire.HEAD + b"".join(map(wire.chunk, words)) + wire.tail()) == b""
    unasked.client.resume_writing()
    await unasked.settle()
    said = unasked.line.heard()
    assert [said.count(word.encode()) for word in words] == [1] * len(words)
    assert said.endswith(b"0\r\n\r\n")


async def test_error_while_text_is_passed_on_ends_the_answer_with_a_failure(hands: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception within a read reaches the answer's task, which ends the stream with an error; the connection code is not disturbed."""
    encode = openai.quoted

    def broken(text: str) -> bytes:
        monkeypatch.setattr(openai, "quoted", encode)
        raise ZeroDivisionError(text)

    monkeypatch.setattr(openai, "quoted", broken)
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


async def test_hidden_thoughts_are_not_sent_in_whichever_reads_they_come(unasked: ByHand) -> None:
    """Thoughts before, between and after pieces of text, each in a read of its own or with text, are left out; the text is sent."""
    await unasked.ask(question())
    mixed = thought("hm2 ") + wire.chunk("two ") + thought("hm3 ")
    said = await unasked.say(wire.HEAD + thought("hm0 "), thought("hm1 "), wire.chunk("one "), mixed, thought("hm4 "), wire.chunk("three "))
    assert b"hm" not in said
    places = [said.index(word) for word in (b"one ", b"two ", b"three ")]
    assert places == sorted(places)


def thought(text: str) -> bytes:
    """Return a piece of reasoning as a server-sent event in an HTTP chunk of its own."""
    event = wire.chunk(text).partition(b"\r\n")[2][:-2].replace(b'"content"', b'"reasoning_content"')
    return b"%x\r\n%b\r\n" % (len(event), event)


async def test_compressed_stream_is_passed_on_read_by_read(unasked: ByHand) -> None:
    """The text of each read of a compressed body is sent once, although such a body is not passed on within its reads."""
    packer = zlib.compressobj(wbits=31)

    def packed(chunk: bytes) -> bytes:
        made = packer.compress(chunk.partition(b"\r\n")[2][:-2]) + packer.flush(zlib.Z_SYNC_FLUSH)
        return b"%x\r\n%b\r\n" % (len(made), made)

    await unasked.ask(question())
    head = wire.HEAD[:-2] + b"content-encoding: gzip\r\n\r\n"
    said = await unasked.say(head, packed(wire.chunk("one ")), packed(wire.chunk("two ")))
    assert said.index(b"one ") < said.index(b"two ")
    assert (await unasked.say(packed(wire.chunk("three ")))).count(b"three ") == 1


async def test_disconnected_client_gets_nothing_from_a_later_read(hands: ByHand) -> None:
    """After a client's disconnect nothing is written to its connection, neither before the answer's task ends nor after."""
    hands.provider.data_received(wire.chunk("third "))
    assert b"third " in hands.line.heard()
    hands.client.connection_lost(None)
    hands.provider.data_received(wire.chunk("fourth "))
    assert hands.line.heard() == b""
    assert await hands.say(wire.chunk("fifth ")) == b""


async def test_end_of_the_body_in_one_read_with_text_wakes_the_answer(hands: ByHand) -> None:
    """A body that ends without a finish, in the read of its last text, is noticed with that read, and not after the idle limit."""
    waiter = cast("Any", hands.provider)._waiter
    hands.provider.data_received(wire.chunk("last ") + b"0\r\n\r\n")
    assert b"last " in hands.line.heard()
    assert waiter.done()


async def test_client_that_leaves_ends_the_second_of_two_pipelined_requests(hands: ByHand) -> None:
    """A disconnect ends the request that runs, also if it was sent before the answer to an earlier one was over."""
    await hands.ask(question())
    await hands.say(wire.tail())
    assert hands.edge.admin.chat.running == 1
    assert b"again " in await hands.say(wire.HEAD, wire.chunk("again "))
    hands.client.connection_lost(None)
    await hands.settle()
    assert hands.edge.admin.chat.running == 0


@pytest.mark.parametrize("turns", range(8))
async def test_client_that_leaves_before_its_recorded_answer_begins_leaves_nothing_running(unasked: ByHand, turns: int) -> None:
    """A disconnect so many turns of the event loop after a request whose answer is recorded ends the answer (no `resume.grace`)."""
    body: dict[str, object] = {
        "id": "c1",
        "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}],
        "model": "chat-model",
    }
    unasked.client.data_received(wire.request("/api/chat/chat-model", body, {}))
    for _ in range(turns):
        await asyncio.sleep(0)
    unasked.client.connection_lost(None)
    await unasked.settle()
    await unasked.settle()
    assert unasked.edge.admin.chat.running == 0


async def test_idle_connection_does_not_hold_the_answer_that_is_over(hands: ByHand) -> None:
    """The provider's connection, which is kept for the next request, has no reference to what passed its text on."""
    passing = weakref.ref(cast("Any", hands.provider)._onward)
    assert passing() is not None
    gc.collect()
    gc.disable()
    try:
        await hands.say(wire.tail())
        assert passing() is None
    finally:
        gc.enable()


async def test_time_in_which_the_client_does_not_read_is_not_the_silence_of_its_provider(hands: ByHand) -> None:
    """While writing is paused, bytes of the provider that are no text do not make the idle limit pass."""
    watch = cast("Any", hands.provider)._onward._take.__self__.watch
    loop = watch.loop
    time = loop.time()
    watch.loop = SimpleNamespace(time=lambda: time, call_at=loop.call_at, call_later=loop.call_later)
    hands.client.pause_writing()
    await hands.say(wire.chunk("one "))
    due, time = watch.due, time + 5
    ping = b": ping\n\n"
    await hands.say(b"%x\r\n%b\r\n" % (len(ping), ping))
    hands.client.resume_writing()
    await hands.settle()
    assert watch.due == due + 5


@pytest.mark.parametrize("route", ["native", "neither"])
async def test_text_of_a_required_form_is_checked_in_whichever_reads_it_comes(unasked: ByHand, route: str) -> None:
    """JSON that comes in several reads is complete and valid in the end, and a piece of it is sent early only by a native target."""
    schema = {"type": "object", "properties": {"zip": {"type": "integer"}}, "required": ["zip"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    unasked.client.data_received(question(route, response_format=form))
    async with asyncio.timeout(240):
        while not unasked.asked:  # the schema is prepared in a thread
            await asyncio.sleep(0)
        said = await unasked.say(wire.HEAD, wire.chunk('{"zi'), wire.chunk('p": 3'))
        assert (b"zi" in said) == (route == "native")
        said += await unasked.say(wire.chunk("6}"), wire.tail())
        while not said.endswith(b"0\r\n\r\n"):  # so is the answer checked
            await asyncio.sleep(0)
            said += unasked.line.heard()
    chunks = [json.loads(line[6:]) for line in said.split(b"\n") if line.startswith(b"data: {")]
    assert not [chunk for chunk in chunks if "error" in chunk]
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks if one["choices"]) == '{"zip": 36}'


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_shutdown_in_the_turn_of_an_answers_end_adds_nothing(
    unasked: ByHand, caplog: pytest.LogCaptureFixture, *, stream: bool, turns: int
) -> None:
    """A request that a shutdown cancels around the end of its answer has one response with an end, and no error in the log."""
    await unasked.ask(question(stream=stream))
    unasked.provider.data_received(wire.HEAD + wire.chunk("Hello") + wire.tail())
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in list(unasked.edge.admin.chat._asking):
        task.cancel()
    await unasked.settle()
    said = unasked.line.heard()
    assert said.count(b"HTTP/1.1 ") == 1
    assert said.endswith((b"0\r\n\r\n", b"}"))  # a refusal is one body
    assert not [record for record in caplog.records if record.name in ("uvicorn.error", "router.problems")]
