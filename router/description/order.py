"""Sentences for a route's targets that changed, or changed their order."""

from collections.abc import Container

from router.description.described import Pool, names

Pools = tuple[Pool, ...]
MAX_OTHERS = 10
"""Other targets of a pool that the sentence about an added one names at most."""


def reordered(before: Pools, after: Pools) -> list[str]:
    """Return sentences for the changes between two lists of pools (targets, weights, order of pools); empty if they are equal."""
    before, after = (tuple(tuple(sorted(pool)) for pool in pools) for pools in (before, after))
    if before == after:
        return []
    old, new = ({name: weight for pool in pools for name, weight in pool} for pools in (before, after))
    came = [name for name in names(after) if name not in old]
    places = {name: place for place in range(len(after) - 1, -1, -1) for name in names(after[place : place + 1])}
    first = names(before[:1]) != names(after[:1])
    said = [f"first target {' → '.join(_pool_words(*pools[:1]) for pools in (before, after))}"] if first else []
    head = frozenset(names(after[:1]) if first else ())
    said += [f"target {_named(name, new[name])} added{_where(name, after, places[name])}" for name in came if name not in head]
    said += [f"target {name} removed" for name in names(before) if name not in new]
    both = [(name, old[name], weight) for name, weight in new.items() if name in old and old[name] != weight]
    said += [f"weight of {name} {_weight(was)} → {_weight(now)}" for name, was, now in both]
    # The sentences so far may not be enough to derive the new order from the old one.
    if not said or not _follows(before, after, frozenset(came), first=first):
        said.append(f"targets in order now: {', '.join(_pool_words(pool) for pool in after)}")
    return said


def _pool_words(pool: Pool = ()) -> str:
    weighted = [_named(name, weight) for name, weight in pool]
    return weighted[0] if len(weighted) == 1 else f"[{', '.join(weighted)}]"


def _named(name: str, weight: float | None) -> str:
    return name if weight is None else f"{name} (weight {weight:g})"


def _where(name: str, after: Pools, place: int) -> str:
    """Return the place of an added target in words. `place`: the index of its pool."""
    if len(after[place]) > 1:
        others = [one for one, _ in after[place][: MAX_OTHERS + 1] if one != name]
        more = len(after[place]) - 1 - MAX_OTHERS
        return f" to the pool of {' and '.join([*others[:MAX_OTHERS], *([f'{more} more'] if more > 0 else [])])}"
    if place == len(after) - 1:
        return " last"
    return f" after {_pool_words(after[place - 1])}" if place else " first"


def _weight(weight: float | None) -> str:
    return "none" if weight is None else f"{weight:g}"


def _follows(before: Pools, after: Pools, came: Container[str], *, first: bool) -> bool:
    """Return True if removals, the added targets `came` and a new first pool (`first`) fully explain the new order of the pools."""
    new, head = frozenset(names(after)), frozenset(names(after[:1]) if first else ())
    kept = [tuple(name for name in names((pool,)) if name in new and name not in head) for pool in before]
    there = [tuple(name for name in names((pool,)) if name not in came and name not in head) for pool in after]
    return list(filter(None, kept)) == list(filter(None, there))
