"""Answers of the router compared with golden files in tests/golden, which the SDKs' own servers or clients wrote."""

import json
import re
from collections.abc import Callable

import pytest

from router.config.server import RequestBounds
from router.events import Event, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.intake.question import asked
from router.value import replace
from router.wire import WIRES, Refusal, answered
from tests.conftest import ROOT, Workspace, routes, serving
from tests.wire.readers import HEADING

GOLDEN = ROOT / "tests/golden/streams"
START = Start("a", HEADING.model)


def said(*words: str) -> list[Event]:
    """Return a Text event for each of these texts."""
    return [Text(word) for word in words]


def weather(call_id: str, place: str) -> tuple[ToolCall, ToolResult]:
    """Return a call of the weather tool and its result."""
    call = ToolCall(call_id, "get_weather", {"location": place})
    return call, ToolResult(call_id, "get_weather", f"{place} weather: 25°C, Sunny")


def rounds(first: list[Event], used: Usage, second: list[Event], last: Usage) -> list[Event]:
    """Return the events of an answer of two model calls with this usage each."""
    return [START, *first, Start("a", HEADING.model, (), used), *second, Finish("stop", used + last)]


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
"""Case → the events of the answer that the SDKs' own servers were run with."""
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
SAID: list[Event] = [START, *said("Tool said: ", '[{"answer":"yes"}]'), Finish("stop")]
CONTINUED: dict[str, list[Event]] = {"client-side-tool-turn1": SDK["client-side-tool"], "client-side-tool-turn2": SAID}
CASES: dict[str, tuple[str, dict[str, list[Event]]]] = {
    "seed": ("line", SEED),
    "ai4-data": ("data-stream", SDK),
    "ui-portable": ("ui-message-stream", SDK),
    "ai5-ui": ("ui-message-stream", SDK),
    "ai6-ui": ("ui-message-stream", SDK),
    "ai7-ui": ("ui-message-stream", SDK),
    **{f"ai{major}-continue": ("ui-message-stream", CONTINUED) for major in (5, 6, 7)},
    "openai-chat": ("openai", OPENAI),
    "text-stream": ("text", {f"ai{major}-plain-text": SDK["plain-text"] for major in (4, 5, 6, 7)}),
}
"""Folder of golden files → the wire, and the events of each file."""
NO_WORDS = "no event says it"
ELSEWHERE = "not made of events; held by the tests of the server"
GONE = "a client that aborts is gone: nothing is written to it"
GOES_ON = "its server ends the answer, ours tells the model and goes on"
APPROVED = "tools that run here ask for nobody's leave; what the user decided elsewhere is in the body, and read there"
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
    **{f"ai{major}-ui": RICH for major in (5, 6, 7)},
    "ai5-continue": {},
    **{f"ai{major}-continue": dict.fromkeys(("approval-turn1", "approval-turn2", "approval-denied-turn2"), APPROVED) for major in (6, 7)},
    "openai-chat": {
        "keep-alive": ELSEWHERE,
        "refusal": NO_WORDS,
        "tool-call": "a call of the client's is known when it is known that nobody ran it, so it is written in one piece",
        "tool-call-usage": "the arguments stand in the first chunk; ours come in the second, as in parallel-tool-calls",
    },
    "text-stream": {f"_headers-ai{major}": ELSEWHERE for major in (4, 5, 6, 7)},
}
"""Folder → golden file → why the router's bytes differ from it."""


def numbered(text: str, pattern: str) -> str:
    """Return the text with each id that the pattern finds replaced by its number in order of first appearance."""
    seen: dict[str, str] = {}
    return re.sub(pattern, lambda hit: f"{hit[1]}{seen.setdefault(hit[2], str(len(seen)))}{hit[3]}", text)


def ui_normal(text: str) -> str:
    """Return a UI message stream with numbered part ids and without the metadata of `finish`."""
    text = re.sub(r',"messageMetadata":\{.*\}\}\n', "}\n", text)
    return numbered(text, r'((?:start|delta|end)","id":")([^"]*)(")')


def closed_before_error(text: str) -> str:
    """Return a stream with the `text-end` that the SDK's server omits before an error inserted; any other stream unchanged."""
    opened = re.findall(r'"text-start","id":"(\w+)"', text)
    if not opened or '"text-end"' in text:
        return text
    return text.replace('data: {"type":"error"', f'data: {{"type":"text-end","id":"{opened[-1]}"}}\n\ndata: {{"type":"error"')


NORMAL: dict[str, Callable[[str], str]] = {
    "data-stream": lambda text: re.sub(r'"messageId":"[^"]*"', '"messageId":"one and the same"', text),
    "ui-message-stream": lambda text: ui_normal(closed_before_error(text)),
}


