"""Findings of a rehearsal, as lines of routes.yaml."""

from collections.abc import Mapping
from typing import Literal, get_args

from router.chat import Json
from router.config.facts import FactsConfig, Hint
from router.targets import Facts
from router.value import Value, names

HINTS: tuple[str, ...] = get_args(Hint)
NAMES = names(FactsConfig)
"""Facts that a target can declare, in the order in which they are written."""


class Finding(Value, frozen=True):
    """A difference between a model's behaviour and its configuration, in words of ours, and the question that showed it.

    where: the place of the line: the target, or each route that asks it
    line: the line of routes.yaml that declares it; empty if no line helps
    """

    question: str
    sentence: str
    where: Literal["target", "route"] = "target"
    line: str = ""


def declarable(facts: Facts) -> dict[str, Json]:
    """Return key of a target's `facts` → the present value, for all facts that can be declared."""
    refused = {*facts.refuses, *facts.refuses_thinking, *(("top_p",) if facts.one_of_sampling else ())}
    return {
        "refuses": [one for one in HINTS if one in refused],
        "limit": facts.limit,
        "thinking": facts.thinking,
        "efforts": list(facts.efforts),
        "tools": facts.tools,
        "forced_tools": facts.forced_tools,
        "wire": "chat" if facts.responses == "never" else "responses",
        "returns": facts.returns,
        "prefill": facts.prefill,
        "max_output": facts.max_output,
    }


def changed(before: Facts, after: Facts) -> dict[str, Json]:
    """Return those declarable facts whose values differ, each with its value in `after`."""
    old = declarable(before)
    return {name: value for name, value in declarable(after).items() if value != old[name]}


def facts_line(facts: Mapping[str, Json]) -> str:
    """Return the line of routes.yaml that declares these facts of a target, such as `facts: {tools: false}`."""
    return f"facts: {{{', '.join(f'{name}: {_written(facts[name])}' for name in NAMES if name in facts)}}}"


def _written(value: Json) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
