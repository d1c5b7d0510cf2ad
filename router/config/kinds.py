"""Kinds of routes: which keys of a route each of them has a use for."""

from router.config.binding import Complaints
from router.config.document import Listing, Node, Scalar, Table

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
}
"""Keys of a route that an embeddings route has no use for → why."""


def check_kinds(tree: Node | None, complaints: Complaints) -> None:
    """Complain of keys that a route's kind has no use for. `tree`: as it is written; what a route inherits is no mistake."""
    routes = tree.get("routes") if isinstance(tree, Table) else None
    for name, route in routes.pairs if isinstance(routes, Table) else ():
        kind = route.get("kind") if isinstance(route, Table) else None
        if not isinstance(route, Table) or not isinstance(kind, Scalar) or kind.text != "embeddings":
            continue
        for key, _ in route.pairs:
            if (why := CHAT_ONLY.get(key.text)) is not None:
                complaints.add(key.place, f"`{name.text}` is of kind embeddings, and has no use for `{key.text}`: {why}. Leave it out")
        targets = route.get("targets")
        for when in _conditions(targets):
            complaints.add(when.place, f"`{name.text}` is of kind embeddings, and its targets take no `when`: conditions are for chats")


def _conditions(node: Node | None) -> list[Node]:
    if isinstance(node, Listing):
        return [found for item in node.items for found in _conditions(item)]
    if isinstance(node, Table):
        own = node.get("when")
        return [*([own] if own is not None else []), *_conditions(node.get("use"))]
    return []
