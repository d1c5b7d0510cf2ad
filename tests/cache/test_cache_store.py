"""The local store of cached answers: lifetimes and the bound on its size."""

from router.cache import LocalStore
from router.cache.store import ENTRY


class Clock:
    """A clock that only the test advances, from 100 s on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


async def test_stored_value_is_found_until_its_lifetime_ends() -> None:
    """Each value is found until its own lifetime, counted from its `put`, has passed, and is then a miss."""
    clock = Clock()
    store = LocalStore(10_000, clock)
    await store.put("short", b"1", 10)
    await store.put("long", b"2", 60)
    clock.now += 9.9
    assert (await store.get("short"), await store.get("long")) == (b"1", b"2")
    clock.now += 0.2
    assert (await store.get("short"), await store.get("long")) == (None, b"2")
    await store.put("short", b"3", 10)
    assert await store.get("short") == b"3"


async def test_least_recently_used_entry_is_evicted_first() -> None:
    """A full store evicts the entry that was neither read nor written for longest."""
    store = LocalStore(3 * (ENTRY + 100))
    for name in "abc":
        await store.put(name, b"x" * 100, 60)
    await store.get("a")
    await store.put("d", b"x" * 100, 60)
    assert [name for name in "abcd" if await store.get(name)] == ["a", "c", "d"]


async def test_entry_larger_than_the_store_is_not_kept() -> None:
    """A value larger than the whole store is not stored, and evicts no other."""
    store = LocalStore(10_000)
    await store.put("small", b"x", 60)
    await store.put("large", b"x" * 10_000, 60)
    assert await store.get("large") is None
    assert await store.get("small") == b"x"
