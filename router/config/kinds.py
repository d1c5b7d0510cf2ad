"""Kinds of routes, and the keys that each of them has a use for."""

from collections.abc import Sequence

from router.config.complaints import Complaints
from router.config.document import Node, Scalar, Table, at, items_of, pairs_of
from router.config.rows import Row
from router.value import replace

CHAT_ONLY = {
    "pipeline": "embeddings are made of the inputs as they come",
    "tools": "a model that makes embeddings calls none",
    "max_steps": "a model that makes embeddings calls no tools",
    "reasoning": "a model that makes embeddings does not think",
    "hedge": "no second target is asked for embeddings while the first is late",
    "cache": "embeddings are not kept: keep them where you search them",
    "rescue": "embeddings come whole, and another target makes all of them anew",
    "affinity": "there is no chat that could stay with a target",
    "prompt_cache": "there is no prompt",
    "max_output": "a model that makes embeddings writes no tokens",
    "refuse": "a question for embeddings brings no tools and no messages",
}
"""Key of a route that an embeddings route has no use for → the reason, as a clause."""
DRILL_OF_CHATS = {
    "ask": {"image": "embeddings are made of texts", "tokens": "there is no conversation"},
    "expect": {"events": "its answer comes whole", "finish": "its answer comes whole"},
}
"""Part of a drill → its keys that a drill of an embeddings route has no use for → the reason, as a clause."""
NO_PIPELINE = "none"
"""Name that stands in for the pipeline of an embeddings route; no such file is looked for."""


def check_kinds(routes: Sequence[Row], drills: Node | None, complaints: Complaints) -> None:
    """Complain of keys and conditions of embeddings routes and their drills that only chats have. `routes`: without `defaults` put in."""
    embedders = [(name.text, route, row) for name, route, row in routes if "kind" in row and _makes_embeddings(row["kind"])]
    for name, route, row in embedders:
        for key, _ in pairs_of(route):
            if why := CHAT_ONLY.get(key.text):
                complaints.add(key.place, f"`{name}` is of kind embeddings, and has no use for `{key.text}`: {why}. Leave it out")
        for when in _conditions(row.get("targets")):
            complaints.add(when.place, f"`{name}` is of kind embeddings, and its targets take no `when`: conditions are for chats")

    aliases = (one.text for _, _, row in embedders for one in items_of(row.get("aliases")) if isinstance(one, Scalar))
    named = {*aliases, *(name for name, _, _ in embedders)}
    for drill in items_of(drills) if embedders else ():
        model = at(drill, "ask", "model")
        if not isinstance(model, Scalar) or model.text not in named:
            continue
        for part, useless in DRILL_OF_CHATS.items():
            for key, _ in pairs_of(at(drill, part)):
                if why := useless.get(key.text):
                    found = f"`{model.text}` is of kind embeddings, and its drills have no `{key.text}`: {why}. Leave it out"
                    complaints.add(key.place, found)


def with_pipeline(route: Table) -> Table:
    """Return the route with a stand-in pipeline (NO_PIPELINE) if it is an embeddings route without one."""
    kind = route.get("kind")
    if kind is None or not _makes_embeddings(kind) or route.get("pipeline") is not None:
        return route
    key, value = (Scalar(route.place, text, plain=True, source=text) for text in ("pipeline", NO_PIPELINE))
    return replace(route, pairs=(*route.pairs, (key, value)))


def _makes_embeddings(kind: Node) -> bool:
    return isinstance(kind, Scalar) and kind.text == "embeddings"


def _conditions(node: Node | None) -> list[Node]:
    own = at(node, "when")
    below = [*items_of(node), *([used] if (used := at(node, "use")) is not None else [])]
    return [*([own] if own is not None else []), *(found for one in below for found in _conditions(one))]
