"""Where answers are kept: for their time, within the bound."""

from router.cache import LocalStore
from router.cache.store import ENTRY


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


async def test_stored_value_is_found_until_its_lifetime_ends() -> None:
    """Each value has a lifetime of its own, counted from when it was put."""
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
    """A read counts as a use."""
    store = LocalStore(3 * (ENTRY + 100))
    for name in "abc":
        await store.put(name, b"x" * 100, 60)
    await store.get("a")
    await store.put("d", b"x" * 100, 60)
    assert [name for name in "abcd" if await store.get(name)] == ["a", "c", "d"]


async def test_entry_larger_than_the_store_is_not_kept() -> None:
    """The entry evicts no other one either."""
    store = LocalStore(10_000)
    await store.put("small", b"x", 60)
    await store.put("large", b"x" * 10_000, 60)
    assert await store.get("large") is None
    assert await store.get("small") == b"x"
