"""Arbitrary text in the files of a configuration: each input loads or is refused with complaints, without any other error."""

import json
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from router.config import declare
from router.config.snapshot import Snapshot
from router.errors import Complaint, ConfigError, Place
from router.generation import build
from tests.config.written import PROMPT, ROUTES, TARGETS, more, route, target
from tests.conftest import ROOT

VALID = (ROOT / "routes.yaml").read_text(encoding="utf-8")
FILES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted((ROOT / "pipelines").iterdir())}
MARKS = st.text(alphabet="{}[]:,-?'\"&*!|>%@`#~$.<= \n\t\r\x00\x85\u2028aZ09é", max_size=12)


def found(routes: str, **files: str) -> tuple[Complaint, ...]:
    """Return the complaints about a routes.yaml beside the shipped pipelines; any error other than ConfigError propagates."""
    snapshot = Snapshot(Path("/nowhere"), "routes.yaml", {"routes.yaml": routes, **FILES, **files})
    try:
        build(declare(snapshot, {}))
    except ConfigError as error:
        return error.complaints or (Complaint(Place("nowhere", 0, 0), "an error without a complaint"),)
    return ()


def stands_somewhere(complaint: Complaint) -> bool:
    """Return whether the complaint's line and column are both at least 1."""
    return complaint.place.line >= 1 and complaint.place.column >= 1


@given(st.text(st.characters(codec="utf-8")) | MARKS)
@example("9" * 5_000)
@example("targets: {a: {script: demo, context_window: " + "9" * 5_000 + "}}\nroutes: {}")
def test_arbitrary_routes_file_is_refused_with_complaints(text: str) -> None:
    """A routes.yaml of arbitrary text is refused by ConfigError with at least one complaint, each with a line and a column."""
    told = found(text)
    assert told
    assert all(map(stands_somewhere, told))


SLOTS = [
    target("{model: HERE, api_key: k}"),
    target("{model: openai/x, api_key: HERE}"),
    target("{model: openai/x, api_key: k, api_base: HERE}"),
    target("{script: [{call: x, arguments: {a: HERE}}]}"),
    route("{pipeline: HERE, targets: [a]}"),
    route("{pipeline: chat, targets: [HERE], aliases: [HERE], tools: [HERE], max_steps: HERE}"),
    more("server: {cors: {origins: [HERE]}, request: {body: HERE}}"),
    more("defaults: {timeout: {connect: HERE}, retry: {backoff: HERE}}"),
    "targets: {HERE: {script: demo}}\nroutes: {HERE: {pipeline: chat, targets: [HERE]}}\n",
]
PIECES = st.lists(
    st.sampled_from(
        ["http://", "https://", "[", "]", ":", "@", "a", "/", "?", "${", "}", "file:", "V", ":-", "$$", "\0", "℀", "9", "s", ".."]
    )
)


@given(st.sampled_from(SLOTS), PIECES.map("".join) | st.text(st.characters(codec="utf-8"), max_size=40))
@example(SLOTS[2], "http://[")
@example(SLOTS[1], "${file:\0}")
@example(SLOTS[1], "${file:" + "a" * 5_000 + "}")
def test_arbitrary_value_of_a_key_loads_or_is_refused_with_a_place(slot: str, text: str) -> None:
    """Arbitrary text as a value or a name in typical places of routes.yaml loads, or each complaint has a line and a column."""
    assert all(map(stands_somewhere, found(slot.replace("HERE", json.dumps(text, ensure_ascii=False)))))


@given(st.integers(0, len(VALID)), st.integers(0, 40), MARKS)
def test_arbitrary_edit_of_the_shipped_file_loads_or_is_refused_with_a_place(start: int, length: int, typed: str) -> None:
    """The shipped routes.yaml with one range replaced by arbitrary characters loads, or is refused with complaints that have a place."""
    tools = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted((ROOT / "tools").glob("*.py"))}
    assert all(map(stands_somewhere, found(VALID[:start] + typed + VALID[start + length :], **tools)))


@given(MARKS.map(lambda marks: f"{{{{ {marks} }}}}") | MARKS.map(lambda marks: f"{{% {marks} %}}") | st.text(st.characters(codec="utf-8")))
def test_arbitrary_prompt_template_loads_or_is_refused_with_a_place(text: str) -> None:
    """A prompt template of arbitrary text loads, or is refused with complaints that have a line and a column."""
    files: dict[str, str] = {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": text}
    assert all(map(stands_somewhere, found(TARGETS + ROUTES, **files)))
