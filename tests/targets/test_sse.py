"""Server-sent events read from bytes (router/targets/sse.py)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.targets import sse
from router.targets.inband import ErrorData

LINES = (
    "event: delta", "event:delta", "event: error", "event:  error ", "event: errors", "event:", "data: {}", 'data: {"a": 1}', "data:x", "data: ", "data:",
    ": comment", "id: 4", "retry: 5", '{"bare": 1}', "error: failed", "", "", "",
)  # fmt: skip
"""Lines of a stream; blank ones end an event."""


def fed(pieces: list[bytes]) -> list[tuple[type, bytes]]:
    """Return the class and the data of each event that is read from pieces of a stream."""
    reader = sse.Events()
    found = [data for piece in pieces for data in reader.feed(piece)] + reader.end()
    return [(type(data), bytes(data)) for data in found]


@given(
    events=st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(LINES), st.sampled_from(LINES)), max_size=6),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_events_do_not_depend_on_the_size_of_reads(events: list[tuple[str, ...]], end: str) -> None:
    """A stream of any lines gives the same events in one read, in a read for each event, and in reads of one byte."""
    parts = ["".join(line + end for line in (*lines, "")).encode() for lines in events]
    body = b"".join(parts)
    expected = fed([body[at : at + 1] for at in range(len(body))])
    assert fed([body]) == expected
    assert fed(parts) == expected


@pytest.mark.parametrize("head", ["", "event: delta\n", "event:delta\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_events_of_one_data_line_are_separated(head: str, end: str) -> None:
    """Two events of one line of data, with or without a name, give the data of each."""
    body = (f"{head}data: one\n\n" + f"{head}data: two\n\n").replace("\n", end).encode()
    assert fed([body]) == [(bytes, b"one"), (bytes, b"two")]


def test_event_named_error_is_error_data_among_others_of_the_same_read() -> None:
    """An event named `error` gives ErrorData although events with other names stand beside it in one read."""
    body = b"event: delta\ndata: one\n\nevent: error\ndata: two\n\nevent: delta\ndata: three\n\n"
    assert fed([body]) == [(bytes, b"one"), (ErrorData, b"two"), (bytes, b"three")]


@pytest.mark.parametrize("before", [b"", b"event: error\n", b"data: x\n", b"data: x", b'{"a":\n', b"\r"])
@pytest.mark.parametrize(
    "piece", [b"data: a\n\n", b"data: a\rdata: b\n\n", b"data: a\ndata: b\n\n", b"data: a\n\ndata: b\n\n", b"data: \n\n"]
)
def test_read_that_may_be_one_whole_event_is_read_as_its_bytes_are(before: bytes, piece: bytes) -> None:
    """A read that begins with `data: ` and ends with a blank line gives the same events as its bytes one by one, whatever came before."""
    body = b"data: first\n\n" + before + piece
    assert fed([b"data: first\n\n", before, piece]) == fed([body[at : at + 1] for at in range(len(body))])
