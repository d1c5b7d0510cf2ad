"""The values that an entry of routes.yaml has from elsewhere: of `defaults`, of `network`, and of variables that may be missing."""

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from router.config.declaration import Defaults, Route, RoutesFile, TargetConfig
from router.config.document import Node, Scalar, Table, pairs_of, values_in, with_scalars
from router.config.kinds import with_pipeline
from router.config.network import is_this_machine
from router.config.rows import having
from router.config.server import Auth, Jwt, Otel
from router.config.tools import ToolServer
from router.signature import record_of
from router.value import replace


def with_optional_targets(tree: Table, skipped: dict[str, str]) -> Table:
    """Return the tree with missing variables of optional targets `forgiven`. `skipped`, filled here: such a target → what it lacks."""
    targets = tree.get("targets")
    words = having(targets, "optional")
    optional = {name.text for name, _, word in words if isinstance(word, Scalar) and word.text == "true"}
    if not isinstance(targets, Table) or not optional:
        return tree
    pairs: list[tuple[Scalar, Node]] = []
    for key, node in targets.pairs:
        if key.text not in optional:
            pairs.append((key, node))
            continue
        values = [one for one in values_in(node) if isinstance(one, Scalar)]
        if lacks := dict.fromkeys(one.unset for one in values if one.unset and not one.forgiven):
            skipped[key.text] = "; ".join(lacks)
        pairs.append((key, with_scalars(node, lambda one: replace(one, forgiven=True) if one.unset else one)))
    return tree.having("targets", replace(targets, pairs=tuple(pairs)))


def with_defaults(tree: Table) -> Table:
    """Return the tree with `defaults` put into each route, nested mappings included, and a stand-in for a missing embeddings pipeline."""
    routes = tree.get("routes")
    defaults = {key.text: (key, value) for key, value in pairs_of(tree.get("defaults")) if key.text in record_of(Defaults).named}
    if not isinstance(routes, Table) or not (defaults or having(routes, "kind")):
        return tree
    pairs = [(key, _inherited(with_pipeline(node), defaults) if isinstance(node, Table) else node) for key, node in routes.pairs]
    return tree.having("routes", replace(routes, pairs=tuple(pairs)))


def _inherited(table: Table, under: Mapping[str, tuple[Scalar, Node]]) -> Table:
    """Return `table` with the pairs of `under` (key → pair) whose key it lacks, also within nested mappings."""
    if not under:
        return table
    missing = dict(under)
    pairs: list[tuple[Scalar, Node]] = []
    for key, value in table.pairs:
        _, below = missing.pop(key.text, (None, None))
        if isinstance(below, Table) and isinstance(value, Table):
            pairs.append((key, _inherited(value, {one.text: (one, inner) for one, inner in below.pairs})))
        else:
            pairs.append((key, value))
    return Table(table.place, (*pairs, *missing.values()))


def through(routes: RoutesFile) -> RoutesFile:
    """Return the configuration with `network.proxy` and `network.ca` in each target, MCP server, issuer and collector without its own.

    A target on this machine gets no proxy. Scripts and MCP commands get neither.
    """
    network, server = routes.network, routes.server
    if network.proxy is None and network.ca is None:
        return routes

    def led(one: Reached) -> Reached:
        return replace(one, proxy=one.proxy or network.proxy, ca=one.ca or network.ca)

    def target(one: TargetConfig) -> TargetConfig:
        if one.model is None:
            return one
        here = one.api_base is not None and is_this_machine(urlsplit(one.api_base).hostname or "")
        return replace(one, proxy=one.proxy or (None if here else network.proxy), ca=one.ca or network.ca)

    def route(one: Route) -> Route:
        if not one.tools:
            return one
        tools = tuple(led(tool) if isinstance(tool, ToolServer) and tool.at_address else tool for tool in one.tools)
        return replace(one, tools=tools)

    auth, otel = server.auth, server.otel
    if isinstance(auth, Auth) and auth.jwt is not None and auth.jwt.jwks is not None and auth.jwt.jwks.url:
        auth = replace(auth, jwt=led(auth.jwt))
    return replace(
        routes,
        targets={name: target(one) for name, one in routes.targets.items()},
        routes={name: route(one) for name, one in routes.routes.items()},
        server=replace(server, auth=auth, otel=led(otel) if otel is not None else None),
    )


Reached = TypeVar("Reached", ToolServer, Jwt, Otel)
