"""One answer on every wire, read by a client of each: the text is the same, and so is every field that the wire has."""

import json
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from router.wire import WIRES
from tests.clients.cases import HI
from tests.clients.harness import AG_UI, AI_GATEWAY, CLIENTS, SDKS, Client, Saw, Sdk, Workers
from tests.clients.router_cases import Running
from tests.wire.readers import READERS

MODEL = "transcript"
Call = tuple[str, str, str]


@dataclass(frozen=True)
class Transcript:
    """An answer as a client read it; the defaults are the expected answer. A field that the wire does not have is None."""

    text: str = "Let me check. All are sunny: 25°C. 好"
    thoughts: str | None = "Three cities."
    calls: tuple[Call, ...] | None = tuple(("get_weather", city, f"{city}: 25°C") for city in ("Beijing", "Paris", "Shanghai"))
    """The tool calls as (tool, city, result), sorted, since results arrive in any order."""
    usage: tuple[int, int] | None = (22, 6)
    """Input and output tokens, summed over both model calls."""


WHOLE = Transcript()
HIDDEN = replace(WHOLE, calls=None)
"""The answer on a wire whose clients run every call that they see: the router's own calls are hidden."""
LACKS: Mapping[str, Transcript] = {
    "openai": HIDDEN,
    "anthropic": HIDDEN,
    "text-completion": replace(HIDDEN, thoughts=None),
    "text": replace(HIDDEN, thoughts=None, usage=None),
}
"""Wire → the part of the answer that can be read on it, if not everything."""


def _called(calls: list[tuple[str, Any, Any]]) -> tuple[Call, ...]:
    return tuple(sorted((name, given["location"], result) for name, given, result in calls))


def _client(name: str) -> Client | Sdk:
    return next(one for one in (*CLIENTS, *SDKS) if one.name == name)


def read_by_hand(wire: str) -> Callable[[Workers, str], Transcript]:
    """Return a reader that posts the question to this wire and parses the answer with the test's strict parser."""

    def read(_: Workers, base: str) -> Transcript:
        body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{base}/api/chat?protocol={wire}", body), timeout=240) as response:
            heard = READERS[wire](response.read())
        results = {call_id: value for call_id, value, _ in heard.results}
        calls = _called([(name, given, results[one]) for one, name, given in heard.calls])
        return Transcript(heard.text, heard.thoughts, calls, heard.usage)

    return read


def read_by_chat(name: str, **more: Any) -> Callable[[Workers, str], Transcript]:
    """Return a reader that drives a page with `useChat`."""

    def read(workers: Workers, base: str) -> Transcript:
        saw = workers.saw(_client(name), base, {"chat": f"{MODEL}-{name}", "model": MODEL, "deeds": [HI], **more})
        parts = saw["messages"][-1]["parts"]
        calls = _called([(part[1], part[2], part[4]) for part in parts if part[0] == "call"])
        usage = saw["finish"]["usage"]
        return Transcript(
            "".join(part[1] for part in parts if part[0] == "text"),
            "".join(part[1] for part in parts if part[0] == "thought"),
            calls,
            usage and (usage["input"], usage["output"]),
        )

    return read


def read_by_openai(workers: Workers, base: str) -> Transcript:
    """Read the answer with OpenAI's library for Node, as chat completions."""
    saw: Saw = workers.saw(_client("openai-node"), base, {"model": MODEL, "deeds": [{**HI, "usage": True}]})
    parts = dict(saw["messages"][-1]["parts"])
    return Transcript(parts["text"], parts["thought"], (), (saw["usage"]["input"], saw["usage"]["output"]))


def read_by_program(name: str) -> Callable[[Workers, str], Transcript]:
    """Return a reader that drives this library for programs."""

    def read(workers: Workers, base: str) -> Transcript:
        saw = workers.saw(_client(name), base, {"model": MODEL, "deed": "stream"})
        assert (saw["error"], saw["calls"]) == (None, [])
        return Transcript(saw["text"], saw["thoughts"], _called(saw["ran"]), (saw["usage"]["input"], saw["usage"]["output"]))

    return read


def read_by_agent(workers: Workers, base: str) -> Transcript:
    """Read the answer with `HttpAgent` of @ag-ui/client."""
    saw = workers.saw(AG_UI, base, {"model": MODEL, "deeds": [HI]})
    assert (saw["error"], saw["warnings"]) == (None, [])
    said = {role: [message[1:] for message in saw["messages"] if message[0] == role] for role in ("assistant", "reasoning", "tool")}
    calls: list[Any] = [part for message in said["assistant"] for part in message if not isinstance(part, str)]
    results = {result.partition(":")[0]: result for (result,) in said["tool"]}  # each names its city
    (usage,) = saw["usage"]
    return Transcript(
        "".join(part for message in said["assistant"] for part in message if isinstance(part, str)),
        "".join(thought for (thought,) in said["reasoning"]),
        _called([(name, given, results[given["location"]]) for name, given in calls]),
        (usage["inputTokens"], usage["outputTokens"]),
    )


def read_by_gateway(workers: Workers, base: str) -> Transcript:
    """Read the answer with `streamText` and @ai-sdk/gateway."""
    saw = workers.saw(AI_GATEWAY, base, {"model": MODEL, "deeds": [{"do": "stream", "text": "Hi"}]})
    assert saw["error"] is None
    results = {part[2].partition(":")[0]: part[2] for part in saw["parts"] if part[0] == "result"}
    calls = _called([(part[1], part[2], results[part[2]["location"]]) for part in saw["parts"] if part[0] == "call"])
    return Transcript(saw["text"], saw["thoughts"], calls, (saw["usage"]["inputTokens"], saw["usage"]["outputTokens"]))


READ_BY: dict[str, Callable[[Workers, str], Transcript]] = {
    "data-stream": read_by_chat("ai4"),
    "ui-message-stream": read_by_chat("ai7"),
    "openai": read_by_openai,
    "anthropic": read_by_program("anthropic-node"),
    "responses": read_by_program("openai-node-responses"),
    "text-completion": read_by_program("openai-node-completions"),
    "ag-ui": read_by_agent,
    "ai-gateway": read_by_gateway,
    "text": read_by_chat("ai7", protocol="text", path="/api/chat?protocol=text"),
}


@pytest.mark.parametrize("wire", WIRES)
def test_answer_reads_the_same_on_every_wire(wire: str, workers: Workers, router: Running) -> None:
    """An answer has equal text on every wire, and equal reasoning, tool calls and usage where the wire has fields for them."""
    wanted = LACKS.get(wire, WHOLE)
    got = READ_BY.get(wire, read_by_hand(wire))(workers, router.base)
    assert replace(got, **{name: None for name in ("thoughts", "calls", "usage") if getattr(wanted, name) is None}) == wanted
    assert wanted.calls is not None or not got.calls
