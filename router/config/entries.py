"""Checks of routes' targets: conditions that can never hold, and entries that no question reaches."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

from router.config.binding import bind
from router.config.complaints import Complaints
from router.config.conditions import When, reachable
from router.config.document import Listing, Node, Scalar, Table, at, items_of
from router.config.keys import ApiKey
from router.config.rows import Row
from router.signature import record_of
from router.value import Value


class KnownCallers(Value, frozen=True, dict=True):
    """The callers that the configuration knows. `keys`: caller → its key; `jwt`: True if callers may bear an issuer's token."""

    keys: Mapping[str, ApiKey]
    jwt: bool

    @cached_property
    def with_budget(self) -> Mapping[str, ApiKey]:
        """The callers whose key limits money or tokens, with their keys."""
        return {name: key for name, key in self.keys.items() if key.limit is not None and (key.limit.spend or key.limit.tokens)}

    @cached_property
    def budgeted(self) -> frozenset[str | None]:
        """The routes that a caller `with_budget` may ask; None stands for all routes."""
        return frozenset(route for key in self.with_budget.values() for route in (key.routes or (None,)))


class RouteEntry(Value, frozen=True):
    """A target named in a route's `targets`. `condition`, `when`: its `when` as a YAML node, and as a value; None without one."""

    name: Scalar
    condition: Node | None
    when: When | None


def check_entries(routes: Sequence[Row], known: KnownCallers | None, complaints: Complaints) -> None:
    """Complain of entries of routes that are never asked, and of conditions that never hold. Warn where a question may find no entry.

    known: the callers that conditions may name; None skips the check of conditions, because `server.auth` has a mistake
    """
    for name, _, row in routes:
        found = _entries(row.get("targets"))
        if len(found) > 1 or (found and found[0] is not None and found[0].condition is not None):  # else there is nothing to compare
            _check_route(name.text, row, found, known, complaints)


def _check_route(
    route: str, row: Mapping[str, Node], found: Sequence[RouteEntry | None], known: KnownCallers | None, complaints: Complaints
) -> None:
    entries = [entry for entry in found if entry is not None]
    _check_order(route, entries, complaints)
    if known is not None:
        for entry in entries:
            _check_condition(route, row.get("limit"), entry, known, complaints)
    if entries and None not in found and reachable(None, [entry.when for entry in entries]):
        complaints.warn(
            row["targets"].place,
            f"a question for which none of these conditions holds gets the error `no_target` from `{route}`: write a target without "
            "`when` as the last one, for all others",
        )


def _entries(node: Node | None, condition: Node | None = None) -> list[RouteEntry | None]:
    """Return the targets below a node, each with the nearest `when` (`condition`: that above the node); None for one with a mistake."""
    found: list[RouteEntry | None] = []
    for one in node.items if isinstance(node, Listing) else (node,):
        if isinstance(one, Listing):
            found += _entries(one, condition)
        elif isinstance(one, Table):
            found += _entries(one.get("use"), one.get("when") or condition)
        elif one is None or not one.text or one.unset or one.forgiven:
            found.append(None)
        else:
            when = bind(condition, record_of(When), Complaints({})) if condition is not None else None
            found.append(RouteEntry(one, condition, when) if when is None or isinstance(when, When) else None)
    return found


def _check_order(route: str, entries: Sequence[RouteEntry], complaints: Complaints) -> None:
    """Complain of an entry that is never asked: whenever its condition holds, so does that of some earlier entry of its target."""
    asked: defaultdict[str, list[RouteEntry]] = defaultdict(list)
    for entry in entries:
        earlier = asked[entry.name.text]
        if not earlier or reachable(entry.when, [one.when for one in earlier]):
            earlier.append(entry)
            continue
        if all(one.when is None for one in (entry, *earlier)):
            complaints.add(entry.name.place, f"`{entry.name.source}` stands twice in the targets of `{route}`")
            continue
        lines = " or ".join(dict.fromkeys(str(one.name.place.line) for one in earlier))
        always = any(one.when is None for one in earlier)
        other, why = ("an earlier one", "has no condition") if always else ("wherever it holds, an earlier one", "holds as well")
        never = f"this entry of `{entry.name.source}` is never asked: {other} (line {lines}) {why}"
        complaints.add(entry.name.place, f"{never}; take it out, or write it first")


def _check_condition(route: str, limit: Node | None, entry: RouteEntry, known: KnownCallers, complaints: Complaints) -> None:
    """Complain of a condition that never holds: unknown callers, claims without tokens, a budget without a limit; and of an empty one."""
    condition, when = entry.condition, entry.when
    if when is None:
        return
    for name in ("claim", "header"):
        named = at(condition, name)
        if isinstance(named, Table) and not named.pairs:
            why = f"`{name}` names none, so it asks for nothing: write e.g. `{name}: {{NAME: VALUE}}`, or leave it out"
            complaints.add(named.place, why)
    _check_callers(route, at(condition, "caller"), known, complaints)
    claim = at(condition, "claim")
    if claim is not None and when.claim and not known.jwt:
        why = "no caller has a token with claims, so this never holds: declare whose tokens are taken, under `server.auth.jwt`"
        complaints.add(claim.place, why)
    budget = at(condition, "budget_used")
    if budget is not None and when.budget_used is not None and not _has_budget(route, limit, when, known):
        complaints.add(
            budget.place,
            "no limit on money or tokens counts these questions, so none of it is ever used: give this route one, "
            "e.g. `limit: {spend: 5USD/day}`, or its callers' keys",
        )


def _check_callers(route: str, caller: Node | None, known: KnownCallers, complaints: Complaints) -> None:
    for one in items_of(caller) or (caller,):
        if not isinstance(one, Scalar) or known.jwt:
            continue
        if not known.keys:
            why = "because no callers are declared: write `server.auth` with `keys` or `jwt`"
            complaints.add(one.place, f"nobody is known as `{one.source}`, {why}")
        elif one.text not in known.keys:
            complaints.add(one.place, f"no key is named `{one.source}`{complaints.meant(one.text, known.keys)}")
        elif (allowed := known.keys[one.text].routes) is not None and route not in allowed:
            complaints.add(one.place, f"the key of `{one.source}` may not ask `{route}`: add it to the key's `routes`, or take it out here")


def _has_budget(route: str, limit: Node | None, when: When, known: KnownCallers) -> bool:
    """Return True if money or tokens are limited by the route, or by a key that may ask it and that `when.caller` admits."""
    if at(limit, "spend") is not None or at(limit, "tokens") is not None:
        return True
    if not when.callers:
        return not known.budgeted.isdisjoint((route, None))
    keys = (known.with_budget.get(name) for name in when.callers)
    return any(key is not None and (key.routes is None or route in key.routes) for key in keys)
