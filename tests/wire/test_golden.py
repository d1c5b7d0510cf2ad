"""Bytes that the dialects' own writers wrote, or their strictest clients took (tests/golden): ours are the same."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from router.events import Event, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.wire import WIRES, Refusal, answered
from tests.conftest import ROOT
from tests.wire.readers import HEADING

GOLDEN = ROOT / "tests/golden/streams"
START = Start("a", "m")


def said(*words: str) -> list[Event]:
    """Text, piece by piece."""
    return [Text(word) for word in words]


def weather(call_id: str, place: str) -> tuple[ToolCall, ToolResult]:
    """A call of the weather tool, and what came of it."""
    call = ToolCall(call_id, "get_weather", {"location": place})
    return call, ToolResult(call_id, "get_weather", f"{place} weather: 25°C, Sunny")


def rounds(first: list[Event], used: Usage, second: list[Event], last: Usage) -> list[Event]:
    """Two model calls: what each says and uses."""
    return [START, *first, Start("a", "m", (), used), *second, Finish("stop", used + last)]


BEIJING, SHANGHAI = weather("call_a", "Beijing"), weather("call_b", "Shanghai")
UNICODE = said("你", "好", "！\n", '😀 "q" \\ \u2028 </script>')
INPUT: list[Event] = [ToolInput("call_s1", "get_weather", part) for part in ('{"loc', 'ation":"Bei', 'jing"}')]
SDK: dict[str, list[Event]] = {
    "plain-text": [START, *said("Hello", ", ", "world!"), Finish("stop", Usage(11, 3))],
    "unicode-text": [START, *UNICODE, Finish("stop", Usage(11, 9))],
    "reasoning-text": [
        START,
        Thought("The user greets me. "),
        Thought("I greet back."),
        *said("Hi", " there."),
        Finish("stop", Usage(12, 20)),
    ],
    "finish-length": [START, Text("cut o"), Finish("length", Usage(11, 2))],
    "error-before-text": [START, Failure("no_answer", "upstream 500")],
    "error-mid-text": [START, *said("Partial ", "answer"), Failure("no_answer", "upstream reset")],
    "client-side-tool": [START, ToolCall("call_c1", "ask_user", {"question": "OK?"}), Finish("tool-calls", Usage(50, 17))],
    "tool-call": rounds([Text("Let me check."), *weather("call_abc123", "Beijing")], Usage(50, 17), said("It is ", "sunny."), Usage(80, 6)),
    "tool-input-streaming": rounds([*INPUT, *weather("call_s1", "Beijing")], Usage(50, 17), said("Sunny."), Usage(80, 3)),
    "parallel-tool-calls": rounds(
        [BEIJING[0], SHANGHAI[0], BEIJING[1], SHANGHAI[1]], Usage(50, 34), said("Both are sunny."), Usage(120, 5)
    ),
    "tool-execution-error": rounds(
        [ToolCall("call_e1", "failing_tool", {"q": "x"}), ToolResult("call_e1", "failing_tool", "boom", is_error=True)],
        Usage(50, 17),
        said("The tool failed."),
        Usage(80, 6),
    ),
}
"""The cases that the SDKs' own servers were run with."""
FIRST, SECOND = weather("call_1", "Beijing")[0], weather("call_2", "Shanghai")[0]
SEED: dict[str, list[Event]] = {
    "seed-example": [*said("你", "好", "！"), Finish("stop")],
    "plain-text": SDK["plain-text"],
    "unicode-text": [*UNICODE, Finish("stop")],
    "ext-reasoning": [Thought("Think. "), Text("Hi there."), Finish("stop")],
    "finish-length": [Text("cut o"), Finish("length")],
    "error-before-text": [START, Failure("no_answer", "All upstreams failed")],
    "error-mid-text": [START, *said("Partial ", "answer"), Failure("no_answer", "Upstream connection lost")],
    "tool-call": [Text("Let me check."), *weather("call_abc123", "Beijing"), START, Text("北京今天天气晴朗"), Finish("stop")],
    "tool-error": [
        ToolCall("call_e", "failing_tool", {"q": "x"}),
        ToolResult("call_e", "failing_tool", "Tool failed: timeout after 5s", is_error=True),
        START,
        Text("The tool failed."),
        Finish("stop"),
    ],
    "two-tool-rounds": [
        *(FIRST, ToolResult("call_1", "get_weather", {"c": 25}), START),
        *(SECOND, ToolResult("call_2", "get_weather", {"c": 26}), START),
        *(Text("Done."), Finish("stop")),
    ],
    "parallel-tool-calls": [
        *(BEIJING[0], SHANGHAI[0]),
        *(ToolResult("call_b", "get_weather", "Shanghai: 25°C"), ToolResult("call_a", "get_weather", "Beijing: 25°C")),
        *(START, Text("Both are sunny."), Finish("stop")),
    ],
}
OPENAI: dict[str, list[Event]] = {
    "plain-text": SDK["plain-text"],
    "plain-text-usage": [START, Text("Hello"), Finish("stop", Usage(11, 3))],
    "unicode-text": [START, *said("你", '好！\n😀 "q" \\'), Finish("stop")],
    "reasoning-text": [START, Thought("The user greets me. "), Thought("I greet back."), Text("Hi there."), Finish("stop")],
    "finish-length": [START, Text("cut o"), Finish("length")],
    "content-filter": [START, Text("Par"), Finish("content-filter")],
    "error-before-text": [START, Failure("upstream_error", "upstream reset")],
    "error-mid-text": [START, Text("Partial "), Failure("upstream_error", "upstream reset")],
    "parallel-tool-calls": [START, BEIJING[0], SHANGHAI[0], Finish("tool-calls")],
}
CASES: dict[str, tuple[str, dict[str, list[Event]]]] = {
    "seed": ("line", SEED),
    "ai4-data": ("data-stream", SDK),
    "ui-portable": ("ui-message-stream", SDK),
    "ai6-ui": ("ui-message-stream", SDK),
    "ai7-ui": ("ui-message-stream", SDK),
    "openai-chat": ("openai", OPENAI),
    "text-stream": ("text", {f"ai{major}-plain-text": SDK["plain-text"] for major in (4, 5, 6, 7)}),
}
"""Folder → the wire, and the events of each of its files."""
NO_WORDS = "no event says it"
ELSEWHERE = "not made of events; held by the tests of the server"
GONE = "a client that aborts is gone: nothing is written to it"
GOES_ON = "its server ends the answer, ours tells the model and goes on"
PORTABLE = {"abort": GONE, "data-parts": NO_WORDS, "sources-file": NO_WORDS, "keep-alive": ELSEWHERE}
RICH = {
    **PORTABLE,
    "_headers": ELSEWHERE,
    "tool-invalid-input": "a form that 6.0.37 rejects in its own history; the portable form is held in this wire's tests",
    "writer-throws": "an error that names no request",
}
OTHERWISE: dict[str, dict[str, str]] = {
    "seed": {"error-seed-minimal": "without a finish: we always write one", "finish-without-reason": "we always say the reason"},
    "ai4-data": {
        "_headers": ELSEWHERE,
        "abort": GONE,
        "data-annotations": NO_WORDS,
        "sources-file": NO_WORDS,
        "tool-execution-error": GOES_ON,
        "tool-invalid-input": GOES_ON,
        "parallel-tool-calls": "its server writes each result after its call; here every call comes before the first result",
    },
    "ui-portable": PORTABLE,
    "ai6-ui": RICH,
    "ai7-ui": RICH,
    "openai-chat": {
        "keep-alive": ELSEWHERE,
        "refusal": NO_WORDS,
        "tool-call": "a call of the client's is known when it is known that nobody ran it, so it is written in one piece",
        "tool-call-usage": "the arguments stand in the first chunk; ours come in the second, as in parallel-tool-calls",
    },
    "text-stream": {f"_headers-ai{major}": ELSEWHERE for major in (4, 5, 6, 7)},
}
"""Folder → golden file → why our bytes are others."""


