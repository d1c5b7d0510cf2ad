"""Every fault of a provider and of a tool, through every lane, as a front end meets it.

One table: a row is a fault and what must come of it, with a healthy target behind (`spare`) and without one (`alone`), for
an answer in plain text and for one that uses a tool first. Whatever happens: one terminal event, in time, nothing that nobody
foresaw, no half answer that looks like a whole one, and neither the key nor a word of the provider's anywhere.

`make faults` runs just this and shows how each case ended, and when.
"""

import asyncio
import gc
import itertools
import json
import logging
import re
import socket
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, cast

import aiohttp
import pytest

from router.chat import Ask
from router.journal.log import JsonLines
from tests.conftest import CHAT, Answered, Client, Workspace, serving
from tests.support.promises import hold
from tests.support.upstream import (
    ANSWER,
    WORDS,
    Anthropic,
    Call,
    Dialect,
    Exchange,
    Fault,
    Google,
    Honest,
    OpenAI,
    Said,
    Upstream,
    Upstreams,
    pieces,
    upstreams,
    well,
)

KEY = "sk-key-canary"
SLACK = 50.0
"""Seconds that a loaded machine may take on top of a case's own time. Less than the limits of a case that is not about them."""
PATIENT = {"connect": "60s", "first_token": "60s", "idle": "60s", "tool": "60s", "total": "300s"}
BRIEF = {"connect": "3s", "first_token": "4s", "idle": "4s", "tool": "3s", "total": "60s"}
ENDLESS = "600s"
"""A limit that is not to be waited for: a case that waited would end with the test's own time."""
Lane = Literal["openai", "anthropic", "gemini", "litellm"]
Kind = Literal["text", "tools"]
Company = Literal["spare", "alone"]
LANES: dict[Lane, tuple[Dialect, str, dict[str, str]]] = {
    "openai": (OpenAI(), "openai", {}),
    "anthropic": (Anthropic(), "anthropic", {}),
    "gemini": (Google(), "gemini", {}),
    "litellm": (OpenAI(), "openai", {"via": "litellm"}),
}
AT_ONCE: dict[Lane, dict[str, int]] = {
    "openai": {"waits": 24, "works": 3},
    "anthropic": {"waits": 24, "works": 3},
    "gemini": {"waits": 24, "works": 3},
    "litellm": {"waits": 6, "works": 3},
}
"""Cases that run side by side: those that mostly wait, and those that work, which must not make the others late."""
KINDS: tuple[Kind, ...] = ("text", "tools")
BEIJING: Call = ("call_1", "get_weather", '{"location": "北京"}')
ROME: Call = ("call_2", "get_weather", '{"location": "Rome"}')


def model(*calls: Call, text: str = ANSWER, rounds: int = 1, size: int = 5) -> Said:
    """What a model says: calls, as long as it has tools and has not called so often, then a text; or the rest of it."""

    def said(wire: Dialect, body: Mapping[str, Any]) -> Honest:
        if body.get("tools") and wire.rounds(body) < rounds:
            return wire.calls(*(calls or (BEIJING,)), size=size)
        return wire.text(pieces(text[len(wire.said(body) or "") :]))

    return said


# What a case came to, and what may be asked of it.


@dataclass(repr=False)
class Outcome:
    """How a case ended."""

    answer: Answered
    seconds: float
    asked: dict[str, int]
    """Target → requests it got."""
    attempts: list[str] = field(default_factory=list[str])
    """Of the log: target:outcome."""
    unforeseen: list[str] = field(default_factory=list[str])
    leaks: list[str] = field(default_factory=list[str])
    lag: float = 0.0
    turns: int = 0
    """Times that the loop came round meanwhile, at most fifty a second."""
    """The longest time the loop did not turn, in seconds; measured for heavy cases."""
    ahead: int = 0
    """Bytes that were taken from the provider while nobody read; measured for the slow reader."""

    @cached_property
    def lines(self) -> list[tuple[str, dict[str, Any]]]:
        """The lines of a stream, none of an error."""
        return self.answer.lines if self.answer.status == 200 else []

    @cached_property
    def text(self) -> str:
        """What was said."""
        return "".join(value["textDelta"] for value in self.of("0"))

    @cached_property
    def codes(self) -> str:
        """The codes of the lines, runs of text as one."""
        return "".join(code * (1 if code == "0" else len(list(run))) for code, run in itertools.groupby(code for code, _ in self.lines))

    @property
    def reason(self) -> str:
        """The finish reason, or the code of an error."""
        return str(self.lines[-1][1]["finishReason"] if self.lines else self.answer.json["code"])

    def of(self, code: str) -> list[dict[str, Any]]:
        """The lines of one code."""
        return [value for each, value in self.lines if each == code]

    def truncated(self, text: str) -> bool:
        """Whether it says that it is whole, and is not."""
        return self.answer.status == 200 and self.reason in ("stop", "unknown", "other") and self.text != text

    def __str__(self) -> str:
        if self.answer.status != 200:
            return f"{self.answer.status} {self.reason}"
        return {"stop": "whole", "error": "told"}.get(self.reason, self.reason)


Check = Callable[[Outcome, "Case"], None]


def whole(outcome: Outcome, case: "Case") -> None:
    """All of the answer, once, and a good end."""
    assert outcome.answer.status == 200, outcome.answer.body
    assert outcome.text == case.row.text
    assert outcome.codes == ("0d" if case.kind == "text" else "9a0d")
    assert outcome.reason == "stop"


def nothing_to_add(outcome: Outcome, case: "Case") -> None:
    """A call, its result, and a good end: a model that was told a result may have nothing to say."""
    assert outcome.codes == "9ad"
    assert outcome.reason == "stop"


def counted(outcome: Outcome, case: "Case") -> None:
    """The same, and the tokens as the provider counted them."""
    whole(outcome, case)
    rounds = 1 if case.kind == "text" else 2
    assert outcome.lines[-1][1]["usage"] == {"promptTokens": 11 * rounds, "completionTokens": 3 * rounds}


def refused(status: int, code: str, *, wait: range | None = None) -> Check:
    """An HTTP error before the first byte. `wait`: what its Retry-After may say."""

    def check(outcome: Outcome, case: "Case") -> None:
        assert (outcome.answer.status, outcome.reason) == (status, code), outcome.answer.body
        told = outcome.answer.headers.get("retry-after")
        assert (told is None) if wait is None else (told is not None and int(told) in wait), told

    return check


