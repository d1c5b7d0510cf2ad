"""The log line of a finished request."""

import gc
import io
import json
import logging
import math
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from router.journal import log
from router.journal.entry import Entry, Run

ACCESS = logging.getLogger("router.access")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream to which requests are logged, and nothing else."""
    stream = io.StringIO()
    lines, before = log.Lines(stream), (ACCESS.level, ACCESS.parent)
    ACCESS.addHandler(lines)
    ACCESS.setLevel(logging.INFO)
    ACCESS.parent = None  # pytest would add handlers to a logger that does not propagate
    yield stream
    ACCESS.removeHandler(lines)
    ACCESS.level, ACCESS.parent = before
    ACCESS.setLevel(before[0])


def said(stream: io.StringIO) -> list[dict[str, object]]:
    """Return the lines of the stream, each parsed, without their times."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert all(line.pop("time").endswith("Z") for line in lines)
    return lines


@pytest.mark.parametrize("name", ["caller", "Zoë\n\x7f\u2028\ud800"])
def test_line_is_the_same_with_and_without_another_handler(stream: io.StringIO, name: str) -> None:
    """The access log line of a request is the same, and ASCII, with and without another handler on its logger."""
    entry = Entry("req_1", "generation", caller=name)
    entry.close()
    log.line(entry)
    records: list[logging.LogRecord] = []
    other = logging.Handler()
    other.emit = records.append  # type: ignore[method-assign]
    ACCESS.addHandler(other)
    try:
        log.line(entry)
    finally:
        ACCESS.removeHandler(other)
    alone, beside = said(stream)
    assert alone == beside
    assert list(alone) == list(beside)
    assert alone["caller"] == name
    assert stream.getvalue().isascii()
    assert [record.getMessage() for record in records] == ["request"]


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, 2**70])
def test_request_with_an_impossible_duration_is_logged(stream: io.StringIO, seconds: float) -> None:
    """A run of a tool whose duration is no real time, as another replica may report it, does not keep the line of the request back."""
    entry = Entry("req_1", "generation", tools=(Run("clock", "call_1", 0.0, seconds),))
    entry.close()
    log.line(entry)
    (line,) = said(stream)
    assert line["request_id"] == "req_1"


def test_filtered_request_is_not_logged(stream: io.StringIO) -> None:
    """A filter of the logger or of its handler sees each request, and can drop it; so can the logger's level."""
    entry = Entry("req_1", "generation")
    entry.close()
    for filtered in (ACCESS, ACCESS.handlers[0]):
        filtered.addFilter(lambda _: False)
        log.line(entry)
        filtered.filters.clear()
    ACCESS.setLevel(logging.WARNING)
    log.line(entry)
    assert not stream.getvalue()


def test_line_has_the_fields_of_its_own_request(stream: io.StringIO) -> None:
    """Lines of requests that differ in one field alone, or in none but the id, have the fields of their requests, in order."""
    usual: dict[str, Any] = {"caller": "ada", "route": "r", "stream": False, "status": 200, "outcome": "stop", "target": "a", "steps": 1}
    other: dict[str, Any] = {
        "caller": "bob",
        "user": "eve",
        "route": "s",
        "stream": True,
        "status": 499,
        "outcome": "x",
        "reason": "No.",
        "target": "b",
    }
    given: list[dict[str, Any]] = [
        usual,
        usual,
        *({**usual, name: value} for name, value in {**other, "cache": "hit", "fault": "cut", "steps": 2}.items()),
    ]
    entries = [Entry(f"req_{at}", "g", **fields) for at, fields in enumerate(given)]
    for entry in entries:
        entry.close()
        log.line(entry)
    for line, entry in zip(said(stream), entries, strict=True):
        assert [*line.items()][3:] == [*entry.explained().items()]


@pytest.mark.parametrize("name", ["user", "reason"])
def test_words_of_one_request_are_not_kept_for_other_lines(stream: io.StringIO, name: str) -> None:
    """The name of an end user, and the reason of a refusal, are in memory no longer than their request's record."""

    class Words(str):
        __slots__ = ("__weakref__",)

    entry = Entry("req_1", "generation")
    setattr(entry, name, word := Words("eve"))
    held = weakref.ref(word)
    entry.close()
    log.line(entry)
    del entry, word
    gc.collect()
    (line,) = said(stream)
    assert line[name] == "eve"
    assert held() is None
