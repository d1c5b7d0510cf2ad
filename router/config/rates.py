"""Rates as they are written: `10/minute`, `5USD/day`."""

import re
from dataclasses import dataclass

from router.errors import Misfit

UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate: at most `count` in any period of `seconds`.

    It does not hold what is counted: the field of the limit says whether requests, tokens or US dollars.
    """

    count: float
    seconds: float


def rate(text: str) -> Rate:
    """Parse a rate such as `10/minute`: a whole number in a second, minute, hour or day. Raise Misfit if it is not one."""
    hit = re.fullmatch(rf"([1-9]\d{{0,14}})/({'|'.join(UNITS)})", text, re.ASCII)
    if hit is None:
        raise Misfit(f"`{text}` is not a rate: write a whole number and second, minute, hour or day, e.g. 10/minute")
    return Rate(int(hit[1]), UNITS[hit[2]])


def spend(text: str) -> Rate:
    """Parse a spend such as `5USD/day`: US dollars in a second, minute, hour or day. Raise Misfit if it is not one."""
    hit = re.fullmatch(rf"(\d{{1,9}}(?:\.\d{{1,6}})?)USD/({'|'.join(UNITS)})", text, re.ASCII)
    if hit is None or not float(hit[1]):
        raise Misfit(f"`{text}` is not a sum in a time: write US dollars and second, minute, hour or day, e.g. 5USD/day")
    return Rate(float(hit[1]), UNITS[hit[2]])


def written_rate(made: Rate) -> str:
    """Return a rate as the file has it, e.g. `10/minute`."""
    return f"{made.count:.0f}/{_unit(made)}"


def written_spend(made: Rate) -> str:
    """Return a spend as the file has it, e.g. `5USD/day`."""
    return f"{made.count:g}USD/{_unit(made)}"


def _unit(made: Rate) -> str:
    return next(unit for unit, seconds in UNITS.items() if seconds == made.seconds)
