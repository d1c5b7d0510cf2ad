"""Fuzz tests of everything that parses foreign bytes: 200 examples each here, minutes of them with `make fuzz`."""

import contextlib
import tracemalloc

import pytest
from hypothesis import HealthCheck, settings

from router.targets import sse
from tests.support.fuzzers import FUZZERS

BRIEFLY = settings(
    max_examples=200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@pytest.mark.parametrize("reader", FUZZERS)
def test_each_reader_accepts_or_refuses_arbitrary_input_without_an_error(reader: str) -> None:
    """Each reader accepts every input of a short run of its fuzzer, or refuses it with the expected error."""
    BRIEFLY(FUZZERS[reader])()


@pytest.mark.parametrize("line", [b"data:\n", b"data: x\n", b"x" * 64, b"data: x"])
def test_endless_sse_event_is_refused_within_bounded_memory(line: bytes) -> None:
    """An SSE event without an end raises Oversize before it takes three times MAX_EVENT bytes of memory."""
    assert most_held(line, sse.Oversize, 20_000) < 3 * sse.MAX_EVENT


@pytest.mark.parametrize("line", [b"\n", b": ping\n", b"event: x\n", b"\r", b"data: x\n\n"])
def test_repeated_sse_lines_take_bounded_memory(line: bytes) -> None:
    """The SSE reader holds less than 64 KiB of memory over 200,000 comments, empty lines or small events."""
    assert most_held(line, None, 2_000) < 64 * 1024


def most_held(line: bytes, error: type[Exception] | None, times: int) -> int:
    """Return the peak memory in bytes of an SSE reader that gets a line again and again, until it raises `error` if one is given."""
    events, piece = sse.Events(), line * 100
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(error) if error else contextlib.nullcontext():
            for _ in range(times):
                events.feed(piece)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
