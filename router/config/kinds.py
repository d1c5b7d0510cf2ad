"""Kinds of routes, and the keys that each of them has a use for."""

from collections.abc import Container, Iterator

from router.config.complaints import Complaints
from router.config.document import Listing, Node, Scalar, Table, at, items_of, pairs_of
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


def check_kinds(tree: Node | None, complaints: Complaints) -> None:
    """Complain of keys and conditions of embeddings routes and their drills that only chats have. `tree`: without `defaults` put in."""
    routes = pairs_of(at(tree, "routes"))
    embedders = [(name.text, route) for name, route in routes if isinstance(route, Table) and _makes_embeddings(route)]
    for name, route in embedders:
        for key, _ in route.pairs:
            if (why := CHAT_ONLY.get(key.text)) is not None:
                complaints.add(key.place, f"`{name}` is of kind embeddings, and has no use for `{key.text}`: {why}. Leave it out")
        for when in _conditions(route.get("targets")):
            complaints.add(when.place, f"`{name}` is of kind embeddings, and its targets take no `when`: conditions are for chats")

    named = {one for name, route in embedders for one in (name, *_aliases(route))}
    for drill in items_of(at(tree, "drills")):
        _check_drill(drill, named, complaints)


def _check_drill(drill: Node, embedders: Container[str], complaints: Complaints) -> None:
    """Complain of keys that only chats have, in a drill of an embeddings route. `embedders`: ids and aliases of these routes."""
    model = at(drill, "ask", "model")
    if not isinstance(model, Scalar) or model.text not in embedders:
        return
    for part, useless in DRILL_OF_CHATS.items():
        for key, _ in pairs_of(at(drill, part)):
            if (why := useless.get(key.text)) is not None:
                complaints.add(key.place, f"`{model.text}` is of kind embeddings, and its drills have no `{key.text}`: {why}. Leave it out")


def without_pipelines(tree: Table) -> Table:
    """Return the tree with a stand-in pipeline (NO_PIPELINE) in each embeddings route that has none."""
    routes = tree.get("routes")
    if not isinstance(routes, Table):
        return tree
    pairs = tuple((name, _stood_in(route) if _makes_embeddings(route) else route) for name, route in routes.pairs)
    return tree.having("routes", replace(routes, pairs=pairs))


def _stood_in(route: Node) -> Node:
    if not isinstance(route, Table) or route.get("pipeline") is not None:
        return route
    key = Scalar(route.place, "pipeline", plain=True, source="pipeline")
    return replace(route, pairs=(*route.pairs, (key, Scalar(route.place, NO_PIPELINE, plain=True, source=NO_PIPELINE))))


def _aliases(route: Table) -> Iterator[str]:
    return (one.text for one in items_of(route.get("aliases")) if isinstance(one, Scalar))


def _makes_embeddings(route: Node) -> bool:
    kind = at(route, "kind")
    return isinstance(kind, Scalar) and kind.text == "embeddings"


def _conditions(node: Node | None) -> list[Node]:
    if isinstance(node, Listing):
        return [found for item in node.items for found in _conditions(item)]
    if isinstance(node, Table):
        own = node.get("when")
        return [*([own] if own is not None else []), *_conditions(node.get("use"))]
    return []
