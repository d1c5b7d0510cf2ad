"""Attempts of a request, as its log record and the response's header list them."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from router.attempt import Attempt
from router.usage import Usage
from router.value import Value, names

DIGITS = 12
"""Digits of a dollar after the point: the cheapest token costs a billionth."""
COUNTS = names(Usage)
PARTS = COUNTS[2:]
"""Counts that are logged unless they are 0, or empty: of parts of the input and output tokens, and beside them."""


class Seam(Value, frozen=True):
    """A place in an answer's text where one target broke off and another went on.

    after: characters of the whole answer's text before it
    broken: the target that broke off
    joined: the target that went on
    """

    after: int
    broken: str
    joined: str

    def as_json(self) -> dict[str, object]:
        """Return the fields for the log and the pages."""
        return {"after_characters": self.after, "from": self.broken, "to": self.joined}


def seams(tried: Sequence[Sequence[Attempt]], texts: Sequence[int]) -> tuple[Seam, ...]:
    """Return the seams of an answer.

    tried: the attempts of each model call; calls that a tool of the request made are left out
    texts: characters of text that each model call of the answer wrote
    """
    found: list[Seam] = []
    call = 0
    for attempts in tried:
        if attempts and attempts[0].route:
            continue  # a tool asked them
        if len(attempts) > 1:
            for broken, joined in pairwise(one for one in attempts if one.first is not None):
                if broken.said:
                    found.append(Seam(sum(texts[:call]) + broken.said, broken.target, joined.target))
        call += 1
    return tuple(found)


def rescues(attempts: Iterable[Attempt]) -> int:
    """Return how often an attempt, maybe at the same target, took over an answer that broke off or was not of the required form."""
    spoke = [attempt for attempt in attempts if attempt.first is not None and not attempt.route]
    return sum(one.outcome != "ok" for one in spoke[:-1])


def tried(attempt: Attempt, cost: float | None) -> dict[str, object]:
    """Return an attempt for the log with its usage and cost, without fields that are unknown or empty. `cost`: in US dollars."""
    made: dict[str, object] = {"target": attempt.target, "outcome": attempt.outcome, "seconds": attempt.seconds}
    if attempt.route:
        made["route"] = attempt.route
    if attempt.first is not None:
        made["first_token_seconds"] = attempt.first
    if attempt.wait is not None:
        made["retry_after_seconds"] = attempt.wait
    if attempt.omitted:
        made["omitted"] = list(attempt.omitted)
    if attempt.output:
        made["output"] = attempt.output
    if (used := attempt.usage or attempt.estimate) is not None:
        made["input_tokens"] = used.input_tokens
        made["output_tokens"] = used.output_tokens
        if used != Usage(used.input_tokens, used.output_tokens):
            made.update((name, count) for name in PARTS if (count := getattr(used, name)))
        if cost is not None:
            made["cost_usd"] = round(cost, DIGITS)
        if attempt.usage is None:
            made["estimated"] = True
    return made


def header(attempts: Sequence[Attempt]) -> str:
    """Return the attempts as a structured field (RFC 9651), e.g. `"gpt";outcome=status_429;seconds=0.210;wait=2.0`.

    `omitted="temperature top_p"` lists parameters that the target was not sent; `output=json_object` names the way in which the form of the
    answer was emulated. An attempt that was let go counts as `abandoned` here, since the answer goes on without it.
    """
    listed = ""
    for one in attempts:
        if listed:
            listed += ", "
        listed += f'"{one.target}";outcome={one.outcome or "abandoned"};seconds={one.seconds:.3f}'
        if one.wait is not None:
            listed += f";wait={one.wait:.1f}"
        if one.omitted:
            listed += f';omitted="{" ".join(one.omitted)}"'
        if one.output not in ("", "native"):
            listed += f";output={one.output}"
    return listed
