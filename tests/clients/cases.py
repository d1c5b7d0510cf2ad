"""The cases: what a user does, and what the clients of each wire must show. One table for any server.

A part of a message is written
    ["step"]   ["text", said]   ["thought", said]   ["file", type, url]
    ["call", tool, input, "result", output]   … "error", sentence]   … "open"]
and a part that the stream never ended has "open" after it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from tests.clients.harness import CLIENTS, Client, Saw, Wire
from tests.clients.streams import UNICODE

Part = list[Any]
Deed = dict[str, Any]

HI: Deed = {"do": "send", "text": "Hi"}
"""The user's first message. With `stop` or `leave`, the user stops or leaves once the message contains that text."""
THANKS: Deed = {"do": "send", "text": "Thanks"}
DOT = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
BEIJING: Part = ["call", "get_weather", {"location": "Beijing"}, "result", "Beijing: 25°C"]
SHANGHAI: Part = ["call", "get_weather", {"location": "Shanghai"}, "result", "Shanghai: 25°C"]
PARIS: Part = ["call", "get_weather", {"location": "Paris"}, "result", "Paris: 25°C"]
NO_ORDER = "There is no order of this number."
BROKE_OFF = r"\(request \S+\)"


def user(*parts: Part) -> dict[str, Any]:
    """Return a message of the user's with these parts, by default `Hi`."""
    return {"role": "user", "parts": list(parts or (["text", "Hi"],))}


def answer(*parts: Part) -> dict[str, Any]:
    """Return a message of the assistant's with these parts."""
    return {"role": "assistant", "parts": list(parts)}


@dataclass(frozen=True)
class Seen:
    """The text, thoughts, tool calls and error that a client must show at the end of a case."""

    messages: Sequence[dict[str, Any]]
    status: Literal["ready", "error"] = "ready"
    error: str = ""
    """A pattern that the client's error message must contain."""
    finish: str | None = "stop"
    hears: frozenset[str] = frozenset()
    """Names of callbacks that must be called; others may be called, too."""
    unfinished: bool = False
    """True if an answer broke off, so that a part of it may stay unfinished."""


@dataclass(frozen=True)
class Case:
    """The actions of a user in a client, and what clients of each wire must show. A wire missing in `sees` lacks the feature."""

    name: str
    sees: Mapping[Wire, Seen]
    deeds: Sequence[Deed] = (HI,)
    openai: Sequence[Deed] = ()
    """Actions of an OpenAI client's user, if they differ from `deeds`."""
    tools: Mapping[str, object] = field(default_factory=dict[str, object])
    """Tools of the client's own → their results."""

    def __str__(self) -> str:
        return self.name

    @property
    def interrupted(self) -> bool:
        """True if the user stops or resumes an answer in this case."""
        return any(deed["do"] == "resume" or "stop" in deed for deed in self.deeds)

    def asks(self, client: Client, model: str) -> dict[str, Any]:
        """Return the case as a line for the client's worker."""
        deeds = self.openai if client.wire == "openai" and self.openai else self.deeds
        return {"chat": f"chat-{self.name}", "model": model, "deeds": list(deeds), "tools": dict(self.tools)}

    def played_by(self, client: Client) -> bool:
        """Return whether the client supports the case."""
        return client.wire in self.sees and self.name not in LACKS.get(client.name, ())


LACKS: Mapping[str, frozenset[str]] = {
    "ai4.2.0": frozenset({"resume", "nothing-to-resume"}),  # there, it would need a list of messages to resume at all
    "ai5.0.0": frozenset({"nothing-to-resume"}),  # it stays `submitted` for ever where there is nothing
}
"""Client → cases that its release does not support."""
STEPLESS = frozenset({"ai4.2.0"})
"""Clients that do not mark steps in a message."""


def shown(*parts: Part, finish: str = "stop", hears: Sequence[str] = ("finish",), **more: Any) -> dict[Wire, Seen]:
    """Return, for each wire, what a client shows after the user's `Hi` and this answer: parts in a chat, one text in an OpenAI client."""
    chat = Seen([user(), answer(*parts)], finish=finish, hears=frozenset(hears), **more)
    bare = answer(*_flat(parts))
    return {"data-stream": chat, "ui-message-stream": chat, "openai": Seen([user(), bare], finish=finish, **more)}


