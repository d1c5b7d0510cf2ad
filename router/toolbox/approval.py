"""A tool that asks for approval itself, depending on the arguments of a call.

    @needs_approval(lambda amount, to: amount > 100)
    async def pay(amount: float, to: str) -> str: …

The condition is part of the tool's file: it runs where the tool runs, before it, and gets the arguments that the tool would get.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from router.errors import Misfit

Condition = Callable[..., bool]
Function = TypeVar("Function", bound=Callable[..., Any])
ATTRIBUTE = "__pointsman_needs_approval__"


def needs_approval(when: Condition) -> Callable[[Function], Function]:
    """Return a decorator that marks a tool: the user has to allow each call for whose arguments `when` (not `async`) returns true."""

    def decorated(function: Function) -> Function:
        setattr(function, ATTRIBUTE, when)
        return function

    return decorated


def condition_of(function: Callable[..., object], parameters: Iterable[str]) -> Condition | None:
    """Return the `when` of a tool's `needs_approval`; None without one. Misfit if it is `async` or cannot take the tool's parameters."""
    when: Condition | None = getattr(function, ATTRIBUTE, None)
    if when is None:
        return None
    if inspect.iscoroutinefunction(when):
        raise Misfit("the condition of `needs_approval` is not `async`: it looks at the arguments alone")
    try:
        inspect.signature(when).bind(**dict.fromkeys(parameters))
    except TypeError as error:
        raise Misfit(f"the condition of `needs_approval` does not take the tool's arguments: {error}") from None
    return when