def unasked(check: Check) -> Check:
    """This, and nobody else was asked."""

    def checked(outcome: Outcome, case: "Case") -> None:
        check(outcome, case)
        assert outcome.asked.get("b", 0) == 0

    return checked


def told(outcome: Outcome, case: "Case") -> None:
    """One error after what was said, which is the beginning of the answer."""
    assert outcome.answer.status == 200, outcome.answer.body
    assert outcome.reason == "error"
    assert case.row.text.startswith(outcome.text)


def failed(outcome: Outcome, case: "Case") -> None:
    """One error, before the first word or after it."""
    if outcome.answer.status == 200:
        told(outcome, case)
    else:
        assert outcome.answer.status >= 500


def either(*checks: Check) -> Check:
    """Any of these."""

    def check(outcome: Outcome, case: "Case") -> None:
        wrong: list[str] = []
        for one in checks:
            try:
                return one(outcome, case)
            except AssertionError as error:
                wrong.append(str(error))
        raise AssertionError("\n".join(wrong))

    return check


def late(outcome: Outcome, case: "Case") -> None:
    """Its whole time is over."""
    assert outcome.answer.status == 200, outcome.answer.body
    assert outcome.reason == "error"
    assert "too long" in outcome.of("3")[0]["error"]


def ran(*given: Mapping[str, object]) -> Check:
    """These calls of get_weather, each with an id of its own and its own result; then the answer."""

    def check(outcome: Outcome, case: "Case") -> None:
        called, results = outcome.of("9"), outcome.of("a")
        assert [one["args"] for one in called] == list(given)
        ids = [one["toolCallId"] for one in called]
        assert all(ids)
        assert len(set(ids)) == len(ids)
        assert {one["toolCallId"]: one["result"] for one in results} == {
            one["toolCallId"]: f"{one['args']['location']}: 25°C" for one in called
        }
        assert outcome.text == case.row.text
        assert outcome.reason == "stop"

    return check


def result(pattern: str, *, error: bool = True) -> Check:
    """One result that says this; then the answer."""

    def check(outcome: Outcome, case: "Case") -> None:
        whole(outcome, case)
        (one,) = outcome.of("a")
        assert one.get("isError", False) is error
        assert re.search(pattern, str(one["result"])[:400])
        assert "Traceback" not in str(one["result"])

    return check


def each_result(pattern: str, count: int) -> Check:
    """So many errors that say this; then the answer."""

    def check(outcome: Outcome, case: "Case") -> None:
        told = outcome.of("a")
        assert len(told) == count
        assert all(one["isError"] and re.search(pattern, one["result"]) for one in told)
        assert outcome.text == case.row.text
        assert outcome.reason == "stop"

    return check


def turning(check: Check, most: float) -> Check:
    """This, and the loop went on meanwhile: it never stood still for so many seconds."""

    def checked(outcome: Outcome, case: "Case") -> None:
        check(outcome, case)
        assert outcome.turns >= 5
        hold(outcome.lag, most)

    return checked


def steps(count: int) -> Check:
    """So many calls, each with its result; the reason says that it would go on."""

    def check(outcome: Outcome, case: "Case") -> None:
        assert outcome.codes == "9a" * count + "d"
        assert outcome.reason == "tool-calls"

    return check


def bounded(outcome: Outcome, case: "Case") -> None:
    """All of it arrives, and little of it waited here."""
    whole(outcome, case)
    assert outcome.ahead < MOST_AHEAD


# Faults before the first byte.


def status(code: int, message: str = "no", kind: str = "error", **headers: str) -> Fault:
    """An error that repeats the key."""

    async def fault(exchange: Exchange) -> None:
        body = exchange.wire.error(code, f"{message} {exchange.key} {WORDS}", kind)
        await exchange.whole(code, json.dumps(body).encode(), **headers)

    return fault


def once(fault: Fault) -> Fault:
    """This at first, then none."""

    async def first(exchange: Exchange) -> None:
        await (well if exchange.count else fault)(exchange)

    return first


def body(text: str, content_type: str = "application/json") -> Fault:
    """This under a 200."""

    async def fault(exchange: Exchange) -> None:
        await exchange.whole(200, text.encode(), content_type)

    return fault


def redirect(code: int) -> Fault:
    """To an upstream that would answer."""

    async def fault(exchange: Exchange) -> None:
        await exchange.whole(code, b"", location=f"{exchange.trap}/chat/completions")

    return fault


async def error_body(exchange: Exchange) -> None:
    """An error under a 200, as one JSON body."""
    await exchange.whole(200, json.dumps(exchange.wire.error(503, f"{WORDS} {exchange.key}", "")).encode())


async def error_first(exchange: Exchange) -> None:
    """An error as the first event of a stream."""
    await exchange.head()
    await exchange.send(exchange.wire.failing(503, f"{WORDS} {exchange.key}", "overloaded"))
    await exchange.end()


async def silence(exchange: Exchange) -> None:
    """Not even headers."""
    await exchange.hold()


async def headers_only(exchange: Exchange) -> None:
    """Headers, then nothing."""
    await exchange.head()
    await exchange.hold()


async def comments_only(exchange: Exchange) -> None:
    """Signs of life, and no word."""
    await exchange.head()
    while not exchange.writer.is_closing():
        await exchange.send(b": keep-alive\n\n")
        await asyncio.sleep(0.05)


async def nothing(exchange: Exchange) -> None:
    """A stream without an event."""
    await exchange.head()
    await exchange.end()


async def done_only(exchange: Exchange) -> None:
    """A stream with its end alone."""
    await exchange.head()
    await exchange.send(*exchange.honest.done)
    await exchange.end()


async def wordless(exchange: Exchange) -> None:
    """A good end to nothing."""
    await exchange.head()
    await exchange.send(*exchange.wire.text(()).frames)
    await exchange.end()


async def filtered(exchange: Exchange) -> None:
    """The filter's finish reason, before any word."""
    await exchange.head()
    await exchange.send(*exchange.wire.text((), finish="filtered").frames)
    await exchange.end()


# Faults in mid-stream.


async def _half(exchange: Exchange) -> None:
    """The first half of what it would say, which the client has then heard if it is words."""
    await exchange.head()
    await exchange.send(*exchange.honest.half)
    if not exchange.honest.calls:
        await exchange.heard.wait()


