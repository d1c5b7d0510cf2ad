"""Fuzzers of configuration files and their values, which operators write."""

from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from router.config import declare
from router.config.keys import KeyLines, Moment
from router.config.limits import Count, Money
from router.config.snapshot import Snapshot
from router.config.values import (
    Backoff,
    ByteSize,
    Deed,
    Key,
    KeySource,
    ModelName,
    Network,
    Origin,
    RedisUrl,
    Reference,
    Seconds,
    Share,
    Title,
    WebAddress,
)
from router.errors import Complaint, ConfigError
from router.generation import build
from router.signature import Spelled, check, shape_of
from tests.conftest import ROOT
from tests.support.fuzzers.strategies import deep

SPELLED: list[Any] = [
    Backoff,
    ByteSize,
    Count,
    Deed,
    Key,
    KeySource,
    ModelName,
    Money,
    Moment,
    Network,
    Origin,
    RedisUrl,
    Reference,
    Seconds,
    Share,
    Title,
    WebAddress,
    KeyLines,
]
VALUES = st.lists(
    st.sampled_from(
        [
            "http://",
            "https://",
            "redis://",
            "unix://",
            "[",
            "]",
            ":",
            "@",
            "/",
            "?",
            "#",
            "..",
            "%",
            "USD/",
            "/minute",
            "day",
            "\0",
            "℀",
            "²",
            "٣",
        ]
    )
    | st.sampled_from(
        ["0", "9", "9" * 30, "9" * 5_000, ".", "ms", "s", "h", "d", "MiB", "429", "retry", "after", "ok", " ", "2027-01-31", "T25:00", "Z"]
    )
    | st.sampled_from(["alice", "sha256:", "a" * 64, "\n", "expires=", "routes=", ",", "::1", "1.2.3.4", "a/b", "key=", "\ud800"])
    | st.text(max_size=3),
    max_size=8,
).map("".join)


@given(st.sampled_from(SPELLED), VALUES)
def values_of_configurations(kind: Any, text: str) -> None:
    """Check that a text is read as a configuration value that can be written again, or is refused with ValueError."""
    shape = shape_of(kind)
    assert isinstance(shape, Spelled)
    try:
        value = check(shape, text)
    except ValueError:  # urlsplit has its own: router/config/binding.py gives each the same sentence
        return
    if isinstance(value, int | float):
        assert 0 <= value < 1e25
    if kind in (Backoff, ByteSize, Count, Money, Seconds, Share):
        assert shape.write is not None
        assert check(shape, shape.write(value)) == value


SHIPPED = (ROOT / "routes.yaml").read_text(encoding="utf-8")
PIPELINES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted((ROOT / "pipelines").iterdir())}
TOOLS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted((ROOT / "tools").glob("*.py"))}
LINES = SHIPPED.splitlines(keepends=True)
TYPED = st.text(alphabet="{}[]:,-?'\"&*!|>%@`#~$.<= \n\t\r\x00\x85\u2028aZ09é\ud800", max_size=12)
BOMBS = [
    "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c]\n",
    "a: &a [*a]\n",
    "a: &a {b: *a}\n",
    "&a targets: *a\n",
    "targets: !!python/object:os.system {}\n",
    "? {a: b}\n: c\n",
    "%YAML 9.9\n---\n",
    "--- |\n" + "x" * 100_000,
]


@st.composite
def edited(draw: st.DrawFn) -> str:
    """Draw the shipped routes.yaml with up to four random mistakes: lines deleted, doubled or swapped, characters replaced."""
    lines = list(LINES)
    for _ in range(draw(st.integers(0, 4))):
        at, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[other])
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                place = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:place] + draw(TYPED) + lines[at][place + draw(st.integers(0, 5)) :]
            case _:
                lines[at] = lines[at].replace(draw(st.sampled_from(["gpt", "demo", "3s", "[", "}", ": "])), draw(TYPED | VALUES), 1)
    return "".join(lines)


YAML = edited() | st.sampled_from(BOMBS) | TYPED | st.text(max_size=30) | deep("[", "]").map("a: ".__add__) | deep("{a: ", "}")
VARIABLES = st.dictionaries(st.sampled_from(["OPENAI_API_KEY", "OLLAMA_URL", "ANTHROPIC_API_KEY"]), VALUES, max_size=3)


@given(YAML, VARIABLES)
@example(SHIPPED, {"OLLAMA_URL": "http://\udcff/"})
@example(SHIPPED, {"OPENAI_API_KEY": "\udcff"})
def configurations(text: str, variables: dict[str, str]) -> None:
    """Check that a configuration either builds or is refused with complaints that have a line and a column."""
    texts = {"routes.yaml": text.encode("utf-8", "replace").decode(), **PIPELINES, **TOOLS}
    told = _complaints(Snapshot(Path("/nowhere"), "routes.yaml", texts), variables)
    assert told is None or (told and all(one.place.line >= 1 and one.place.column >= 1 and str(one) for one in told))


def _complaints(snapshot: Snapshot, variables: dict[str, str]) -> tuple[Complaint, ...] | None:
    try:
        build(declare(snapshot, variables)).discard()
    except ConfigError as error:
        return error.complaints
    return None
