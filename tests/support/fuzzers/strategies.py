"""Strategies that several fuzzers share: JSON, texts, split bytes, and a transport without a network."""

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Fuzzer = Callable[[], None]
Made = st.SearchStrategy[Any]


def json_of(keys: list[str], *words: str, leaves: int = 12) -> st.SearchStrategy[Any]:
    """Return a strategy for JSON with these keys and words, and with extreme or non-finite numbers."""
    told = st.sampled_from([*words, "", "a", "\ud800", "😀", "1", "\0"]) | st.text(max_size=6)
    odd = st.sampled_from([math.inf, -math.inf, math.nan, 1e300, -1, 2**63, 2**64, 10**400, 1.5, 0])
    scalars = st.none() | st.booleans() | st.integers(-5, 5) | odd | told
    return st.recursive(
        scalars, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(keys) | told, one, max_size=5), max_leaves=leaves
    )


def deep(opens: str, closes: str, core: str = "1") -> st.SearchStrategy[str]:
    """Return a strategy for text nested between 3 and 30,000 levels."""
    return st.sampled_from([3, 60, 70, 120, 900, 1_100, 30_000]).map(lambda depth: opens * depth + core + closes * depth)


@st.composite
def chopped(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    """Draw bytes and split them at random into non-empty pieces."""
    data = draw(whole)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8)))
    return [piece for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if (piece := data[start:end])]


def dumped(value: Any) -> bytes:
    """Return a value as JSON bytes, NaN and lone surrogates included."""
    return json.dumps(value).encode()


WORDS = st.sampled_from(["Hi", "<think>", "</thi", "nk>", "\ud83d", "\ude00", " ", "😀", "\u2028"]) | st.text(st.characters(), max_size=5)


class Pipe(asyncio.Transport):
    """A transport without a network, which records what was written and whether it was closed."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 8000), "peername": ("127.0.0.1", 1), "socket": None})
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Record the data, unless the transport is closed."""
        if not self.closed:
            self.written += data

    def is_closing(self) -> bool:
        """Return whether the transport is closed."""
        return self.closed

    def close(self) -> None:
        """Close the transport."""
        self.closed = True

    def abort(self) -> None:
        """Close the transport."""
        self.closed = True

    def get_write_buffer_size(self) -> int:
        """Return 0: nothing is buffered."""
        return 0

    def pause_reading(self) -> None:
        """Do nothing: the transport reads nothing itself."""

    def resume_reading(self) -> None:
        """Do nothing: the transport reads nothing itself."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: there is no buffer."""
