"""The TypeScript types of the examples, and those of examples/line-protocol compared with the router's output, in one run of `tsc`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from router.chat import ReasoningState
from router.events import (
    Approval,
    Event,
    Failure,
    Finish,
    LateResult,
    Produced,
    Reason,
    Source,
    Start,
    Text,
    Thought,
    ToolCall,
    ToolInput,
    ToolProgress,
    ToolResult,
    Usage,
)
from router.wire import Heading, Refusal, answered
from router.wire.line import WIRE
from tests.examples.build import EXAMPLES, PAGES, TYPED, attempt, copy, dependencies, installed

CALL, RESULT = ToolCall("c1", "get_weather", {"location": "Oslo"}), ToolResult("c1", "get_weather", "25°C")
EVENTS: tuple[Event, ...] = (
    Start("a", "fake"),
    Thought("Let me see."),
    Text("Let me check."),
    Source("https://a.org/1", "One"),
    Source("", "A letter", "application/pdf"),
    Produced("image/png", "AAAA"),
    ToolInput("c1", "get_weather", "{"),
    ReasoningState("a", {"reasoning_content": "x"}),
    CALL,
    ToolProgress("c1", "get_weather", 1),
    RESULT,
    ToolResult("c2", "get_weather", [1, {"a": None}], is_error=True),
    Approval("c3", "delete", "apr_1"),
    LateResult("c3", "delete", {}, "Deleted"),
    Failure("no_answer", "It broke off."),
    *(Finish(reason) for reason in get_args(Reason)),
    Finish("stop", Usage(11, 3)),
)
HEADING = Heading(request_id="req_1", message_id="m1", model="chat-model", created=0)
REFUSAL = Refusal(status=404, code="unknown_model", sentence="There is no such model here.", request_id="req_1")
IMPORT = 'import type { Answer, FinishReason, Lines, Refusal } from "./line-protocol/lines";\ntype Keys<T> = T extends unknown ? keyof T : never;\n'


def written() -> list[tuple[str, dict[str, Any]]]:
    """Return (code, object) of each line that the router writes for the sample events."""
    encode = WIRE.encoder(HEADING)
    lines = b"".join(encode(event) for event in EVENTS).decode().splitlines()
    return [(line[0], json.loads(line[2:])) for line in lines]


def samples() -> Iterator[str]:
    """Yield TypeScript that compiles only if the declared types have exactly the keys, codes and reasons that the router writes."""
    keys: dict[str, set[str]] = {}
    reasons: set[str] = set()
    objects = [(f'Lines["{code}"]', value) for code, value in written()]
    both = (CALL, RESULT, Thought("So."), Text("Hi"), Source("https://a.org/1"), Produced("image/png", "AAAA"), Finish("stop", Usage(1, 2)))
    objects += [("Answer", json.loads(WIRE.complete(answered(HEADING, events)))) for events in (both, (Text("Hi"), Finish("stop")))]
    objects += [("Refusal", json.loads(WIRE.refusal(REFUSAL)))]
    for number, (name, value) in enumerate(objects):
        yield f"export const value{number}: {name} = {json.dumps(value)};"
        keys.setdefault(name, set()).update(value)
        reasons |= {value["finishReason"]} if "finishReason" in value else set()
    for number, (name, seen) in enumerate(keys.items()):
        yield f"export const keys{number}: Record<Keys<{name}>, true> = {json.dumps(dict.fromkeys(sorted(seen), True))};"
    yield f"export const reasons: Record<FinishReason, true> = {json.dumps(dict.fromkeys(sorted(reasons), True))};"
    yield f"export const codes: Record<keyof Lines, true> = {json.dumps(dict.fromkeys(sorted({code for code, _ in written()}), True))};"


@pytest.fixture(scope="module")
def compiler_output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiler's output for all examples and the samples: one line per error, empty without errors."""
    folder = tmp_path_factory.mktemp("types")
    for example in TYPED:
        copy(example, folder)
    (folder / "samples.ts").write_text(IMPORT + "\n".join(samples()), encoding="utf-8")
    config = {"extends": "./nextjs/tsconfig.json", "compilerOptions": {"incremental": False}, "include": ["samples.ts", *TYPED]}
    (folder / "tsconfig.json").write_text(json.dumps(config), encoding="utf-8")
    return attempt(folder, "tsc")[1]


def test_type_samples_include_every_event_class() -> None:
    """The sample events contain every class of the union `Event`."""
    assert {type(event) for event in EVENTS} == set(get_args(Event))


def test_example_typescript_compiles_in_strict_mode(compiler_output: str) -> None:
    """All TypeScript examples compile with `tsc` in strict mode without an error."""
    assert [line for line in compiler_output.splitlines() if not line.startswith(("samples.ts", " "))] == []


def test_line_protocol_types_match_the_routers_output(compiler_output: str) -> None:
    """The types of examples/line-protocol have exactly the keys, codes and finish reasons that the router writes."""
    assert [line for line in compiler_output.splitlines() if line.startswith("samples.ts")] == []


@pytest.mark.parametrize("example", TYPED)
def test_example_tsconfig_is_strict(example: str) -> None:
    """Each example's tsconfig.json sets `strict` and `noUncheckedIndexedAccess`."""
    options = json.loads((EXAMPLES / example / "tsconfig.json").read_text(encoding="utf-8"))["compilerOptions"]
    assert options["strict"]
    assert options["noUncheckedIndexedAccess"]


@pytest.mark.parametrize("example", TYPED)
def test_example_version_ranges_include_the_tested_versions(example: str) -> None:
    """Each example's version ranges (`^x.y.z`) include the tested version of the package; `next` and `tsx` are exempt."""
    tested = installed()
    for name, wanted in dependencies(example).items():
        if name not in {"next", "tsx"}:
            assert re.fullmatch(r"\^\d+\.\d+\.\d+", wanted)
            lowest, version = (tuple(map(int, text.removeprefix("^").split("."))) for text in (wanted, tested[name]))
            assert lowest[0] == version[0], name
            assert lowest <= version, name


def test_chat_folders_of_both_example_pages_are_identical() -> None:
    """Both example pages have the same files in their folder `chat`, so that each page can be copied alone."""

    def files(example: str) -> dict[str, bytes]:
        folder: Path = EXAMPLES / example / "chat"
        return {one.relative_to(folder).as_posix(): one.read_bytes() for one in folder.rglob("*")}

    first, second = map(files, PAGES)
    assert first == second
    assert "Chat.tsx" in first