async def reset(exchange: Exchange) -> None:
    """RST in mid-answer."""
    await _half(exchange)
    exchange.reset()


async def cut(exchange: Exchange) -> None:
    """FIN in mid-answer, in the middle of an HTTP body."""
    await _half(exchange)


async def ended(exchange: Exchange) -> None:
    """A good end of the HTTP body in mid-answer."""
    await _half(exchange)
    await exchange.end()


async def closed(exchange: Exchange) -> None:
    """FIN in mid-answer, where a FIN is how the body ends."""
    await exchange.head(content_length="")
    await exchange.send(*exchange.honest.half)
    if not exchange.honest.calls:
        await exchange.heard.wait()


async def torn(exchange: Exchange) -> None:
    """FIN in the middle of a frame."""
    await _half(exchange)
    await exchange.send(exchange.honest.speech[-1][:30])


GARBAGE = bytes(range(128, 256)) * 8


async def garbled(exchange: Exchange) -> None:
    """Bytes that are no HTTP any more, in mid-answer."""
    await _half(exchange)
    exchange.writer.write(GARBAGE)
    await exchange.writer.drain()


async def unreadable(exchange: Exchange) -> None:
    """Bytes that are no event any more, in mid-answer, to a good end of the HTTP body."""
    await _half(exchange)
    await exchange.send(GARBAGE, b"\n\n", GARBAGE)
    await exchange.end()


async def damaged(exchange: Exchange) -> None:
    """Bytes that cannot be unpacked, in mid-answer."""
    packer = zlib.compressobj(wbits=31)
    await exchange.head(content_encoding="gzip")
    await exchange.send(packer.compress(b"".join(exchange.honest.half)) + packer.flush(zlib.Z_SYNC_FLUSH))
    if not exchange.honest.calls:
        await exchange.heard.wait()
    await exchange.send(GARBAGE)
    await exchange.end()


async def error_later(exchange: Exchange) -> None:
    """An error as an event, in mid-answer."""
    await _half(exchange)
    await exchange.send(exchange.wire.failing(529, f"{WORDS} {exchange.key}", "overloaded"))
    await exchange.end()


async def stall(exchange: Exchange) -> None:
    """Silence in mid-answer."""
    await _half(exchange)
    await exchange.hold()


async def stall_alive(exchange: Exchange) -> None:
    """Signs of life and no further word, in mid-answer."""
    await _half(exchange)
    while not exchange.writer.is_closing():
        await exchange.send(b": keep-alive\n\n")
        await asyncio.sleep(0.05)


async def filtered_later(exchange: Exchange) -> None:
    """The filter's finish reason, in mid-answer."""
    honest = exchange.honest
    if honest.calls:
        return await well(exchange)
    await exchange.head()
    await exchange.send(*honest.half, *exchange.wire.text((), finish="filtered").finish)
    await exchange.end()
    return None


async def no_done(exchange: Exchange) -> None:
    """A finish reason and the count, then the end of the body."""
    await exchange.head()
    await exchange.send(*exchange.honest.speech, *exchange.honest.finish, *exchange.honest.count)
    await exchange.end()


async def no_done_held(exchange: Exchange) -> None:
    """A finish reason and the count, then nothing; the connection stays open."""
    await exchange.head()
    await exchange.send(*exchange.honest.speech, *exchange.honest.finish, *exchange.honest.count)
    await exchange.hold()


async def no_done_reset(exchange: Exchange) -> None:
    """A finish reason and the count, then RST."""
    await exchange.head()
    await exchange.send(*exchange.honest.speech, *exchange.honest.finish, *exchange.honest.count)
    if not exchange.honest.calls:
        await exchange.heard.wait()
    exchange.reset()


# What is odd, and no fault: the answer is whole all the same.


