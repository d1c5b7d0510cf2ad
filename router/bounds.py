"""Bounds of a number, declared in its type: `Annotated[int, Bounds(1, 10)]`. They are checked, and appear in the JSON schema."""

from collections.abc import Callable
from typing import Any

from router.value import Value


class Bounds(Value, frozen=True):
    """The bounds of a number; None means no bound. `least` and `most` are included, `above` is not."""

    least: float | None = None
    most: float | None = None
    above: float | None = None

    def hold(self, value: float) -> bool:
        """Return whether a number is within the bounds."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
        )

    def schema(self) -> dict[str, float]:
        """Return the bounds that are set as JSON schema keywords: `minimum`, `maximum`, `exclusiveMinimum`."""
        named = {"minimum": self.least, "maximum": self.most, "exclusiveMinimum": self.above}
        return {name: value for name, value in named.items() if value is not None}

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[[object], dict[str, Any]]) -> dict[str, Any]:
        """Return pydantic's schema of a number within the bounds, for tool parameters."""
        named = {"ge": self.least, "le": self.most, "gt": self.above}
        return {**handler(source), **{name: value for name, value in named.items() if value is not None}}

    def __str__(self) -> str:
        """Return the bounds as words after "must be": `from 1 to 10`, `at least 1`, `above 0, and 9 at most`."""
        if self.least is not None and self.most is not None:
            return f"from {_plain(self.least)} to {_plain(self.most)}"
        least = f"at least {_plain(self.least)}" if self.least is not None else f"above {_plain(self.above or 0)}"
        return least if self.most is None else f"{least}, and {_plain(self.most)} at most"


def _plain(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
