"""Questions of a rehearsal. Most differ from the plain one in one thing, so that a refusal shows which thing is refused."""

import base64
import json
import re
import struct
import zlib
from collections.abc import Callable, Mapping

from router.chat import AUTO, Ask, Call, Choice, File, Json, Message, Result, ToolSpec
from router.failover.rescue import Diverged, Splice
from router.params import Params
from router.rehearsal.heard import Heard
from router.value import Value, field, replace

LIMIT = 16
"""Tokens of the answer that is to be cut: the fewest that the Responses API takes."""
SAID = "one two three four five six seven"
"""The beginning of an answer that is to be continued."""
WEATHER = ToolSpec(
    "get_weather", "Current weather for a city.", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
)


def png(size: int = 64) -> str:
    """Return a plain red square with sides of `size` pixels as a data: URL. Some providers refuse images of a few pixels."""
    rows = (b"\x00" + b"\xff\x00\x00" * size) * size

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    made = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(made).decode()}"


class Verdict(Value, frozen=True):
    """A fault that an answer or a refusal shows. `facts`: what a target should declare because of it; empty if nothing."""

    sentence: str
    facts: Mapping[str, Json] = field(default_factory=dict[str, Json])
    route: str = ""
    """A line for the routes that ask the target."""


Judge = Callable[[Heard], Verdict | None]
"""A function that returns the fault of an answer; None without one."""


class Question(Value, frozen=True):
    """A question of the rehearsal, and how its answer is judged.

    name: one word or two, for the report
    ask: the question; its `max_tokens` is filled in if it has none
    judge: returns the fault of the answer
    refused: the meaning of a refusal that names no parameter; None if it has none
    """

    name: str
    ask: Ask
    judge: Judge
    refused: Verdict | None = None


def _ask(*parts: str | File, params: Params | None = None, tools: tuple[ToolSpec, ...] = (), choice: Choice = AUTO) -> Ask:
    return Ask(model="", messages=(Message("user", parts),), tools=tools, choice=choice, params=params or Params())


def says_something(heard: Heard) -> Verdict | None:
    """Return a fault if the answer is empty; None if it has text, or reached its limit while the model was thinking."""
    thinking = heard.thoughts or (heard.usage is not None and heard.usage.output_tokens > 0)
    return None if heard.text.strip() or (heard.reason == "length" and thinking) else Verdict("its answer is empty")


def _stops(heard: Heard) -> Verdict | None:
    if "7" in heard.text:
        return Verdict("it goes on after `stop`; the router ends the answer", {"refuses": ["stop"]})
    return None if heard.text.strip() else says_something(heard)


def _calls(heard: Heard) -> Verdict | None:
    if not heard.calls:
        return Verdict("it answered without calling the tool")
    return Verdict("the arguments of its call are not JSON") if heard.calls[0].malformed is not None else None


def _is_forced(heard: Heard) -> Verdict | None:
    done = heard.calls or any(one.startswith("tool_choice") for one in heard.learned)
    return None if done else Verdict("it need not call a tool when it is told to", {"forced_tools": False})


def _calls_twice(heard: Heard) -> Verdict | None:
    if len(heard.calls) == 1:
        return Verdict("it calls one tool at a time: routes with tools need more rounds", route="max_steps")
    return _calls(heard)


FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)


def _is_json(heard: Heard) -> Verdict | None:
    text = hit[1] if (hit := FENCE.match(heard.text)) else heard.text
    try:
        held: object = json.loads(text)
    except (ValueError, RecursionError):
        held = None
    return None if isinstance(held, dict) else says_something(heard) or Verdict("it does not keep to JSON", {"schemas": False})


def _sees(heard: Heard) -> Verdict | None:
    return None if "red" in heard.text.lower() else says_something(heard) or Verdict("it does not see the image", {"images": False})


def goes_on(heard: Heard) -> Verdict | None:
    """Return a fault if the model began its answer again instead of continuing the given beginning, or said nothing; else None."""
    splice = Splice(SAID)
    try:
        rest = splice.feed(heard.text) + splice.end()
    except Diverged:
        return Verdict("it begins its answer again", {"prefill": False})
    return None if rest.strip() else says_something(heard)


def _is_cut(heard: Heard) -> Verdict | None:
    longer = heard.reason != "length" and len(heard.text.encode()) > 8 * LIMIT
    return Verdict("it writes on after the limit; the router ends the answer", {"limit": "none"}) if longer else None


OSLO = "What is the weather in Oslo? Call get_weather."
LOW = Params(reasoning_effort="low")

PLAIN = Question("plain", _ask("Reply with the single word: pong"), says_something)
EFFORT = Question(
    "effort", replace(PLAIN.ask, params=LOW), says_something, Verdict("it refuses an effort", {"refuses": ["reasoning_effort"]})
)
TOOL = Question("tool", _ask(OSLO, tools=(WEATHER,)), _calls, Verdict("it refuses tools", {"tools": False}))
THINKING_TOOL = Question(
    "tool and effort",
    _ask(OSLO, tools=(WEATHER,), params=LOW),
    _calls,
    Verdict("it refuses tools with an effort", {"refuses": ["reasoning_effort"]}),
)
FORCED = Question(
    "forced tool",
    _ask("Say hello.", tools=(WEATHER,), choice=Choice("required")),
    _is_forced,
    Verdict("it refuses to be made to call a tool", {"forced_tools": False}),
)
ROUNDS = Question("two rounds", TOOL.ask, says_something)
"""A conversation that goes on from an answer that called the tool."""
FOREIGN = Question(
    "another's call",
    TOOL.ask.with_messages(
        Message("user", ("What is the weather in Lima? Call get_weather.",)),
        Message("assistant", (Call("call_of_another", WEATHER.name, {"city": "Lima"}),)),
        Message("tool", (Result("call_of_another", WEATHER.name, "4°C, rain"),)),
    ),
    says_something,
)
"""A conversation that goes on from another target's call, without its reasoning, as after a rescue. With an effort, if it takes one."""
PARALLEL = Question(
    "parallel calls", _ask("What is the weather in Oslo and in Lima? Call get_weather for both at once.", tools=(WEATHER,)), _calls_twice
)
CONTINUE = Question("continue", _ask("Count from one to ten in words, with a space between them, and nothing else."), goes_on)
"""The beginning of the answer is filled in, in the way that the target takes it."""

QUESTIONS: tuple[Question, ...] = (
    PLAIN,
    Question(
        "temperature",
        replace(PLAIN.ask, params=Params(temperature=0.5)),
        says_something,
        Verdict("it refuses a temperature", {"refuses": ["temperature"]}),
    ),
    Question(
        "stop",
        _ask("Write the numbers from 1 to 9 in digits, with a space between them, and nothing else.", params=Params(stop=("6",))),
        _stops,
        Verdict("it refuses `stop`", {"refuses": ["stop"]}),
    ),
    EFFORT,
    TOOL,
    THINKING_TOOL,
    ROUNDS,
    FOREIGN,
    PARALLEL,
    FORCED,
    Question("JSON", _ask('Reply with this JSON object and nothing else: {"ok": true}'), _is_json),
    Question(
        "image",
        _ask("What colour is this square? One word.", File("image/png", png(), "square.png")),
        _sees,
        Verdict("it refuses images", {"images": False}),
    ),
    CONTINUE,
    Question("length limit", _ask("Write the numbers from one to two hundred in words.", params=Params(max_tokens=LIMIT)), _is_cut),
)
"""All questions, in the order in which they are asked."""