def framed(change: Callable[[Exchange], list[bytes]]) -> Fault:
    """These frames in place of the honest ones."""

    async def fault(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send(*change(exchange))
        await exchange.end()

    return fault


def joined(change: Callable[[bytes], bytes]) -> Fault:
    """The whole body, changed, in one piece."""
    return framed(lambda exchange: [change(b"".join(exchange.honest.frames))])


async def byte_by_byte(exchange: Exchange) -> None:
    """One byte per write: inside of UTF-8, inside of JSON, inside of a line's end."""
    await exchange.head()
    for byte in b"".join(exchange.honest.frames):
        await exchange.send(bytes([byte]))
        await asyncio.sleep(0)
    await exchange.end()


def between(*odd: bytes) -> Fault:
    """These between the frames of the first half."""

    def change(exchange: Exchange) -> list[bytes]:
        half = len(exchange.honest.half)
        mixed = [piece for frame in exchange.honest.frames[1:half] for piece in (frame, *odd)]
        return [*exchange.honest.frames[:1], *mixed, *exchange.honest.frames[half:]]

    return framed(change)


def _frame(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def marked(exchange: Exchange) -> list[bytes]:
    """A byte-order mark, and no frame before the first that matters."""
    idle = 0 if exchange.honest.calls else 2 if isinstance(exchange.wire, Anthropic) else 1
    return [b"\xef\xbb\xbf" + b"".join(exchange.honest.frames[idle:])]


def finishes_twice(exchange: Exchange) -> list[bytes]:
    """The reason stands there twice, and so does the count."""
    honest = exchange.honest
    return [*honest.speech, *honest.finish, *honest.finish[-1:], *honest.count, *honest.count, *honest.done]


def no_reason(exchange: Exchange) -> list[bytes]:
    """The mark of the end, and no finish reason before it."""
    return [*exchange.honest.speech, *exchange.honest.done]


def talks_on(exchange: Exchange) -> list[bytes]:
    """Words after the finish reason."""
    honest = exchange.honest
    more = exchange.wire.text((" And more.",)).speech[-1:]
    return [*honest.speech, *honest.finish, *more, *honest.count, *honest.done, *more]


def count_alone(exchange: Exchange) -> list[bytes]:
    """The count comes first, alone, and last."""
    honest = exchange.honest
    return [*(honest.count or honest.speech[:1]), *honest.speech, *honest.finish, *honest.count, *honest.done]


async def giant_line(exchange: Exchange) -> None:
    """A line of 12 MB among the words."""
    await exchange.head()
    await exchange.send(*exchange.honest.half, b"data: {", *(b"x" * 1_000_000 for _ in range(12)), b"\n\n")
    await exchange.send(*exchange.honest.frames[len(exchange.honest.half) :])
    await exchange.end()


async def endless(exchange: Exchange) -> None:
    """Words for ever."""
    await exchange.head()
    await exchange.send(*exchange.wire.text(()).speech)
    for count in itertools.count():
        await exchange.send(*exchange.wire.text((f"{count} ",)).speech[-1:])
        await asyncio.sleep(0.005)


FLOOD = "".join(f"{index:07} " for index in range(125_000)) * 40
"""40 MB."""
MOST_AHEAD = 30_000_000
"""Bytes: more than the buffers of two connections hold, less than the flood."""


def flood(wire: Dialect, asked: Mapping[str, Any]) -> Honest:
    """Much more than anybody can hold."""
    return wire.text(pieces(FLOOD, 250_000))


# What a model may make of a tool.


def badly(*calls: Call, places: tuple[int, ...] = (), size: int = 5) -> Said:
    """These calls, cut and placed so."""

    def said(wire: Dialect, asked: Mapping[str, Any]) -> Honest:
        return wire.text(pieces(ANSWER)) if wire.rounds(asked) else wire.calls(*calls, places=places, size=size)

    return said


def named_again(wire: Dialect, asked: Mapping[str, Any]) -> Honest:
    """Id and name in every delta, as some servers send them."""
    if wire.rounds(asked):
        return wire.text(pieces(ANSWER))
    halves = [wire.calls((call_id, name, part), size=99) for call_id, name, given in (BEIJING,) for part in pieces(given, 9)]
    if isinstance(wire, Anthropic | Google):
        return wire.calls(BEIJING)
    return Honest(tuple(frame for half in halves for frame in half.speech), halves[0].finish, halves[0].count, halves[0].done, calls=True)


def for_ever(wire: Dialect, asked: Mapping[str, Any]) -> Honest:
    """Another call each time."""
    return wire.calls((f"call_{wire.rounds(asked)}", "get_weather", json.dumps({"location": f"City {wire.rounds(asked)}"})))


def the_same(wire: Dialect, asked: Mapping[str, Any]) -> Honest:
    """The same call each time."""
    return wire.calls((f"call_{wire.rounds(asked)}", *BEIJING[1:]))


def tool(name: str) -> Said:
    """One call of this tool."""
    return model(("call_1", name, "{}"))


TOOLS = f'''
import asyncio, re, threading, time


async def get_weather(location: str) -> str:
    """Current weather for a city."""
    return f"{{location}}: 25°C"


def raises() -> str:
    """Raises."""
    raise RuntimeError("{WORDS} {KEY}")


def no_json() -> object:
    """Returns what is not JSON."""
    return {{1, 2}}


def book() -> str:
    """Returns 50 MB of text."""
    return "word " * 10_000_000


def shelf() -> list[str]:
    """Returns 50 MB in a list."""
    return ["word " * 1_000] * 10_000


async def hangs() -> str:
    """Never returns."""
    await asyncio.Event().wait()
    return "never"


def blocks() -> str:
    """Never returns, in a thread."""
    threading.Event().wait(30)
    return "never"


def burns() -> str:
    """Computes for a while."""
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        sum(range(1000))
    return "burnt"


def grips() -> str:
    """Computes for about a second in C, which keeps the interpreter to itself."""
    re.match("(a+)+$", "a" * 25 + "b")
    return "gripped"
'''


# The table.


@dataclass(frozen=True, eq=False, repr=False)
class Row:
    """A fault: its number in the list of faults, what is done, and what must come of it; None is a case that makes no sense."""

    number: int
    name: str
    fault: Fault | str
    """What the upstream does; or the address where nobody does anything."""
    spare: Check | None
    alone: Check | None
    tries: int | None = None
    """How often the target may be asked for one model call."""
    seconds: float = 0.0
    """How long it may take by its own limits."""
    least: float = 0.0
    kinds: tuple[Kind, ...] = KINDS
    lanes: tuple[Lane, ...] = tuple(LANES)
    timeout: Mapping[str, str] = field(default_factory=lambda: PATIENT)
    route: Mapping[str, object] = field(default_factory=dict[str, object])
    windows: tuple[int, int] | None = None
    said: Said = field(default_factory=model)
    text: str = ANSWER
    behind: Fault = well
    """What the target behind does."""
    heavy: bool = False
    """It runs by itself: it would hold up the others."""

    def __repr__(self) -> str:
        return f"{self.number} {self.name}"


def later(seconds: float) -> str:
    """An HTTP date."""
    return formatdate(time.time() + seconds, usegmt=True)


DOWN, SILENT = refused(502, "no_answer"), refused(504, "timeout")
QUICK: dict[str, Any] = {"timeout": BRIEF}
ANY_WAIT = range(1, 86_401)
HTML = f"<html><body>{WORDS}</body></html>"


def rows() -> Iterator[Row]:
    """The faults, in the order of their numbers."""
    for place, name in (("refused", "a port where nobody listens"), ("unknown", "a name that there is not")):
        yield Row(1, name, place, whole, None, 1, route={"retry": {}})
        yield Row(1, name, place, None, DOWN, 2)
    yield Row(2, "a black hole", "hole", whole, SILENT, 1, 1.2, **QUICK)
    yield Row(3, "https where http is spoken", "plain", whole, DOWN, 1)
    yield Row(3, "a certificate signed by nobody", "secure", whole, DOWN, 1)
    yield from limits()
    for code in (500, 502, 503, 529):
        yield Row(5, f"status {code}", status(code), whole, DOWN, 2)
    yield Row(5, "status 503 once", once(status(503)), whole, whole, 2)
    for code in (400, 422):
        yield Row(6, f"status {code}", status(code), whole, DOWN, 1)
    long = status(400, "prompt is too long: maximum context length is 8000 tokens.", "context_length_exceeded")
    too_long = unasked(refused(400, "context_too_long"))
    yield Row(6, "too long, a larger window behind", long, whole, too_long, 1, windows=(8_000, 100_000))
    yield Row(6, "too long, no larger window behind", long, too_long, None, 1, windows=(8_000, 8_000))
    blocked = status(400, "Output blocked by content filtering policy", "content_filter")
    told_so = unasked(refused(400, "content_filter"))
    yield Row(6, "a content filter's refusal", blocked, told_so, told_so, 1)
    yield Row(6, "a content filter's finish reason", filtered, told_so, told_so, 1)
    yield Row(6, "a content filter in mid-answer", filtered_later, unasked(reason("content-filter")), reason("content-filter"))
    for code in (401, 403):
        yield Row(7, f"status {code} that repeats the key", status(code, "Incorrect API key provided:"), whole, DOWN, 1)
    yield Row(8, "status 404", status(404, "The model `fake` does not exist"), whole, DOWN, 1)
    yield Row(9, "200 with HTML", body(HTML, "text/html"), whole, DOWN, 2)
    yield Row(9, "200 with HTML that claims to be a stream", body(HTML, "text/event-stream"), whole, DOWN, 2)
    yield Row(9, "200 with a JSON error", error_body, whole, DOWN, 2)
    yield Row(9, "200 with JSON of another kind", body('{"ok": true}'), whole, DOWN, 2)
    yield Row(9, "an error as the first event", error_first, whole, DOWN, 2)
    yield Row(10, "no headers, ever", silence, whole, SILENT, 1, 2, **QUICK)
    yield Row(10, "headers, then silence", headers_only, whole, SILENT, 1, 2, **QUICK)
    yield Row(10, "headers, then only signs of life", comments_only, whole, SILENT, 1, 2, **QUICK)
    for code in (301, 302, 307):
        yield Row(11, f"redirect {code}", redirect(code), whole, DOWN, 1)
    yield Row(12, "200 and an end without an answer", done_only, whole, DOWN, 2)
    yield Row(12, "200 and an empty body", nothing, whole, DOWN, 2)
    yield Row(12, "200 and a good end without a word", wordless, whole, DOWN, 2, kinds=("text",))
    unsigned: tuple[Lane, ...] = ("openai", "anthropic", "litellm")
    yield Row(12, "a good end without a word, after a result", wordless, nothing_to_add, DOWN, kinds=("tools",), lanes=unsigned, text="")
    # A call that is signed stays with the target that signed it: the first one is not asked again.
    yield Row(12, "a good end without a word, before a signed call", wordless, whole, DOWN, kinds=("tools",), lanes=("gemini",))
    yield from breaks()
    yield from oddities()
    yield from tricks()


def limits() -> Iterator[Row]:
    """Row 4: a provider that wants to be left alone."""
    for name, told, wait in (
        ("", "", None),
        ("0", "0", None),
        ("-1", "-1", None),
        ("a day", "86400", range(86_400, 86_401)),
        ("3 million years", "99999999999999", ANY_WAIT),
        ("1e9999", "1e9999", None),
        ("a word", "soon", None),
        ("a date in two hours", later(7_200), range(3_600, 7_201)),
        ("a date long past", later(-86_400), None),
        ("a date that is none", "Thu, 99 Foo 99999 99:99:99 GMT", None),
    ):
        check = refused(503, "overloaded", wait=wait)
        kinds = KINDS if name in ("", "a day") else KINDS[:1]
        fault = status(429, retry_after=told)
        yield Row(4, f"429, Retry-After {name or 'missing'}", fault, whole, check, 2 if wait is None else 1, kinds=kinds)
    patient = {"retry": {"attempts": 2, "backoff": "1ms..5s"}}
    yield Row(4, "429 once, a wait that fits", once(status(429, retry_after="1")), whole, whole, 2, 2, 1, route=patient)
    short = {**PATIENT, "total": "4s"}
    yield Row(4, "429, a wait beyond the deadline", status(429, retry_after="6"), whole, None, 1, 2, timeout=short, route=patient)


def breaks() -> Iterator[Row]:
    """Rows 13 and 14: an answer that breaks off."""
    yield Row(13, "RST in mid-answer", reset, whole, failed)
    yield Row(13, "FIN inside the body", cut, whole, failed)
    yield Row(13, "FIN at the end of the body", closed, whole, failed)
    yield Row(13, "a body that ends in mid-answer", ended, whole, failed)
    yield Row(13, "FIN inside a frame", torn, whole, failed)
    # Through LiteLLM the connection says nothing of it, and falls silent.
    yield Row(13, "garbage instead of HTTP in mid-answer", garbled, whole, failed, seconds=4, **QUICK)
    yield Row(13, "garbage instead of events in mid-answer", unreadable, whole, failed)
    yield Row(13, "garbage instead of gzip in mid-answer", damaged, whole, failed)
    yield Row(13, "an error in mid-answer", error_later, whole, failed)
    yield Row(13, "RST, and the next refuses a prefill", reset, whole, None, behind=no_prefill)
    yield Row(13, "RST, and the next begins anew", reset, whole, None, behind=anew)
    yield Row(13, "a finish reason without a mark of the end", no_done, counted, counted, 1)
    endless = {**PATIENT, "first_token": ENDLESS, "idle": ENDLESS, "total": ENDLESS}
    yield Row(13, "a finish reason, then silence", no_done_held, None, counted, 1, 2, timeout=endless, kinds=("text",), heavy=True)
    yield Row(13, "a finish reason, then RST", no_done_reset, whole, whole, 1)
    yield Row(14, "a stall in mid-answer", stall, whole, failed, seconds=4, **QUICK)
    yield Row(14, "only signs of life in mid-answer", stall_alive, whole, failed, seconds=4, **QUICK)


async def no_prefill(exchange: Exchange) -> None:
    """It takes no words of its own."""
    await (status(400, "the last message must be the user's") if exchange.wire.prefilled(exchange.body) else well)(exchange)


async def anew(exchange: Exchange) -> None:
    """It says the whole answer, whatever was said."""
    honest = exchange.honest if exchange.honest.calls else exchange.wire.text(pieces(ANSWER, 31))
    await exchange.head()
    await exchange.send(*honest.frames)
    await exchange.end()


def reason(wanted: str) -> Check:
    """The beginning of the answer, and why it is no more."""

    def check(outcome: Outcome, case: "Case") -> None:
        assert outcome.answer.status == 200, outcome.answer.body
        assert outcome.reason == wanted
        assert case.row.text.startswith(outcome.text)

    return check


def oddities() -> Iterator[Row]:
    """Rows 15 to 20: what is odd, and what is too much."""

    def odd(number: int, name: str, fault: Fault, check: Check = whole, tries: int | None = 1) -> Row:
        return Row(number, name, fault, None, check, tries)

    yield odd(15, "one byte per write", byte_by_byte)
    yield odd(16, "an invalid frame among the words", between(b'data: {"choices": [{"del\n\n'))
    yield odd(16, "frames that are no object", between(b"data: 5\n\n", b"data: []\n\n", b"data: null\n\n", b'data: "x"\n\n'))
    yield odd(16, "unknown events", between(b"event: news\ndata: {}\n\n", _frame({"type": "news", "object": "news", "a": [1]})))
    yield odd(16, "comments", between(b": hello\n\n", b":\n\n"))
    yield odd(16, "comments beside a frame", between(b": hello\n"))
    yield odd(16, "other fields", between(b"id: 5\nretry: 10\n\n"))
    yield odd(16, "CRLF", joined(lambda text: text.replace(b"\n", b"\r\n")))
    yield odd(16, "a byte-order mark", framed(marked))
    yield Row(16, "a line of 12 MB", giant_line, whole, either(whole, failed), kinds=("text",), heavy=True)
    yield odd(17, "a finish reason twice", framed(finishes_twice))
    yield odd(17, "an end without a finish reason", framed(no_reason), either(whole, reason("unknown"), failed), None)
    yield odd(17, "the count alone, first and last", framed(count_alone))
    null = {"content": None, "role": None, "tool_calls": None, "refusal": None}
    choice = {"index": 0, "delta": null, "finish_reason": None}
    empty: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": []}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": None}}
    yield odd(17, "null deltas", between(_frame({**empty, "choices": [choice]}), _frame(delta)))
    yield odd(17, "no choices", between(_frame(empty), _frame({**empty, "choices": None})))
    yield odd(18, "words after the finish", framed(talks_on))
    yield Row(19, "faster than its reader", well, None, bounded, said=flood, text=FLOOD, kinds=("text",), seconds=20, heavy=True)
    short = {**BRIEF, "total": "1500ms"}
    yield Row(20, "words without an end", endless, late, late, seconds=1.5, timeout=short, kinds=("text",))


