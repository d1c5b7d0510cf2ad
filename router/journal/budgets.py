"""The used share of each limit on tokens or money at this moment, for operators.

A limit that counts each end user or each address by itself has their number and their largest share, without their names.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from router.config.keys import ApiKey
from router.config.server import Auth
from router.generation import Generation
from router.quotas import Crowd, Quota
from router.value import asdict

MAX_BUDGETS = 1000
"""Rows of the list at most, further ones are left out: with a shared Redis each takes a command."""


class Budget(TypedDict):
    """A limit on tokens or money, and how much of it is used.

    routes: the routes whose questions it counts; None for all
    caller: the caller whose questions it counts, by the name of its key; None for all callers
    per: what it counts together, as declared (route, key, user or ip)
    limit, most, used, subjects, largest: as in a BudgetUse
    """

    routes: list[str] | None
    caller: str | None
    per: str
    limit: str
    most: str
    used: float | None
    subjects: int | None
    largest: float | None


async def budgets(generation: Generation) -> list[Budget]:
    """Return the budgets of a generation: those of its routes, then those of its callers' keys, MAX_BUDGETS at most."""
    found: list[Budget] = []
    crowds: Mapping[str, Crowd] | None = None
    for routes, caller, quota, subject in _counted(generation):
        if subject is None and crowds is None:
            crowds = await generation.kept.counts.crowds()
        uses = await (quota.uses_of_each(crowds or {}) if subject is None else quota.uses(subject))
        found += [Budget(routes=routes, caller=caller, per=quota.declared.per, **asdict(use)) for use in uses]
        if len(found) >= MAX_BUDGETS:
            break
    return found[:MAX_BUDGETS]


def _counted(generation: Generation) -> Iterator[tuple[list[str] | None, str | None, Quota, str | None]]:
    """Yield (routes, caller, quota, subject) of each limit: the first two as in a Budget, and the name under which the quota counts.
    The subject is "" for all requests together, and None where each user, address or caller is counted separately.
    """
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
    """Return the budgets of several workers as one list, each with the largest share and number that any of them reports.

    Workers that share no Redis count separately, and it is not known which users have asked several of them.
    """
    found: dict[str, Budget] = {}
    for one in (budget for each in reports for budget in each):
        name = repr((one["routes"], one["caller"], one["per"], one["limit"], one["most"]))
        known = found.setdefault(name, one)
        found[name] = {
            **one,
            "used": _larger(known["used"], one["used"]),
            "subjects": _larger(known["subjects"], one["subjects"]),
            "largest": _larger(known["largest"], one["largest"]),
        }
    return list(found.values())


def _larger(one: float | None, other: float | None) -> Any:
    """Return the larger of two numbers; the other one if one is None, and None if both are."""
    return max((number for number in (one, other) if number is not None), default=None)
