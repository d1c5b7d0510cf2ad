"""A fault as a row of the table, a row in one lane as a case, and the outcome of a case."""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from tests.conftest import Answered
from tests.support.upstream import ANSWER, Anthropic, Dialect, FakeModel, Fault, Google, OpenAI, well
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
    """The outcome of a case: the answer, and what was recorded while it ran."""

    answer: Answered
    seconds: float
    asked: dict[str, int]
    """Target → requests it got."""
    attempts: list[str] = field(default_factory=list[str])
    """Attempts in the access log, each as `target:outcome`."""
    unforeseen: list[str] = field(default_factory=list[str])
    leaks: list[str] = field(default_factory=list[str])
    lag: float = 0.0
    """The longest time in which the event loop did not turn, in seconds; measured for heavy cases."""
    turns: int = 0
    """Turns of the event loop meanwhile, fifty a second at most."""
    ahead: int = 0
    """Bytes taken from the provider while the client did not read; measured for the case of a slow client."""

    @cached_property
    def lines(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the lines of a streamed answer as (code, value); none if the response is an error."""
        return self.answer.lines if self.answer.status == 200 else []

    @cached_property
    def text(self) -> str:
        """Return the text of the answer."""
        return "".join(value["textDelta"] for value in self.of("0"))

    @cached_property
    def codes(self) -> str:
        """Return the codes of the lines in order, a run of text lines as one."""
        return "".join(code * (1 if code == "0" else len(list(run))) for code, run in itertools.groupby(code for code, _ in self.lines))

    @property
    def reason(self) -> str:
        """Return the finish reason of a stream, or the code of an error response."""
        return str(self.lines[-1][1]["finishReason"] if self.lines else self.answer.json["code"])

    def of(self, code: str) -> list[dict[str, Any]]:
        """Return the values of all lines with this code."""
        return [value for each, value in self.lines if each == code]

    def truncated(self, text: str) -> bool:
        """Return whether the answer claims to be complete although its text is not `text`."""
        return self.answer.status == 200 and self.reason in ("stop", "unknown", "other") and self.text != text

    def __str__(self) -> str:
        if self.answer.status != 200:
            return f"{self.answer.status} {self.reason}"
        return {"stop": "whole", "error": "told"}.get(self.reason, self.reason)


Check = Callable[[Outcome, "Case"], None]


@dataclass(frozen=True, eq=False, repr=False)
class Row:
    """A fault: its number in the list of faults, what the upstream does, and the checks of the outcome (None: there is no such case)."""

    number: int
    name: str
    fault: Fault | str
    """The upstream's behaviour, or the name of an address without a working upstream."""
    spare: Check | None
    alone: Check | None
    tries: int | None = None
    """Most requests that the target may get for one model call."""
    seconds: float = 0.0
    """Seconds that the case may take by its own limits."""
    least: float = 0.0
    kinds: tuple[Kind, ...] = KINDS
    lanes: tuple[Lane, ...] = tuple(LANES)
    timeout: Mapping[str, str] = field(default_factory=lambda: PATIENT)
    route: Mapping[str, object] = field(default_factory=dict[str, object])
    windows: tuple[int, int] | None = None
    said: FakeModel = field(default_factory=model)
    text: str = ANSWER
    behind: Fault = well
    """The behaviour of the target behind it; by default it answers."""
    heavy: bool = False
    """True for a case that runs alone, because it would delay the others."""

    def __repr__(self) -> str:
        return f"{self.number} {self.name}"


KNOWN: dict[tuple[str, ...], str] = {}
"""(Name of the row; lane, kind or company, if not all) → the reason that this outcome is not yet reached: known faults of the router."""


@dataclass(frozen=True)
class Case:
    """A row in one lane, for one kind of answer, with or without a healthy target behind."""

    row: Row
    lane: Lane
    kind: Kind
    company: Company

    @property
    def check(self) -> Check:
        """Return the row's check for this case: `spare` if a spare target is to answer, else `alone`."""
        check = self.row.spare if self.company == "spare" else self.row.alone
        assert check is not None
        return check

    @property
    def name(self) -> str:
        """Return the name of its route."""
        return f"{self.row.number}-{re.sub('[^a-z0-9]+', '-', self.row.name.lower()).strip('-')}-{self.company}"

    @property
    def known(self) -> str:
        """Return the reason that its outcome is not yet as it should be; empty if it is."""
        has = {self.lane, self.kind, self.company}
        return next((why for (name, *only), why in KNOWN.items() if name == self.row.name and set(only) <= has), "")

    def __str__(self) -> str:
        return f"{self.lane}-{self.kind}-{self.name}"

    def targets(self) -> list[str]:
        """Return the names of its targets, in order: a, and b with a spare."""
        return ["a", "b"] if self.company == "spare" else ["a"]


COMPANY: tuple[Company, ...] = ("spare", "alone")
