"""Budgets as they stand now: the used share of each limit on tokens or money, for operators.

A limit that counts each end user or each address by itself is listed without a share: its subjects are not known by name.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypedDict

from router.config.keys import ApiKey
from router.config.server import Auth
from router.generation import Generation
from router.quotas import Quota

MAX_BUDGETS = 1000
"""Rows of the list: with a shared Redis each is a question to it."""


class Budget(TypedDict):
    """A limit on tokens or money.

    routes: those whose questions it counts; None for all
    caller: the caller whose questions it counts, by the name of its key; None for all callers
    per: what it counts together, as the limit says
    limit: tokens or spend
    most: as it is written, e.g. 5USD/day
    used: the used share, from 0 on; None where it counts each user or address by itself
    """

    routes: list[str] | None
    caller: str | None
    per: str
    limit: str
    most: str
    used: float | None


async def budgets(generation: Generation) -> list[Budget]:
    """Return the budgets of a generation: those of its routes, then those of its callers' keys."""
    return [one async for one in _budgets(generation)][:MAX_BUDGETS]


async def _budgets(generation: Generation) -> AsyncIterator[Budget]:
    found = 0
    for routes, caller, quota, subject in _counted(generation):
        for use in await quota.uses(subject or ""):
            used = None if subject is None else use.used
            yield Budget(routes=routes, caller=caller, per=quota.declared.per, limit=use.limit, most=use.most, used=used)
            found += 1
        if found >= MAX_BUDGETS:
            return


def _counted(generation: Generation) -> Iterator[tuple[list[str] | None, str | None, Quota, str | None]]:
    """Yield each limit with the routes and the caller whose questions it counts, and its subject; None if it has many without a name."""
    auth = generation.declaration.routes.server.auth
    keys: dict[str, ApiKey] = {str(name): key for name, key in (auth.keys or {}).items()} if isinstance(auth, Auth) else {}
    for name, route in generation.routes.items():
        if (quota := route.quota) is None:
            continue
        if quota.declared.per == "key" and keys:
            asking = (caller for caller, key in keys.items() if key.routes is None or name in key.routes)
            yield from (([name], caller, quota, f"key:{caller}") for caller in asking)
        else:
            yield [name], None, quota, "" if quota.declared.per == "route" else None
    for name, key in keys.items():
        if key.limit is not None:
            quota = Quota(f"caller:key:{name}", key.limit, generation.kept.counts)
            subject = {"route": "", "key": f"key:{name}"}.get(key.limit.per)
            yield (None if key.routes is None else [str(one) for one in key.routes]), name, quota, subject


def fullest(reports: Sequence[Sequence[Budget]]) -> list[Budget]:
    """Return the budgets of several workers as one list: each counts by itself unless they share a Redis, so the largest share counts."""
    found: dict[str, Budget] = {}
    for one in (budget for each in reports for budget in each):
        name = repr((one["routes"], one["caller"], one["per"], one["limit"], one["most"]))
        known = found.setdefault(name, one)
        if (one["used"] or 0.0) > (known["used"] or 0.0):
            found[name] = one
    return list(found.values())
