"""Limits on use, as a route or a caller's key declares them."""

import re
from functools import cached_property
from typing import Annotated, Literal, Self

from router.bounds import Bounds
from router.errors import Misfit
from router.signature import Spelled
from router.value import Value, replace

MAX_CONCURRENT = 1_000_000
RATES = ("requests", "tokens", "spend")
"""Fields of a limit that are a rate; the remaining limit, `concurrent`, is a number."""
UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
UNIT = f"({'|'.join(UNITS)})"
UNIT_OF = {seconds: unit for unit, seconds in UNITS.items()}


class Rate(Value, frozen=True):
    """A rate: at most `count` in any period of `seconds`. The field of the limit says what is counted: requests, tokens or US dollars."""

    count: float
    seconds: float


def rate(text: str) -> Rate:
    """Parse a rate such as `10/minute`: a whole number in a second, minute, hour or day. Raise Misfit if it is not one."""
    hit = re.fullmatch(rf"([1-9]\d{{0,14}})/{UNIT}", text, re.ASCII)
    if hit is None:
        raise Misfit(f"`{text}` is not a rate: write a whole number and second, minute, hour or day, e.g. 10/minute")
    return Rate(int(hit[1]), UNITS[hit[2]])


def spend(text: str) -> Rate:
    """Parse a spend such as `5USD/day`: US dollars in a second, minute, hour or day. Raise Misfit if it is not one."""
    hit = re.fullmatch(rf"(\d{{1,9}}(?:\.\d{{1,6}})?)USD/{UNIT}", text, re.ASCII)
    if hit is None or not float(hit[1]):
        raise Misfit(f"`{text}` is not a sum in a time: write US dollars and second, minute, hour or day, e.g. 5USD/day")
    return Rate(float(hit[1]), UNITS[hit[2]])


def written_rate(made: Rate) -> str:
    """Return a rate as the file has it, e.g. `10/minute`."""
    return f"{made.count:.0f}/{UNIT_OF[made.seconds]}"


def written_spend(made: Rate) -> str:
    """Return a spend as the file has it, e.g. `5USD/day`."""
    return f"{made.count:g}USD/{UNIT_OF[made.seconds]}"


Count = Annotated[Rate, Spelled("rate", rate, rf"^[1-9]\d*/{UNIT}$", "10/minute", written_rate)]
Money = Annotated[Rate, Spelled("spend", spend, rf"^\d+(\.\d+)?USD/{UNIT}$", "5USD/day", written_spend)]


class Limit(Value, frozen=True, kw_only=True, dict=True):
    """A limit on use. Tokens and spend are known only when an answer is over, so such a limit refuses the next question.

    requests: maximum number of requests in a period, e.g. 10/minute
    tokens: maximum number of tokens in a period, read and written, as the providers count them
    spend: maximum number of US dollars in a period, by the prices of the targets
    concurrent: maximum number of answers at one time
    per: what is counted together: one address (ip), one caller (key), one end user of a caller (user), or all of the route (route)
    """

    requests: Count | None = None
    tokens: Count | None = None
    spend: Money | None = None
    concurrent: Annotated[int, Bounds(1, MAX_CONCURRENT)] | None = None
    per: Literal["ip", "key", "user", "route"] = "route"

    def __post_init__(self) -> None:
        if self.requests is None and self.tokens is None and self.spend is None and self.concurrent is None:
            raise Misfit("a limit limits something: requests, tokens, spend or concurrent")

    @cached_property
    def spelled(self) -> str:
        """The limit as text: equal limits have equal texts. A part of the key of its counts; cached, because every request needs it."""
        return str(self)

    def times(self, factor: int) -> Self:
        """Return a copy with `factor` times the requests, tokens, spend and concurrent answers; at most 1,000,000 concurrent answers."""
        more = {name: replace(rate, count=rate.count * factor) for name in RATES if (rate := getattr(self, name)) is not None}
        most = None if self.concurrent is None else min(self.concurrent * factor, MAX_CONCURRENT)
        return replace(self, **more, concurrent=most)