def numbered(text: str, pattern: str) -> str:
    """Each id that the pattern finds replaced by its number in the order they appear."""
    seen: dict[str, str] = {}
    return re.sub(pattern, lambda hit: f"{hit[1]}{seen.setdefault(hit[2], str(len(seen)))}{hit[3]}", text)


def ui_normal(text: str) -> str:
    """Part ids numbered; without the metadata of the finish, which is the application's to say."""
    text = re.sub(r',"messageMetadata":\{.*\}\}\n', "}\n", text)
    return numbered(text, r'((?:start|delta|end)","id":")([^"]*)(")')


def closed_before_error(text: str) -> str:
    """The SDK's server leaves a part open where an error comes; we close it."""
    opened = re.findall(r'"text-start","id":"(\w+)"', text)
    if not opened or '"text-end"' in text:
        return text
    return text.replace('data: {"type":"error"', f'data: {{"type":"text-end","id":"{opened[-1]}"}}\n\ndata: {{"type":"error"')


NORMAL: dict[str, Callable[[str], str]] = {
    "data-stream": lambda text: re.sub(r'"messageId":"[^"]*"', '"messageId":"one and the same"', text),
    "ui-message-stream": lambda text: ui_normal(closed_before_error(text)),
}


def files(folder: str) -> list[str]:
    """The names of a folder's streams."""
    return sorted(path.stem for path in (GOLDEN / folder).glob("*.txt"))


