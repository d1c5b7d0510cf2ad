"""The fields of a request's record, as the log and the operators' pages show them, in two parts. None: empty or not known."""

from collections.abc import Sequence
from typing import Any

from router.value import Mutable, Value


class SharedFields(Value, frozen=True):
    """The first fields, after the request's id. Most requests have the values of an earlier one."""

    generation: str
    caller: str
    user: str | None
    route: str
    stream: bool | None
    status: int
    outcome: str
    reason: str | None
    target: str
    cache: str | None
    fault: str | None
    steps: int


class OwnFields(Mutable):
    """The other fields, which differ between requests. Costs are in US dollars."""

    tools: Sequence[dict[str, Any]]
    attempts: Sequence[dict[str, Any]]
    rescues: int
    seams: Sequence[dict[str, Any]]
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    estimated: bool
    estimated_cost_usd: float | None
    first_token_seconds: float | None
    seconds: float | None
