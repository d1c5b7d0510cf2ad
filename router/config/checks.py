"""Checks across the entries of routes.yaml: names that must exist, and entries that are a mistake beside others."""

import re
from collections.abc import Collection, Iterable

from router.config.complaints import Complaints
from router.config.declaration import Declaration, RoutesFile
from router.config.document import Node, Scalar, Table, at, items_of, pairs_of
from router.config.entries import KnownCallers, check_entries
from router.config.kinds import check_kinds
from router.config.meant import did_you_mean
from router.config.network import has_literal_password
from router.config.server import Auth
from router.config.snapshot import DRILLS
from router.config.values import loopback
from router.errors import Place


def check_across(tree: Node | None, written: Table, routes: RoutesFile, host: str, complaints: Complaints) -> dict[str, dict[str, Scalar]]:
    """Check what no entry shows by itself. Return {"pipeline": …, "tools": …}: each name that routes use → where it stands first.

    tree: the routes file with `defaults` put into its routes
    written: the routes file without `defaults` put in
    host: the address it is to be served at
    """
    used = _check_references(tree, complaints)
    _check_callers(tree, routes, complaints)
    _check_limits(tree, routes, complaints)
    check_kinds(written, complaints)
    check_entries(tree, _callers_known(tree, routes), complaints)
    _check_proxies(tree, complaints)
    if not loopback(host):
        reached = host or "every address of this machine"
        why = f"whoever reaches {reached} could ask, and you would pay: write under `server` who may"
        _require_auth(tree, written.place.file, why, complaints)
    _warn_of_addresses(tree, complaints)
    _warn_of_paths(tree, complaints)
    return used


def _check_references(tree: Node | None, complaints: Complaints) -> dict[str, dict[str, Scalar]]:
    """Complain of unknown and repeated names in routes and drills. Return as `check_across`."""
    used: dict[str, dict[str, Scalar]] = {"pipeline": {}, "tools": {}}
    targets, pairs = at(tree, "targets"), pairs_of(at(tree, "routes"))
    known = dict.fromkeys(key.text for key, _ in targets.pairs) if isinstance(targets, Table) else None
    taken = {key.text: key.place for key, _ in pairs}
    for key, route in pairs:
        for target in _words(route, "targets"):
            if known is not None and target.text not in known:
                complaints.add(target.place, f"no target is named `{target.source}`{_declared(target, known)}")
        for alias in _words(route, "aliases"):
            if alias.text in taken:
                complaints.add(alias.place, f"`{alias.source}` is taken: line {taken[alias.text].line} names it already")
            taken.setdefault(alias.text, alias.place)
        for word, places in used.items():
            for name in _words(route, word):
                if name.place != route.place:  # else it is the stand-in of an embeddings route
                    places.setdefault(name.text, name)
        words = _words(route, "tools")
        for name in words[1:]:
            if any(name.text == other.text and name.place != other.place for other in words[: words.index(name)]):
                complaints.add(name.place, f"`{name.source}` stands twice in the tools of `{key.text}`")
    drills = at(tree, "drills")
    for drill in items_of(drills):
        given = (key for key, _ in pairs_of(at(drill, "given")))
        _check_known("target", (*given, *_words(at(drill, "expect"), "served_by")), known or (), complaints)
        _check_known("route", _words(at(drill, "ask"), "model"), taken, complaints)
    _check_titles(drills, complaints)
    return used


def _declared(target: Scalar, known: Iterable[str]) -> str:
    """Return the advice for an unknown target of a route: a similar name, or how to declare the model that it names; may be empty."""
    hint = did_you_mean(target.text, known)
    if "did you mean" in hint or "/" not in target.source or "$" in target.source:
        return hint
    name = target.source.rpartition("/")[2]
    return f"; a route names targets, not models: write `{name}: {{model: {target.source}}}` under `targets:`, and `{name}` here"


def _check_known(kind: str, words: Iterable[Scalar], known: Collection[str], complaints: Complaints) -> None:
    """Complain of words that name no target, or no route (`kind`)."""
    for word in words:
        if word.text not in known:
            complaints.add(word.place, f"no {kind} is named `{word.source}`{did_you_mean(word.text, known)}")


