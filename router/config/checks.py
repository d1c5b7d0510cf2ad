"""Checks across the entries of routes.yaml: names that must exist, and entries that are a mistake beside others."""

import re
from collections.abc import Collection, Iterable, Sequence

from router.config.complaints import Complaints
from router.config.declaration import Declaration, RoutesFile
from router.config.document import Listing, Node, Scalar, Table, at, items_of, pairs_of
from router.config.entries import KnownCallers, check_entries
from router.config.kinds import check_kinds
from router.config.network import has_literal_password
from router.config.rows import Row, having, rows_of
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
    rows = rows_of(at(written, "routes"))  # none of these checks reads a key that `defaults` has
    used = _check_references(tree, rows, complaints)
    _check_callers(tree, routes, complaints)
    _check_limits(tree, rows, routes, complaints)
    check_kinds(rows, at(tree, "drills"), complaints)
    check_entries(rows, _callers_known(tree, routes), complaints)
    _check_proxies(tree, rows, complaints)
    if not loopback(host):
        reached = host or "every address of this machine"
        why = f"whoever reaches {reached} could ask, and you would pay: write under `server` who may"
        _require_auth(tree, written.place.file, why, complaints)
    _warn_of_addresses(tree, rows, complaints)
    _warn_of_paths(tree, complaints)
    return used


def _check_references(tree: Node | None, routes: Sequence[Row], complaints: Complaints) -> dict[str, dict[str, Scalar]]:
    """Complain of unknown and repeated names in routes and drills. Return as `check_across`."""
    used: dict[str, dict[str, Scalar]] = {"pipeline": {}, "tools": {}}
    targets = at(tree, "targets")
    known = dict.fromkeys([key.text for key, _ in targets.pairs]) if isinstance(targets, Table) else None
    taken = {name.text: name.place for name, _, _ in routes}
    for route, _, row in routes:
        for target in _words(row.get("targets")):
            if known is not None and target.text not in known:
                complaints.add(target.place, f"no target is named `{target.source}`{_declared(target, known, complaints)}")
        for alias in _words(row["aliases"]) if "aliases" in row else ():
            if alias.text in taken:
                complaints.add(alias.place, f"`{alias.source}` is taken: line {taken[alias.text].line} names it already")
            taken.setdefault(alias.text, alias.place)
        for word, places in used.items():
            for name in _words(row[word]) if word in row else ():
                places.setdefault(name.text, name)
        if "tools" in row:
            _check_tools(route.text, _words(row["tools"]), complaints)
    drills = at(tree, "drills")
    for drill in items_of(drills):
        given = (key for key, _ in pairs_of(at(drill, "given")))
        _check_known("target", (*given, *_words(at(drill, "expect", "served_by"))), known or (), complaints)
        _check_known("route", _words(at(drill, "ask", "model")), taken, complaints)
    _check_titles(drills, complaints)
    return used


def _check_tools(route: str, words: Sequence[Scalar], complaints: Complaints) -> None:
    """Complain of a tool set that stands twice in the tools of a route."""
    first: dict[str, Place] = {}
    for name in words:
        if first.setdefault(name.text, name.place) != name.place:
            complaints.add(name.place, f"`{name.source}` stands twice in the tools of `{route}`")


def _declared(target: Scalar, known: Collection[str], complaints: Complaints) -> str:
    """Return the advice for an unknown target of a route: a similar name, or how to declare the model that it names; may be empty."""
    hint = complaints.meant(target.text, known)
    if "did you mean" in hint or "/" not in target.source or "$" in target.source:
        return hint
    name = target.source.rpartition("/")[2]
    return f"; a route names targets, not models: write `{name}: {{model: {target.source}}}` under `targets:`, and `{name}` here"


def _check_known(kind: str, words: Iterable[Scalar], known: Collection[str], complaints: Complaints) -> None:
    """Complain of words that name no target, or no route (`kind`)."""
    for word in words:
        if word.text not in known:
            complaints.add(word.place, f"no {kind} is named `{word.source}`{complaints.meant(word.text, known)}")


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
    keys = at(tree, "server", "auth", "keys")
    if keys is None:
        return
    known = dict.fromkeys(map(str, routes.routes))
    if isinstance(keys, Table):
        owners: dict[str, str] = {}
        for name, key in keys.pairs:
            for given in _words(at(key, "hash")):
                if (first := owners.setdefault(given.text, name.text)) != name.text:
                    complaints.add(given.place, f"`{name.text}` and `{first}` have the same key")
            _check_known("route", _words(at(key, "routes")), known, complaints)
    elif isinstance(routes.server.auth, Auth):
        for name, key in (routes.server.auth.keys or {}).items():
            if any(route not in known for route in key.routes or ()):
                complaints.add(keys.place, f"the key of `{name}` names a route that there is not{complaints.meant('', known)}")


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