def _flat(parts: Sequence[Part]) -> list[Part]:
    """Join the texts of a message and drop steps and tool calls, as an OpenAI client shows it."""
    made: list[Part] = []
    for part in parts:
        if part[0] == "text" and made and made[-1][0] == "text":
            made[-1] = ["text", made[-1][1] + part[1]]
        elif part[0] in {"text", "thought"}:
            made.append(part)
    return made


TOOL = (["step"], ["text", "Let me check."], BEIJING, ["step"], ["text", "It is sunny."])
FAILED = shown(["step"], ["text", "Partial"], finish="", hears=("error",), status="error", error=BROKE_OFF)
FILE: Deed = {"do": "send", "text": "What is this?", "files": [{"name": "dot.png", "type": "image/png", "url": DOT}]}
THREE = shown(["step"], BEIJING, SHANGHAI, ["step"], PARIS, ["step"], ["text", "All are sunny."])
LOST = ["call", "lost_orders", {"number": "A-1"}]
CANNOT = (["step"], ["text", "I cannot find it."])

UNDER_WAY: Part = ["call", "slow_weather", {"location": "Beijing"}, "open"]


def _and_then(*parts: Part) -> dict[Wire, Seen]:
    """Return, for each wire, what a client shows after an interrupted answer with these parts and a normal turn."""
    seen = Seen([user(), answer(*parts), user(["text", "Thanks"]), answer(["step"], ["text", "You are welcome."])], unfinished=True)
    told = [[*part[:3], "result", part[4]] if part[-2:] == ["error", NO_ORDER] else part for part in parts]
    return {"ui-message-stream": seen, "data-stream": replace(seen, messages=[seen.messages[0], answer(*told), *seen.messages[2:]])}


CASES = (
    Case("text", shown(["step"], ["text", "Hello, world!"])),
    Case("unicode", shown(["step"], ["text", UNICODE])),
    Case("thought", shown(["step"], ["thought", "The user greets me. I greet back."], ["text", "Hi there."])),
    Case("tool", shown(*TOOL)),
    Case("tools", THREE),
    Case(
        "tool-error",
        {
            **shown(["step"], [*LOST, "error", NO_ORDER], *CANNOT),
            # AI SDK 4 has no state for a tool that failed: what it says stands where its result would.
            "data-stream": shown(["step"], [*LOST, "result", NO_ORDER], *CANNOT)["data-stream"],
        },
    ),
    Case(
        "error-before",
        {
            "data-stream": Seen([user()], "error", BROKE_OFF, None, frozenset({"error"})),
            "ui-message-stream": Seen([user()], "error", BROKE_OFF, None, frozenset({"error"})),
            "openai": Seen([user()], "error", BROKE_OFF, None),
        },
    ),
    Case("error-after", FAILED),
    Case("stop", shown(["step"], ["text", "Before"], finish="", hears=()), [{**HI, "stop": "Before"}]),
    Case(
        "resume",
        {wire: seen for wire, seen in shown(["step"], ["text", "Before and after"]).items() if wire != "openai"},
        [{**HI, "leave": "Before"}, {"do": "resume"}],
    ),
    Case(
        "nothing-to-resume",
        {"data-stream": Seen([], finish=None), "ui-message-stream": Seen([], finish=None)},
        [{"do": "resume"}],
    ),
    Case(
        "regenerate",
        {wire: seen for wire, seen in shown(["step"], ["text", "Two"]).items() if wire != "openai"},
        [HI, {"do": "regenerate"}],
    ),
    Case(
        "two-turns",
        {
            wire: Seen([*seen.messages, user(["text", "Thanks"]), more], hears=seen.hears)
            for wire, seen in shown(*TOOL).items()
            for more in [answer(*([["step"]] if wire != "openai" else []), ["text", "You are welcome."])]
        },
        [HI, THANKS],
    ),
    Case("after-error", _and_then(["step"], ["text", "Partial"]), [HI, THANKS]),
    Case("after-stop", _and_then(["step"], ["text", "Before"]), [{**HI, "stop": "Before"}, THANKS]),
    Case("after-thought", _and_then(["step"], ["thought", "Hm"]), [{**HI, "stop": "Hm"}, THANKS]),
    Case("after-stopped-tool", _and_then(["step"], ["text", "Let me check."], UNDER_WAY), [{**HI, "stop": '"Beijing"},"open"'}, THANKS]),
    Case("after-tool-error", _and_then(["step"], [*LOST, "error", NO_ORDER], *CANNOT), [HI, THANKS]),
    Case(
        "file",
        {
            # AI SDK 4 keeps attachments beside the parts.
            "data-stream": Seen([user(["text", "What is this?"]), answer(["step"], ["text", "A red dot."])]),
            "ui-message-stream": Seen(
                [user(["file", "image/png", DOT], ["text", "What is this?"]), answer(["step"], ["text", "A red dot."])]
            ),
            "openai": Seen([user(["text", "What is this?"], ["file", "image", DOT]), answer(["text", "A red dot."])]),
        },
        [FILE],
    ),
    Case("slow", shown(["step"], ["text", "slowly"])),
    Case(
        "continue",
        {"ui-message-stream": shown(["step"], ["text", "One"], ["step"], ["text", "One"])["ui-message-stream"]},
        [HI, {"do": "continue"}],
    ),
    Case("length", shown(["step"], ["text", "cut o"], finish="length")),
    Case(
        "client-tool",
        {
            **shown(
                ["step"],
                ["call", "ask_user", {"question": "OK?"}, "result", "yes"],
                ["step"],
                ["text", "Then it is done."],
                hears=("finish", "tool ask_user"),
            ),
            "openai": Seen(
                [
                    user(),
                    answer(["call", "get_weather", {"location": "Beijing"}, "open"]),
                    {"role": "tool", "parts": [["result", "call_1", "25°C"]]},
                    answer(["text", "Then it is done."]),
                ],
                hears=frozenset({"tool get_weather"}),
            ),
        },
        openai=[{"do": "run-tools", "text": "Hi"}],
        tools={"ask_user": "yes", "get_weather": "25°C"},
    ),
    Case(
        "complete",
        {"openai": Seen([user(), answer(["text", "Hello, world!"])], hears=frozenset({"chat.completion"}))},
        openai=[{"do": "complete", "text": "Hi"}],
    ),
    Case(
        "models", {"openai": Seen([], finish=None, hears=frozenset({"model chat-model", "model title-model"}))}, openai=[{"do": "models"}]
    ),
)
NAMED = {case.name: case for case in CASES}


