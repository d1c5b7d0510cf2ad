"""Drills, as frozen values: faults, and the results that are expected of them. The docstrings are the reference."""

from typing import Annotated, Literal

from router.bounds import Bounds
from router.chat import Circumstances
from router.config.conditions import ClaimName, RequestHeader, Word
from router.config.values import Deed, Reference, Seconds, Share, Title, Within
from router.errors import Misfit
from router.value import Value, field


class DrillAsk(Value, frozen=True, kw_only=True):
    """The question of a drill.

    model: a route's id or alias
    text: the user's message
    times: number of requests, one after the other; `expect` applies to the last
    every: time between two requests; by default none
    image: true adds an image to the question
    tokens: length of the conversation in tokens, as the router estimates it
    caller: the name of the caller
    claims: claim of the caller's token → its value
    headers: header of the request → its value
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
    "Start", "Text", "Thought", "Source", "Produced", "ToolInput", "ToolCall", "ToolProgress", "ToolResult", "Approval", "LateResult",
    "ReasoningState", "Finish", "Failure",
]  # fmt: skip


class Expect(Value, frozen=True, kw_only=True):
    """The expected result. Without `fails`, the answer must be complete: no word may be missing, and none repeated.

    served_by: the target that gave the answer; after a rescue, the last one
    tried: all tries in order, each with its target and its outcome, e.g. gpt status_503
    events: the kinds of events in order, e.g. [Start, Text, Finish]; several of one kind in a row count as one
    within: the longest time for the whole answer, e.g. 3s; or the shortest and the longest time, e.g. 1.5s..3s
    finish: the finish reason
    fails: the code of the error with which the answer ends
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


class Drill(Value, frozen=True, kw_only=True):
    """A test of routes.yaml: faults of targets, and the expected result. It runs the code of the server; waits take no time.

    name: the title of the drill, a sentence on the behaviour
    given: target → its behaviour at every try. A list has one behaviour for each try; its last one repeats. Other targets answer
    ask: the question that is asked
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


class DrillFile(Value, frozen=True, kw_only=True):
    """The file `drills.yaml`: faults and expected results.

    drills: the drills that `router drill` runs
    """

    drills: tuple[Drill, ...]
