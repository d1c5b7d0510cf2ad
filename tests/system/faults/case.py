"""A fault as a row of the table, a row through a lane as a case, and how a case ended."""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from tests.conftest import Answered
from tests.support.upstream import ANSWER, Anthropic, Dialect, Fault, Google, OpenAI, Said, well
from tests.system.faults.models import model

PATIENT = {"connect": "600s", "first_token": "600s", "idle": "600s", "tool": "600s", "total": "1200s"}
Lane = Literal["openai", "anthropic", "gemini", "litellm"]
Kind = Literal["text", "tools"]
Company = Literal["spare", "alone"]
LANES: dict[Lane, tuple[Dialect, str, dict[str, str]]] = {
    "openai": (OpenAI(), "openai", {}),
    "anthropic": (Anthropic(), "anthropic", {}),
    "gemini": (Google(), "gemini", {}),
    "litellm": (OpenAI(), "openai", {"via": "litellm"}),
}
KINDS: tuple[Kind, ...] = ("text", "tools")


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
    """The longest time the loop did not turn, in seconds; measured for heavy cases."""
    turns: int = 0
    """Times that the loop came round meanwhile, at most fifty a second."""
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


KNOWN: dict[tuple[str, ...], str] = {}
"""Row and, where it is not all of them, lane, kind and company → why it is not yet so: each a fault of the router's own."""


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
