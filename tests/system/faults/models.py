"""Models of the cases: what each sends, and its tools."""

import json
from collections.abc import Mapping
from typing import Any

from tests.support.upstream import ANSWER, WORDS, Anthropic, Call, Dialect, FakeModel, Google, Honest, pieces

KEY = "sk-key-canary"
BEIJING: Call = ("call_1", "get_weather", '{"location": "北京"}')
ROME: Call = ("call_2", "get_weather", '{"location": "Rome"}')


def model(*calls: Call, text: str = ANSWER, rounds: int = 1, size: int = 5) -> FakeModel:
    """Return a model that makes these calls in its first `rounds` rounds with tools, and then says `text`, or the rest of it."""

    def said(wire: Dialect, body: Mapping[str, Any]) -> Honest:
        if body.get("tools") and wire.rounds(body) < rounds:
            return wire.calls(*(calls or (BEIJING,)), size=size)
        return wire.text(pieces(text[len(wire.partial_answer(body) or "") :]))

    return said


FLOOD = "".join(f"{index:07} " for index in range(125_000)) * 40
"""An answer of 40 MB."""


def flood(wire: Dialect, asked: Mapping[str, Any]) -> Honest:
    """Return an answer of 40 MB, more than may be buffered."""
    return wire.text(pieces(FLOOD, 250_000))


def badly(*calls: Call, places: tuple[int, ...] = (), size: int = 5) -> FakeModel:
    """Return a model that makes these calls, with indexes `places` and arguments in pieces of `size` characters, and then answers."""

    def said(wire: Dialect, asked: Mapping[str, Any]) -> Honest:
        return wire.text(pieces(ANSWER)) if wire.rounds(asked) else wire.calls(*calls, places=places, size=size)

    return said


def named_again(wire: Dialect, asked: Mapping[str, Any]) -> Honest:
    """Return a call whose id and name are in every delta (in OpenAI's API, elsewhere a usual call), and the answer after its result."""
    if wire.rounds(asked):
        return wire.text(pieces(ANSWER))
    halves = [wire.calls((call_id, name, part), size=99) for call_id, name, given in (BEIJING,) for part in pieces(given, 9)]
    if isinstance(wire, Anthropic | Google):
        return wire.calls(BEIJING)
    return Honest(tuple(frame for half in halves for frame in half.speech), halves[0].finish, halves[0].count, halves[0].done, calls=True)


def for_ever(wire: Dialect, asked: Mapping[str, Any]) -> Honest:
    """Return a call with other arguments in each round, without end."""
    return wire.calls((f"call_{wire.rounds(asked)}", "get_weather", json.dumps({"location": f"City {wire.rounds(asked)}"})))


def the_same(wire: Dialect, asked: Mapping[str, Any]) -> Honest:
    """Return the same call, with a new id, in each round, without end."""
    return wire.calls((f"call_{wire.rounds(asked)}", *BEIJING[1:]))


def tool(name: str) -> FakeModel:
    """Return a model that calls this tool once."""
    return model(("call_1", name, "{}"))


def nested(depth: int) -> str:
    return '{"location": ' + "[" * depth + "]" * depth + "}"


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
