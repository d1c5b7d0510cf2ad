"""Sentences for a route's targets that changed, or changed their order."""

from router.description.described import Pool, names

Pools = tuple[Pool, ...]


def reordered(before: Pools, after: Pools) -> list[str]:
    """Return sentences for the changes between two lists of pools (targets, weights, order of pools); empty if they are equal."""
    before, after = (tuple(tuple(sorted(pool)) for pool in pools) for pools in (before, after))
    if before == after:
        return []
    old, new = ({name: weight for pool in pools for name, weight in pool} for pools in (before, after))
    came = [name for name in names(after) if name not in old]
    first = names(before[:1]) != names(after[:1])
    said = [f"first target {' → '.join(_pool_words(*pools[:1]) for pools in (before, after))}"] if first else []
    head = names(after[:1]) if first else ()
    said += [f"target {_named(name, new[name])} added{_where(name, after)}" for name in came if name not in head]
    said += [f"target {name} removed" for name in names(before) if name not in new]
    both = [(name, old[name], weight) for name, weight in new.items() if name in old and old[name] != weight]
    said += [f"weight of {name} {_weight(was)} → {_weight(now)}" for name, was, now in both]
    # The sentences so far may not be enough to derive the new order from the old one.
    if not said or not _follows(before, after, came, first=first):
        said.append(f"targets in order now: {', '.join(_pool_words(pool) for pool in after)}")
    return said


def _pool_words(pool: Pool = ()) -> str:
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


def _weight(weight: float | None) -> str:
    return "none" if weight is None else f"{weight:g}"


def _follows(before: Pools, after: Pools, came: list[str], *, first: bool) -> bool:
    """Return True if removals, the added targets `came` and a new first pool (`first`) fully explain the new order of the pools."""
    new, head = names(after), names(after[:1]) if first else ()
    kept = [tuple(name for name in names((pool,)) if name in new and name not in head) for pool in before]
    there = [tuple(name for name in names((pool,)) if name not in came and name not in head) for pool in after]
    return list(filter(None, kept)) == list(filter(None, there))