def _check_limits(tree: Node | None, rows: Sequence[Row], routes: RoutesFile, complaints: Complaints) -> None:
    """Complain of limits per key if no callers are declared: a client could get a fresh limit with each key that it makes up.

    If no caller names its end users, complain of limits per end user, too, and warn of caches for each.
    """
    names_users = _names_users(tree, routes)
    refused = (
        {} if names_users else {"user": f"`per: user` counts each end user, and {NO_USERS}; or write `per: key`, which counts each caller"}
    )
    if not isinstance(at(tree, "server", "auth"), Table):
        refused["key"] = NO_CALLERS
    for _, _, row in rows:
        per = at(row["limit"], "per") if "limit" in row else row.get("per")
        for one in _words(per) if per is not None else ():
            if why := refused.get(one.text):
                complaints.add(one.place, why)
        scope = at(row["cache"], "scope") if "cache" in row else row.get("scope")
        for one in _words(scope) if scope is not None else ():
            if one.text == "user" and not names_users:
                why = f"`scope: user` keeps answers for each end user, and {NO_USERS}. Until then it is `scope: caller`"
                complaints.warn(one.place, why)


def _names_users(tree: Node | None, routes: RoutesFile) -> bool:
    """Return True if some caller names its end users, or if the file of keys could not be read."""
    auth, declared = at(tree, "server", "auth"), routes.server.auth
    keys = at(auth, "keys")
    if at(auth, "jwt", "user_claim") is not None:
        return True
    if isinstance(keys, Table) or keys is None:
        return any(at(key, "user") is not None for _, key in pairs_of(keys))
    return not isinstance(declared, Auth) or declared.keys is None or any(key.user is not None for key in declared.keys.values())


def _check_proxies(tree: Node | None, routes: Sequence[Row], complaints: Complaints) -> None:
    """Complain of proxies whose password is written out in the file."""
    proxies = [at(tree, "network", "proxy"), at(tree, "server", "auth", "jwt", "proxy"), at(tree, "server", "otel", "proxy")]
    proxies += [proxy for _, _, proxy in having(at(tree, "targets"), "proxy")]
    proxies += [at(tool, "proxy") for _, _, row in routes if "tools" in row for tool in items_of(row["tools"])]
    for proxy in proxies:
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


def _warn_of_addresses(tree: Node | None, routes: Sequence[Row], complaints: Complaints) -> None:
    """Warn of a limit per address if `server.proxies` is not declared: all clients behind a proxy would share it."""
    if at(tree, "server", "proxies") is not None:
        return
    limits = [row["limit"] for _, _, row in routes if "limit" in row]
    for limit in (*limits, *(at(key, "limit") for _, key in pairs_of(at(tree, "server", "auth", "keys")))):
        per = at(limit, "per")
        if isinstance(per, Scalar) and per.text == "ip":
            complaints.warn(
                per.place,
                "`per: ip` counts by the address that a connection comes from: behind a proxy that is not declared, all clients share one "
                "limit. Write `proxies: [127.0.0.1]` under `server` with the proxy's address, or `proxies: []` where clients connect directly",
            )


SERVERS = ("openai", "hosted_vllm", "lm_studio", "llamafile")
"""Providers whose models are often self-hosted, as a rule below /v1."""
WITHOUT_PATH = re.compile(r"https?://[^/\s?#@]+/?")


def _warn_of_paths(tree: Node | None, complaints: Complaints) -> None:
    """Warn of an `api_base` without a path and without variables for a provider in SERVERS: most of their servers answer below /v1."""
    for _, target, base in having(at(tree, "targets"), "api_base"):
        if not isinstance(base, Scalar) or base.source != base.text or base.text.rstrip("/").count("/") > 2:
            continue
        model = target.get("model")
        if isinstance(model, Scalar) and model.text.partition("/")[0] in SERVERS and WITHOUT_PATH.fullmatch(base.text):
            complaints.warn(
                base.place,
                f"this address has no path, and most servers of OpenAI's API answer below /v1: write {base.text.rstrip('/')}/v1 "
                "where this one does",
            )


def _words(node: Node | None) -> list[Scalar]:
    """Return the scalars of a value, also of nested lists and of the `use` of entries; not those that are empty or lack a variable."""
    found: list[Scalar] = []
    for one in node.items if isinstance(node, Listing) else (node,):
        if isinstance(one, Scalar):
            if one.text and not (one.unset or one.forgiven):
                found.append(one)
        elif one is not None:
            found += _words(one.get("use") if isinstance(one, Table) else one)
    return found
