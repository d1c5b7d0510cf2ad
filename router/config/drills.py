"""Drills, as frozen values: faults, and the results that are expected of them. The docstrings are the reference."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from router.bounds import Bounds
from router.chat import Circumstances
from router.config.conditions import ClaimName, RequestHeader, Word
from router.config.values import Deed, Reference, Seconds, Share, Title, Within
from router.errors import Misfit


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillAsk:
    """The question of a drill.

    model: a route's id or alias
    text: the user's message
    times: number of requests, one after the other; `expect` is about the last
    every: time between them; unless given, none
    image: true adds an image
    tokens: length of the conversation, by the router's own estimate
    caller: the name of the caller
    claims: claims of the caller's token
    headers: headers of the request
    budget_used: used share of the tightest limit on money or tokens, e.g. 90%
    """

    model: Reference
    text: str = "Hello"
    times: Annotated[int, Bounds(1, 1000)] = 1
    every: Seconds | None = None
    image: bool = False
    tokens: Annotated[int, Bounds(1, 10_000_000)] | None = None
    caller: Word | None = None
    claims: dict[ClaimName, Word | tuple[Word, ...]] = field(default_factory=dict[ClaimName, Word | tuple[Word, ...]])
    headers: dict[RequestHeader, Word] = field(default_factory=dict[RequestHeader, Word])
    budget_used: Share | None = None

    @property
    def circumstances(self) -> Circumstances:
        """The facts about the question that the conditions (`when`) of a route are tested against: caller, claims, headers, used budget."""
        headers = {str(name): (value,) for name, value in self.headers.items()}
        return Circumstances(self.caller or "", {str(name): one for name, one in self.claims.items()}, headers, self.budget_used or 0.0)


EventKind = Literal[
    "Start", "Text", "Thought", "ToolInput", "ToolCall", "ToolProgress", "ToolResult", "Approval", "LateResult", "Finish", "Failure"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """The expected result. Unless it `fails`, the answer must be complete, with no word missing and none repeated.

    served_by: the target that spoke last
    tried: every try in order, target and outcome, e.g. gpt status_503
    events: the kinds of events, runs as one, e.g. [Start, Text, Finish]
    within: the longest time of the whole answer, e.g. 3s; or the shortest and the longest, e.g. 1.5s..3s
    finish: the finish reason
    fails: the code of the error it ends with
    """

    served_by: Reference | None = None
    tried: tuple[str, ...] | None = None
    events: tuple[EventKind, ...] | None = None
    within: Within | None = None
    finish: Literal["stop", "length", "content-filter", "tool-calls", "other", "unknown"] | None = None
    fails: str | None = None

    def __post_init__(self) -> None:
        if self.fails is not None and self.finish is not None:
            raise Misfit("an answer that fails has no finish reason", "finish")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """A fault and the expected result, run by `router drill` with the code that serves and a clock that jumps.

    name: the title: the behaviour that it shows
    given: target → its behaviour at every try, or, as a list, try by try, the last repeated; a target that is not named answers
    ask: the question
    expect: the expected result
    """

    name: Title
    given: dict[Reference, Deed | tuple[Deed, ...]] = field(default_factory=dict[Reference, Deed | tuple[Deed, ...]])
    ask: DrillAsk
    expect: Expect

    def __post_init__(self) -> None:
        for target, faults in self.given.items():
            last = faults[-1:] if isinstance(faults, tuple) else (faults,)
            if any(fault.times is not None for fault in last):
                raise Misfit(f"{target}: `times` is for what others follow: what stands last is done again and again", "given")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillFile:
    """drills.yaml: faults and expected results.

    drills: each is run by `router drill`
    """

    drills: tuple[Drill, ...]
