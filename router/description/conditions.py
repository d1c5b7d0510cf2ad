"""The `when` condition of a route's target, in words."""

from collections.abc import Iterator

from router.chat import Json, JsonObject
from router.description.canonical import listing, table


def condition(when: JsonObject) -> str:
    """Return a condition in words that follow "where", e.g. `the conversation shows an image`; empty without a condition."""
    return " and ".join(_clauses(when))


def _clauses(when: JsonObject) -> Iterator[str]:
    if caller := when.get("caller"):
        yield f"{_any(caller)} asks"
    for name, values in table(when.get("claim")).items():
        yield f"the token's {name} is {_any(values)}"
    for name, values in table(when.get("header")).items():
        yield f"the header {name} is {_any(values)}"
    if (image := when.get("has_image")) is not None:
        yield f"the conversation shows {'an' if image else 'no'} image"
    if tokens := when.get("tokens"):
        yield f"the conversation has {_range(str(tokens), 'fewer')} tokens"
    if used := when.get("budget_used"):
        yield f"{_range(str(used), 'less')} of the budget is used"


def _any(values: Json) -> str:
    return " or ".join(map(str, listing(values))) if listing(values) else str(values)


def _range(text: str, less: str) -> str:
    """Return a range such as `2000..8000` in words: `from 2000 to fewer than 8000`; without dots, `… or more`. `less`: fewer, or less."""
    least, dots, below = text.partition("..")
    if not dots or (least and not below):
        return f"{least} or more"
    return f"from {least} to {less} than {below}" if least else f"{less} than {below}"