ALL = [(folder, name) for folder in CASES for name in files(folder) if name not in OTHERWISE[folder]]


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_our_bytes_are_the_golden_ones(folder: str, name: str) -> None:
    """Except for ids and for the request's name in an error."""
    wire, cases = CASES[folder]
    head = replace(
        HEADING,
        message_id="1" if wire == "openai" else "msg-1",
        min_client="6.0" if folder in ("ai6-ui", "ai7-ui") else "5.0",
        wants_usage=name.endswith("-usage"),
    )
    encode = WIRES[wire].encoder(head)
    events = cases[name]
    made = b"".join(encode(event) for event in events).decode()
    normal = NORMAL.get(wire, str)
    if wire != "line":
        made = made.replace(" (request req_1)", "")
    assert normal(made) == normal((GOLDEN / folder / f"{name}.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", CASES)
def test_every_golden_file_is_ours_or_has_its_reason(folder: str) -> None:
    """Nothing is passed over silently, and no reason is given for a file that is none."""
    names = set(files(folder))
    assert set(OTHERWISE[folder]) <= names
    assert names - set(OTHERWISE[folder]) <= set(CASES[folder][1])


def test_openais_bodies() -> None:
    """A whole answer, one that calls, and errors: the golden objects, without the keys that are its own service's."""
    wire = WIRES["openai"]

    def golden(name: str) -> dict[str, object]:
        return json.loads((GOLDEN / "openai-chat" / f"{name}.json").read_text(encoding="utf-8"))

    head = replace(HEADING, message_id="1")
    asked = [START, weather("call_abc123", "Beijing")[0], Finish("tool-calls", Usage(50, 17))]
    assert json.loads(wire.whole(answered(head, asked))) == golden("nonstream-tool")
    made = json.loads(wire.whole(answered(head, SDK["plain-text"])))
    theirs = json.loads(json.dumps(golden("nonstream")))
    for extra in ("system_fingerprint", "service_tier"):
        del theirs[extra]
    del theirs["choices"][0]["message"]["annotations"]
    theirs["usage"] = {key: value for key, value in theirs["usage"].items() if not key.endswith("_details")}
    assert made == theirs
    assert json.loads(wire.refusal(Refusal(404, "unknown_model", "The model 'nope' does not exist", "r"))) == golden("error-404")
    assert json.loads(wire.refusal(Refusal(429, "rate_limit_exceeded", "Rate limit reached", "r"))) == golden("error-429")