def _check_titles(drills: Node | None, complaints: Complaints) -> None:
    """Complain of a drill in drills.yaml with the name of an earlier drill; warn of one in the routes file, where it was valid before."""
    first: dict[str, Place] = {}
    names = (at(drill, "name") for drill in items_of(drills))
    for name in (one for one in names if isinstance(one, Scalar)):
        known = first.setdefault(name.text, name.place)
        if known != name.place:
            say = complaints.add if name.place.file == DRILLS else complaints.warn
            say(name.place, f"line {known.line} of {known.file} has a drill of this name: give one of them another name")


def _check_callers(tree: Node | None, routes: RoutesFile, complaints: Complaints) -> None:
    """Complain of keys with the same hash, and of unknown routes in a key. Of a file of keys only the routes are checked here."""
    known, keys = dict.fromkeys(map(str, routes.routes)), at(tree, "server", "auth", "keys")
    if isinstance(keys, Table):
        owners: dict[str, str] = {}
        for name, key in keys.pairs:
            for given in _words(key, "hash"):
                if (first := owners.setdefault(given.text, name.text)) != name.text:
                    complaints.add(given.place, f"`{name.text}` and `{first}` have the same key")
            _check_known("route", _words(key, "routes"), known, complaints)
    elif keys is not None and isinstance(routes.server.auth, Auth):
        for name, key in (routes.server.auth.keys or {}).items():
            if any(route not in known for route in key.routes or ()):
                complaints.add(keys.place, f"the key of `{name}` names a route that there is not{did_you_mean('', known)}")


def _callers_known(tree: Node | None, routes: RoutesFile) -> KnownCallers | None:
    """Return the callers that a condition may name, perhaps none (an empty KnownCallers); None if `server.auth` has a mistake."""
    auth = routes.server.auth
    if isinstance(auth, Auth):
        return KnownCallers({str(name): key for name, key in (auth.keys or {}).items()}, auth.jwt is not None)
    return None if isinstance(at(tree, "server", "auth"), Table) else KnownCallers({}, jwt=False)


NO_CALLERS = (
    "`per: key` counts each caller, and none are declared: declare them under `server.auth` (`keys` or `jwt`), or write `per: ip` or "
    "`per: route`"
)
NO_USERS = (
    "no caller names its end users: write `user: {header: X-OpenWebUI-User-Id}` in the key of the front end under `server.auth.keys`, or "
    "`user_claim` under `server.auth.jwt`"
)


def _check_limits(tree: Node | None, routes: RoutesFile, complaints: Complaints) -> None:
    """Complain of limits per key if no callers are declared: a client could get a fresh limit with each key that it makes up.

    If no caller names its end users, complain of limits per end user, too, and warn of caches for each.
    """
    names_users = _names_users(tree, routes)
    refused = (
        {} if names_users else {"user": f"`per: user` counts each end user, and {NO_USERS}; or write `per: key`, which counts each caller"}
    )
    if not isinstance(at(tree, "server", "auth"), Table):
        refused["key"] = NO_CALLERS
    for _, route in pairs_of(at(tree, "routes")):
        for per in _words(at(route, "limit") or route, "per"):
            if why := refused.get(per.text):
                complaints.add(per.place, why)
        for scope in _words(at(route, "cache") or route, "scope"):
            if scope.text == "user" and not names_users:
                why = f"`scope: user` keeps answers for each end user, and {NO_USERS}. Until then it is `scope: caller`"
                complaints.warn(scope.place, why)


def _names_users(tree: Node | None, routes: RoutesFile) -> bool:
    """Return True if some caller names its end users, or if the file of keys could not be read."""
    auth, declared = at(tree, "server", "auth"), routes.server.auth
    keys = at(auth, "keys")
    if at(auth, "jwt", "user_claim") is not None:
        return True
    if isinstance(keys, Table) or keys is None:
        return any(at(key, "user") is not None for _, key in pairs_of(keys))
    return not isinstance(declared, Auth) or declared.keys is None or any(key.user is not None for key in declared.keys.values())


