"""HTTP/1.1 only: an Upgrade offer is ignored (RFC 9110, 7.8).

Java's HTTP client offers HTTP/2 with every request over clear text, and some proxies do. httptools stops reading after the headers of
such a request, as if the upgrade had been agreed, so its body would be lost.
"""

from collections.abc import Sequence
from typing import Protocol, cast

from httptools import HttpParserUpgrade, HttpRequestParser

OFFERS = (b"upgrade", b"http2-settings")
"""Headers that offer an upgrade, and their names in `Connection`."""
BLANKS = b" \t"
"""White space after a header's value, which httptools leaves on. It is not part of the value (RFC 9112, 5)."""
Header = tuple[bytes, bytes]


class HeadReader(Protocol):
    """The interface of a connection that has a parser and receives its callbacks, and holds the request's URL and headers."""

    parser: HttpRequestParser
    url: bytes
    headers: list[Header]


def plain_parser(reader: HeadReader) -> HttpRequestParser:
    """Return a new parser of HTTP/1.1 requests, as uvicorn makes it."""
    parser = HttpRequestParser(reader)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def feed_without_offer(reader: HeadReader, offer: HttpParserUpgrade, data: bytes) -> None:
    """Parse the data again in which a parser found an Upgrade offer, without the offers in it, with new parsers of the reader.

    A head with an offer is so parsed a second time. So `reader` has to ignore a head for which `should_upgrade` is true.
    Raises HttpParserError if the data are not HTTP.
    """
    found: HttpParserUpgrade | None = offer
    while found is not None:
        head, data = _head(reader), data[cast("int", found.args[0]) :]
        reader.parser = plain_parser(reader)
        reader.parser.feed_data(head)
        try:
            reader.parser.feed_data(data)
            found = None
        except HttpParserUpgrade as another:
            found = another


def _head(reader: HeadReader) -> bytes:
    """Return the request line and headers that were just read, without the Upgrade offer."""
    start = b"%b %b HTTP/%b" % (reader.parser.get_method(), reader.url, reader.parser.get_http_version().encode())
    headers = [(name.lower(), value.rstrip(BLANKS)) for name, value in reader.headers]
    lines = [name + b": " + value for name, value in without_offer(headers)]
    return b"\r\n".join([start, *lines, b"", b""])


def without_offer(headers: Sequence[Header]) -> list[Header]:
    """Return the headers (names in lower case) without those that offer another protocol; `Connection` keeps its other words."""
    kept: list[Header] = []
    for name, value in headers:
        if name == b"connection":
            words = [word.strip() for word in value.split(b",")]
            if left := [word for word in words if word and word.lower() not in OFFERS]:
                kept.append((name, b", ".join(left)))
        elif name not in OFFERS:
            kept.append((name, value))
    return kept