def files(folder: str) -> list[str]:
    """Return the names of a folder's golden streams."""
    return sorted(path.stem for path in (GOLDEN / folder).glob("*.txt"))


MIN_CLIENT = {"ui-portable": "5.0"}
"""Folder → `min_client` of its answers; in all other folders it is 6.0."""

IDS = {"openai-chat": "1", "ai5-continue": "srv-35", "ai6-continue": "srv-41", "ai7-continue": "srv-41"}
"""Folder → the message id in its golden files."""


def message_id(folder: str, name: str) -> str:
    """Return the message id of a golden answer: that of the continued message if its request continues one."""
    body = GOLDEN / folder / f"{name}.request.json"
    if body.exists():
        continued = asked(json.loads(body.read_text(encoding="utf-8")), None, "chat", "usual", RequestBounds()).continues
        assert continued is not None
        return continued
    return IDS.get(folder, "msg-1")


ALL = [(folder, name) for folder in CASES for name in files(folder) if name not in OTHERWISE[folder]]


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_encoded_answers_equal_the_golden_files(folder: str, name: str) -> None:
    """An encoded answer equals its golden file but for ids, the metadata of `finish`, and a `text-end` that a file lacks."""
    wire, cases = CASES[folder]
    head = replace(
        HEADING, message_id=message_id(folder, name), min_client=MIN_CLIENT.get(folder, "6.0"), wants_usage=name.endswith("-usage")
    )
    encode = WIRES[wire].encoder(head)
    events = cases[name]
    made = b"".join(encode(event) for event in events).decode()
    normal = NORMAL.get(wire, str)
    if wire != "line":
        made = made.replace(" (request req_1)", "")
    assert normal(made) == normal((GOLDEN / folder / f"{name}.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", CASES)
def test_every_golden_file_is_compared_or_excused(folder: str) -> None:
    """Every golden file is compared or listed with the reason why it is not, and every listed one exists."""
    names = set(files(folder))
    assert set(OTHERWISE[folder]) <= names
    assert names - set(OTHERWISE[folder]) <= set(CASES[folder][1])


def test_every_golden_folder_and_body_is_compared() -> None:
    """The golden folders are exactly the entries of CASES, and the golden JSON bodies have only the five names listed here."""
    assert {path.name for path in GOLDEN.iterdir()} == set(CASES)
    bodies = {"models", "nonstream", "nonstream-tool", "error-404", "error-429"}
    assert {path.stem for path in GOLDEN.glob("*/*.json") if not path.name.endswith(".request.json")} == bodies


async def test_models_page_equals_openais_golden_list(workspace: Workspace) -> None:
    """`GET /v1/models` equals OpenAI's golden list but for the creation time, the router's own fields and the alias."""
    golden = json.loads((GOLDEN / "openai-chat/models.json").read_text(encoding="utf-8"))
    first, *others = [model["id"] for model in golden["data"]]
    assert first == "chat-model"
    more = "".join(f"  {name}: {{pipeline: chat, targets: [a]}}\n" for name in others)
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", more=more)).build()) as client:
        listed = (await client.get("/v1/models")).json
    own = {"kind", "tools", "name", "context_window", "max_output_tokens", "input_modalities", "price"}
    shown = [{name: model[name] for name in model.keys() - own} | {"created": 1700000000} for model in listed["data"]]
    assert {**listed, "data": [model for model in shown if model["id"] != "gpt-4"]} == golden


def test_unstreamed_answers_and_errors_equal_openais_golden_bodies() -> None:
    """Unstreamed answers and errors equal OpenAI's golden bodies without the keys that only OpenAI's service has."""
    wire = WIRES["openai"]

    def golden(name: str) -> dict[str, object]:
        return json.loads((GOLDEN / "openai-chat" / f"{name}.json").read_text(encoding="utf-8"))

    head = replace(HEADING, message_id="1")
    asked = [START, weather("call_abc123", "Beijing")[0], Finish("tool-calls", Usage(50, 17))]
    assert json.loads(wire.complete(answered(head, asked))) == golden("nonstream-tool")
    made = json.loads(wire.complete(answered(head, SDK["plain-text"])))
    theirs = json.loads(json.dumps(golden("nonstream")))
    for extra in ("system_fingerprint", "service_tier"):
        del theirs[extra]
    del theirs["choices"][0]["message"]["annotations"]
    theirs["usage"] = {key: value for key, value in theirs["usage"].items() if not key.endswith("_details")}
    assert made == theirs
    assert json.loads(wire.refusal(Refusal(404, "unknown_model", "The model 'nope' does not exist", "r"))) == golden("error-404")
    assert json.loads(wire.refusal(Refusal(429, "rate_limit_exceeded", "Rate limit reached", "r"))) == golden("error-429")
