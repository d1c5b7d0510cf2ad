"""Sentences for a route's targets that changed, or changed their order."""

from router.description.described import Pool, names

Pools = tuple[Pool, ...]


def reordered(before: Pools, after: Pools) -> list[str]:
    """Return sentences for the changes between two lists of pools (targets, weights, order of pools); empty if they are equal."""
    before, after = (tuple(tuple(sorted(pool)) for pool in pools) for pools in (before, after))
    if before == after:
        return []
    said: list[str] = []
    old, new = names(before), names(after)
    came = [name for name in new if name not in old]
    went = [name for name in old if name not in new]
    first = names(before[:1]) != names(after[:1])
    if first:
        said.append(f"first target {_pool_words(before[0])} → {_pool_words(after[0])}")
    head = names(after[:1]) if first else ()
    weights = {name: weight for pool in after for name, weight in pool}
    said += [f"target {_named(name, weights[name])} added{_where(name, after)}" for name in came if name not in head]
    said += [f"target {name} removed" for name in went]
    said += _weighed(before, after)
    # The sentences so far may not be enough to derive the new order from the old one.
    if not said or not _follows(before, after, came, first=first):
        said.append(f"targets in order now: {', '.join(_pool_words(pool) for pool in after)}")
    return said


def _pool_words(pool: Pool) -> str:
    weighted = [_named(name, weight) for name, weight in pool]
    return weighted[0] if len(weighted) == 1 else f"[{', '.join(weighted)}]"


def _named(name: str, weight: float | None) -> str:
    return name if weight is None else f"{name} (weight {weight:g})"


def _where(name: str, after: Pools) -> str:
    place = next(index for index, pool in enumerate(after) if name in names((pool,)))
    others = [one for one in names((after[place],)) if one != name]
    if others:
        return f" to the pool of {' and '.join(others)}"
    if place == len(after) - 1:
        return " last"
    return f" after {_pool_words(after[place - 1])}" if place else " first"


def _weighed(before: Pools, after: Pools) -> list[str]:
    old = {name: weight for pool in before for name, weight in pool}
    new = {name: weight for pool in after for name, weight in pool}
    both = [(name, old[name], weight) for name, weight in new.items() if name in old and old[name] != weight]
    return [f"weight of {name} {_weight(was)} → {_weight(now)}" for name, was, now in both]


def _weight(weight: float | None) -> str:
    return "none" if weight is None else f"{weight:g}"


def _follows(before: Pools, after: Pools, came: list[str], *, first: bool) -> bool:
    """Return True if removals, the added targets `came` and a new first pool (`first`) fully explain the new order of the pools."""
    new = names(after)
    kept = [tuple(name for name in names((pool,)) if name in new) for pool in before]
    there = [tuple(name for name in names((pool,)) if name not in came) for pool in after]
    if first:
        head = names(after[:1])
        kept = [tuple(name for name in pool if name not in head) for pool in kept]
        there = [tuple(name for name in pool if name not in head) for pool in there]
    return [pool for pool in kept if pool] == [pool for pool in there if pool]