def played(*cases: Case) -> list[tuple[Client, Case]]:
    """Return each of these cases with each client that supports it."""
    return [(client, case) for case in cases for client in CLIENTS if case.played_by(client)]


def differences(client: Client, seen: Seen, saw: Saw) -> dict[str, str]:
    """Return field → how the client's report differs from the expectation; empty if nothing differs."""
    if "late" in saw:
        return {"late": "the client was not done in time"}
    found: dict[str, str] = {}
    wanted = [{**message, "parts": [part for part in message["parts"] if _kept(client, part)]} for message in seen.messages]
    broken = seen.unfinished or seen.status == "error" or not seen.finish
    got = _closed(saw["messages"]) if broken else saw["messages"]
    if got != wanted:
        found["messages"] = f"{got} != {wanted}"
    if saw["status"] != seen.status:
        found["status"] = f"{saw['status']} != {seen.status}"
    error = _sentence(saw["error"])
    if bool(error) != bool(seen.error) or not re.search(seen.error, error):
        found["error"] = f"{error!r} is not {seen.error!r}"
    if seen.finish and (reason := _reason(saw)) != seen.finish:
        found["finish"] = f"{reason} != {seen.finish}"
    if unheard := seen.hears - set(saw["events"]):
        found["events"] = f"without {', '.join(sorted(unheard))}: {saw['events']}"
    ids = saw.get("ids", [])
    if len(set(ids)) != len(ids):
        found["ids"] = f"not each its own: {ids}"
    return found


def _kept(client: Client, part: Part) -> bool:
    return not (client.name in STEPLESS and part == ["step"])


def _closed(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages without the `open` marks of parts that were unfinished when the answer broke off."""
    return [{**one, "parts": [part[:2] if part[0] in {"text", "thought"} else part for part in one["parts"]]} for one in messages]


def _sentence(error: object) -> str:
    if isinstance(error, dict):
        return str(cast("dict[str, object]", error)["message"])
    return str(error) if error else ""


def _reason(saw: Saw) -> str | None:
    finish = saw["finish"]
    reason = cast("dict[str, str | None]", finish)["reason"] if isinstance(finish, dict) else finish
    return reason.replace("_", "-") if isinstance(reason, str) else None