def _check_proxies(tree: Node | None, complaints: Complaints) -> None:
    """Complain of proxies whose password is written out in the file."""
    holders = [
        at(tree, "network"),
        *(target for _, target in pairs_of(at(tree, "targets"))),
        *(tool for _, route in pairs_of(at(tree, "routes")) for tool in items_of(at(route, "tools"))),
        at(tree, "server", "auth", "jwt"),
        at(tree, "server", "otel"),
    ]
    for holder in holders:
        proxy = at(holder, "proxy")
        if isinstance(proxy, Scalar) and has_literal_password(proxy.source):
            complaints.add(
                proxy.place,
                "a password does not belong in the file: write http://${PROXY_USER}:${PROXY_PASSWORD}@host:port, and set the variables, "
                "percent-encoded, where the router is started",
            )


def require_auth(declaration: Declaration) -> None:
    """Complain of a declaration without `server.auth`, whatever the address; for ROUTER_ENV=production. `auth: none` counts as declared."""
    why = "ROUTER_ENV is production, and nothing says who may ask: write it under `server`"
    _require_auth(declaration.tree, declaration.snapshot.routes, why, declaration.complaints)


def _require_auth(tree: Node | None, file: str, why: str, complaints: Complaints) -> None:
    server = at(tree, "server")
    if isinstance(tree, Table) and at(server, "auth") is None:
        complaints.add(
            server.place if server else Place(file, 1, 1),
            f"{why}. `auth: {{keys: {{NAME: {{hash: …}}}}}}` takes what `router keys new NAME` prints, `auth: {{jwt: …}}` an issuer's "
            "tokens; where something else keeps strangers out, write `auth: none`",
        )


def _warn_of_addresses(tree: Node | None, complaints: Complaints) -> None:
    """Warn of a limit per address if `server.proxies` is not declared: all clients behind a proxy would share it."""
    if at(tree, "server", "proxies") is not None:
        return
    for _, holder in (*pairs_of(at(tree, "routes")), *pairs_of(at(tree, "server", "auth", "keys"))):
        per = at(holder, "limit", "per")
        if isinstance(per, Scalar) and per.text == "ip":
            complaints.warn(
                per.place,
                "`per: ip` counts by the address that a connection comes from: behind a proxy that is not declared, all clients share one "
                "limit. Write `proxies: [127.0.0.1]` under `server` with the proxy's address, or `proxies: []` where clients connect directly",
            )


SERVERS = ("openai", "hosted_vllm", "lm_studio", "llamafile")
"""Providers whose models are often self-hosted, as a rule below /v1."""


def _warn_of_paths(tree: Node | None, complaints: Complaints) -> None:
    """Warn of an `api_base` without a path and without variables for a provider in SERVERS: most of their servers answer below /v1."""
    for _, target in pairs_of(at(tree, "targets")):
        model, base = at(target, "model"), at(target, "api_base")
        if not isinstance(model, Scalar) or not isinstance(base, Scalar) or base.source != base.text:
            continue
        if model.text.partition("/")[0] in SERVERS and re.fullmatch(r"https?://[^/\s?#@]+/?", base.text):
            complaints.warn(
                base.place,
                f"this address has no path, and most servers of OpenAI's API answer below /v1: write {base.text.rstrip('/')}/v1 "
                "where this one does",
            )


def _words(node: Node | None, name: str) -> list[Scalar]:
    """Return the scalars under a key, also of nested lists and of the `use` of entries; not those that are empty or lack a variable."""
    return [entry for entry in _scalars(at(node, name)) if entry.text and not (entry.unset or entry.forgiven)]


def _scalars(node: Node | None) -> list[Scalar]:
    if node is None:
        return []
    if isinstance(node, Scalar):
        return [node]
    return [scalar for one in (*items_of(node), at(node, "use")) if one is not None for scalar in _scalars(one)]