def tricks() -> Iterator[Row]:
    """Rows 21 to 27: what a model makes of its tools, and they of the router."""

    def trick(number: int, name: str, said: Said, check: Check, **more: Any) -> Row:
        return Row(number, name, well, None, check, None, kinds=("tools",), said=said, **more)

    both = ran({"location": "北京"}, {"location": "Rome"})
    yield trick(21, "arguments letter by letter, by turns", badly(BEIJING, ROME, size=1), both)
    yield trick(21, "gaps between the places", badly(BEIJING, ROME, places=(3, 7)), both)
    yield trick(21, "both at one place", badly(BEIJING, ROME, places=(0, 0)), both, lanes=("openai", "litellm"))
    yield trick(21, "without ids", badly(("", *BEIJING[1:]), ("", *ROME[1:])), both)
    yield trick(21, "one id for both", badly(BEIJING, ("call_1", *ROME[1:])), both)
    yield trick(21, "id and name in every piece", named_again, ran({"location": "北京"}))

    def given(arguments: str) -> Said:
        return model(("call_1", "get_weather", arguments), size=max(5, len(arguments) // 100))

    yield trick(22, "arguments that are no JSON", given('{"location": "Ro'), result("Invalid arguments"))
    yield trick(22, "arguments that are no object", given('["Rome"]'), result("Invalid arguments"))
    yield trick(22, "arguments of another kind", given('{"location": 5, "extra": 1}'), result("Invalid arguments"))
    yield trick(22, "arguments of 100 kB", given(json.dumps({"location": "x" * 100_000})), result("too long"))
    pieced: tuple[Lane, ...] = ("openai", "anthropic", "litellm")  # a whole call of so many values is one event, which is not read
    for depth, lanes in ((500, tuple(LANES)), (100_000, pieced)):
        yield trick(22, f"arguments {depth} levels deep", given(_nested(depth)), result("Invalid arguments"), heavy=True, lanes=lanes)
    # Somewhere there what can be read can no longer be written: where, depends on who calls whom.
    depths = badly(*((f"call_{depth}", "get_weather", _nested(depth)) for depth in range(900, 1_000)), size=5_000)
    yield trick(22, "arguments 900 to 999 levels deep", depths, each_result("Invalid arguments", 100), heavy=True)
    large = model(("call_1", "get_weather", json.dumps({"location": "x" * 2_000_000})), size=50_000)
    yield Row(22, "arguments of 2 MB", largely(large), whole, failed, kinds=("tools",), heavy=True)
    yield trick(23, "a tool that there is not", model(("call_1", "no_such_tool", "{}")), result("There is no tool"))
    yield trick(24, "a tool that raises", tool("raises"), result(r"^The tool failed\.$"))
    yield trick(24, "a result that is no JSON", tool("no_json"), result("not JSON"))
    yield trick(24, "a result of 50 MB of text", tool("book"), result("^word word", error=False), heavy=True)
    yield trick(24, "a result of 50 MB in a list", tool("shelf"), result("too large"), heavy=True)
    yield trick(25, "a tool that hangs", tool("hangs"), result("took longer"), seconds=0.8, **QUICK)
    yield trick(25, "a tool that hangs in a thread", tool("blocks"), result("took longer"), seconds=0.8, **QUICK)
    yield trick(26, "a tool that computes", tool("burns"), turning(result("burnt", error=False), 0.5), seconds=1, heavy=True)
    apart = {"tools": [{"use": "trials", "isolate": "process"}]}
    in_c = turning(result("gripped", error=False), 0.2)
    yield trick(26, "a tool that computes in C", tool("grips"), in_c, seconds=2, heavy=True, route=apart)
    yield trick(27, "calls for ever", for_ever, steps(3), route={"max_steps": 3})
    yield trick(27, "the same call for ever", the_same, steps(3), route={"max_steps": 6})


def _nested(depth: int) -> str:
    return '{"location": ' + "[" * depth + "]" * depth + "}"


def largely(said: Said) -> Fault:
    """This model's words in place of the honest one's, where tools are asked for."""

    async def fault(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send(*(said(exchange.wire, exchange.body) if exchange.honest.calls else exchange.honest).frames)
        await exchange.end()

    return fault


KNOWN: dict[tuple[str, ...], str] = {}
"""Row and, where it is not all of them, lane, kind and company → why it is not yet so: each a fault of the router's own."""


# The cases, and the running of them.


@dataclass(frozen=True)
class Case:
    """A row through a lane."""

    row: Row
    lane: Lane
    kind: Kind
    company: Company

    @property
    def check(self) -> Check:
        """What must come of it."""
        check = self.row.spare if self.company == "spare" else self.row.alone
        assert check is not None
        return check

    @property
    def name(self) -> str:
        """A name for its route."""
        return f"{self.row.number}-{re.sub('[^a-z0-9]+', '-', self.row.name.lower()).strip('-')}-{self.company}"

    @property
    def known(self) -> str:
        """Why it is not yet as it should be; empty where it is."""
        has = {self.lane, self.kind, self.company}
        return next((why for (name, *only), why in KNOWN.items() if name == self.row.name and set(only) <= has), "")

    def __str__(self) -> str:
        return f"{self.lane}-{self.kind}-{self.name}"

    def targets(self) -> list[str]:
        """Who may be asked, in order."""
        return ["a", "b"] if self.company == "spare" else ["a"]


COMPANY: tuple[Company, ...] = ("spare", "alone")
CASES = [
    Case(row, lane, kind, company)
    for lane in LANES
    for kind in KINDS
    for row in rows()
    for company, check in zip(COMPANY, (row.spare, row.alone), strict=True)
    if check is not None and kind in row.kinds and lane in row.lanes
]


def declared(cases: list[Case], there: Upstreams) -> str:
    """The routes.yaml of these cases: a route and targets for each; JSON is YAML."""
    targets: dict[str, object] = {}
    routes: dict[str, object] = {}
    for case in cases:
        wire, provider, fixed = LANES[case.lane]
        for index, target in enumerate(case.targets()):
            name = f"{case.name}/{target}"
            place = case.row.fault if isinstance(case.row.fault, str) and target == "a" else "open"
            windows = {"context_window": case.row.windows[index]} if case.row.windows else {}
            targets[name] = {"model": f"{provider}/{name}", "api_base": f"{there.addresses[place]}/v1", "api_key": KEY, **fixed, **windows}
            fault = well if isinstance(case.row.fault, str) else case.row.fault
            there.known[name] = Upstream(wire, fault if target == "a" else case.row.behind, case.row.said, trap=case.name)
        there.known[case.name] = Upstream(wire, well, case.row.said)
        routes[case.name] = {
            "pipeline": "chat",
            "targets": [f"{case.name}/{target}" for target in case.targets()],
            "tools": ["trials"] if case.kind == "tools" else [],
            "timeout": case.row.timeout,
            "retry": {"attempts": 2, "backoff": "1ms..200ms"},
            **case.row.route,
        }
    return json.dumps({"targets": targets, "routes": routes})


class Log(logging.Handler):
    """All that is logged, as lines; what came of each request, and what nobody foresaw, by route."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.attempts: dict[str, list[str]] = {}
        self.unforeseen: dict[str, list[str]] = defaultdict(list)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        line = JsonLines().format(record)
        self.lines.append(line)
        fields: dict[str, Any] = getattr(record, "fields", {})
        if record.name == "router.access":
            self.attempts[fields["route"]] = [f"{one['target'].rpartition('/')[2]}:{one['outcome']}" for one in fields["attempts"]]
        elif record.name == "router.problems" or record.levelno >= logging.ERROR:
            self.unforeseen[fields.get("request_id") or _asked(record)].append(line)

    def loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take what the event loop complains of."""
        self.unforeseen[""].append(f"{context.get('message')} {context.get('exception')!r}")


def _asked(record: logging.LogRecord) -> str:
    """The route whose Ask was being answered where this was raised; empty where that cannot be told."""
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None:
        ask = trace.tb_frame.f_locals.get("ask")
        if isinstance(ask, Ask):
            return ask.model
        trace = trace.tb_next
    return ""


@dataclass
class Run:
    """The cases of one lane and kind, after they ran. `unforeseen`: what belongs to none of them."""

    outcomes: dict[Case, Outcome]
    unforeseen: list[str]


def run(cases: list[Case], folder: Path) -> Run:
    """All of these through one router, side by side."""
    log = Log()
    quiet = [logging.getLogger(name) for name in ("httpx", "httpcore", "openai", "LiteLLM", "asyncio")]
    levels = [(one, one.level) for one in (*quiet, logging.getLogger())]
    logging.getLogger().setLevel(logging.INFO)
    for one in quiet:
        one.setLevel(logging.WARNING)  # as `router serve` has it
    logging.getLogger().addHandler(log)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", _looked_up(socket.getaddrinfo))
            return asyncio.run(_run(cases, folder, log))
    finally:
        logging.getLogger().removeHandler(log)
        for one, level in levels:
            one.setLevel(level)


def _looked_up(inner: Callable[..., Any]) -> Callable[..., Any]:
    """A resolver that knows what `.invalid` is and asks nobody."""

    def getaddrinfo(host: Any, *args: Any, **more: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, f"{WORDS}: no such name")
        return inner(host, *args, **more)

    return getaddrinfo


async def _run(cases: list[Case], folder: Path, log: Log) -> Run:
    asyncio.get_running_loop().set_exception_handler(log.loop)
    workspace = Workspace(folder).write("pipelines/chat.yaml", CHAT).write("tools/trials.py", TOOLS)
    outcomes: dict[Case, Outcome] = {}
    room = {pace: asyncio.Semaphore(count) for pace, count in AT_ONCE[cases[0].lane].items()}
    async with upstreams(folder) as there:
        workspace.write("routes.yaml", declared(cases, there))
        async with serving(workspace.build()) as client:
            while not (await client.get("/readyz")).json["ready"]:
                await asyncio.sleep(0)

            async def one(case: Case) -> None:
                async with room["waits" if case.row.seconds else "works"]:
                    outcomes[case] = await ask(client, case, there)

            await asyncio.gather(*(one(case) for case in cases if not case.row.heavy))
            for case in cases:
                if case.row.heavy:
                    async with Lag() as lag:
                        await one(case)
                    outcomes[case].lag, outcomes[case].turns = lag.most, lag.turns
    gc.collect()  # a task whose exception nobody fetched complains when it is let go
    for case, outcome in outcomes.items():
        outcome.attempts = log.attempts.get(case.name, [])
        outcome.unforeseen = log.unforeseen.pop(case.name, [])
    rest = [line for lines in log.unforeseen.values() for line in lines]
    return Run(outcomes, rest + [line for line in log.lines if KEY in line or WORDS in line] + there.objections)


class Lag:
    """How long the loop stood still at most, in seconds; and how often it came round, at most fifty times a second."""

    most = 0.0
    turns = 0

    async def __aenter__(self) -> Self:
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticking.cancel()

    async def _tick(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.02)
            self.turns += 1
            self.most = max(self.most, time.monotonic() - began - 0.02)


async def ask(client: Client, case: Case, there: Upstreams) -> Outcome:
    """One question, and what came of it."""
    mine = {target: there.known[f"{case.name}/{target}"] for target in case.targets()} | {"trap": there.known[case.name]}
    question = {"messages": [{"role": "user", "content": "How does it work?"}], "model": case.name}
    timeout = aiohttp.ClientTimeout(total=case.row.seconds + 4 * SLACK)
    began, ahead, heard = time.monotonic(), 0, bytearray()
    headers = {"x-request-id": case.name[:64]}
    async with client.session.post(f"{client.base}/api/chat", json=question, headers=headers, timeout=timeout) as response:
        if case.row.said is flood:
            ahead = await _stalled(mine["a"])
        async for data in response.content.iter_any():
            heard += data
            if heard.startswith(b"0:") or b"\n0:" in heard:
                for upstream in mine.values():
                    upstream.heard.set()
        answered = Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, bytes(heard))
    outcome = Outcome(answered, time.monotonic() - began, {name: one.progress.asked for name, one in mine.items()}, ahead=ahead)
    seen = f"{answered.headers} {answered.body.decode('utf-8', 'replace')}"
    outcome.leaks = [word for word in (KEY, WORDS) if word in seen]
    return outcome


async def _stalled(upstream: Upstream) -> int:
    """How much it has sent when it can send no more, since nobody reads."""
    still, sent = 0, -1
    while still < 200:
        await asyncio.sleep(0.001)
        still, sent = (still + 1, sent) if upstream.progress.sent == sent else (0, upstream.progress.sent)
    return sent


# The tests.


class Table:
    """What ran, each lane and kind when it is first wanted; the summary of it."""

    def __init__(self, cases: list[Case], folder: Callable[[], Path]) -> None:
        self._cases = cases
        self._folder = folder
        self._runs: dict[tuple[Lane, Kind], Run] = {}

    def run(self, lane: Lane, kind: Kind) -> Run:
        """The cases of a lane and kind."""
        if (lane, kind) not in self._runs:
            cases = [case for case in self._cases if (case.lane, case.kind) == (lane, kind)]
            self._runs[lane, kind] = run(cases, self._folder()) if cases else Run({}, [])
        return self._runs[lane, kind]

    def lines(self) -> Iterator[str]:
        """A line for each row and company: how it ended in each lane and kind, and after how many seconds."""
        columns = [(lane, kind) for lane in LANES for kind in KINDS]
        done = {case: outcome for one in self._runs.values() for case, outcome in one.outcomes.items()}
        cells: dict[tuple[int, str, str], dict[tuple[str, str], str]] = defaultdict(dict)
        for case, outcome in done.items():
            mark = "!" if case.known else " "
            end = "NOT WHOLE" if outcome.truncated(case.row.text) else str(outcome)
            cells[case.row.number, case.row.name, case.company][case.lane, case.kind] = f"{end:19}{outcome.seconds:6.2f}{mark}"
        yield f"{'fault':47}{'':7}" + "".join(f"{f'{lane}, {kind}':28}" for lane, kind in columns)
        for (number, name, company), found in sorted(cells.items(), key=lambda item: item[0][0]):
            yield f"{number:2} {name:44.44}{company:7}" + "".join(f"{found.get(column, ''):28}" for column in columns)
        for case, outcome in done.items():
            if outcome.lag or outcome.ahead:
                yield f"{case}: the loop stood still for {outcome.lag * 1000:.0f} ms at most, {outcome.ahead / 1e6:.1f} MB ahead"
        known = [case for case in done if case.known]
        crashed = {case for case, outcome in done.items() if outcome.unforeseen}
        cut = {case for case, outcome in done.items() if outcome.truncated(case.row.text)}
        if known:
            ill = f"{len(crashed.intersection(known))} unhandled, {len(cut.intersection(known))} silent truncations"
            yield f"!: known faults, {len(known)} cases: {ill}"
        stray = sum(len(one.unforeseen) for one in self._runs.values())
        yield f"faults: {len(done)} cases, {len(crashed - set(known)) + stray} unhandled, {len(cut - set(known))} silent truncations"


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """The table; with `-s` it is shown at the end."""
    wanted = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    cases = [cast("Case", spec.params["case"]) for spec in wanted if spec is not None and "case" in spec.params]
    made = Table(cases, lambda: tmp_path_factory.mktemp("faults"))
    yield made
    reporter: Any = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and request.config.getoption("capture") == "no":
        reporter.ensure_newline()
        for line in made.lines():
            reporter.write_line(line)


def _marked(case: Case) -> Any:
    return pytest.param(case, id=str(case), marks=[pytest.mark.xfail(strict=True, reason=case.known)] if case.known else [])


@pytest.mark.parametrize("case", [_marked(case) for case in CASES])
def test_what_comes_of_a_fault(table: Table, case: Case) -> None:
    """One honest end, in time, as the row has it; nothing unforeseen, nothing truncated, nothing told that is nobody's business."""
    outcome = table.run(case.lane, case.kind).outcomes[case]
    assert outcome.unforeseen == []
    assert outcome.leaks == []
    assert outcome.seconds < case.row.seconds + SLACK
    assert outcome.seconds >= case.row.least
    if outcome.answer.status == 200:
        codes = outcome.codes
        assert codes.endswith("3d") is (outcome.reason == "error")
        assert codes.count("3") == (outcome.reason == "error")
    else:
        assert set(outcome.answer.json) == {"type", "error", "code", "requestId"}
    assert not outcome.truncated(case.row.text)
    case.check(outcome, case)
    assert outcome.asked["trap"] == 0
    if case.row.tries is not None:
        calls = 1 + len(outcome.of("9"))
        tried = sum(one.startswith("a:") and one != "a:breaker_open" for one in outcome.attempts)
        assert max(outcome.asked["a"], tried) <= case.row.tries * calls


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lane", LANES)
def test_nothing_else_went_wrong(table: Table, lane: Lane, kind: Kind) -> None:
    """Nothing unforeseen that belongs to no case: no exception in a task, no error in a log, no key and no provider's word in it."""
    assert table.run(lane, kind).unforeseen == []
