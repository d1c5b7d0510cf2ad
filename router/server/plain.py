"""HTTP/1.1 only: an Upgrade offer is ignored (RFC 9110, 7.8).

Java's HTTP client offers HTTP/2 with every request over clear text, and some proxies do. httptools stops reading after the headers of
such a request, as if the upgrade had been agreed, so its body would be lost.
"""

from collections.abc import Sequence
from typing import Protocol, cast

import httptools

OFFERS = (b"upgrade", b"http2-settings")
"""Headers that offer an upgrade, and their names in `Connection`."""
Header = tuple[bytes, bytes]


class HeadReader(Protocol):
    """The interface of a connection that receives the parser's callbacks and holds the request's URL and headers."""

    url: bytes
    headers: list[Header]


class PlainParser:
    """An HTTP/1.1 request parser that ignores Upgrade offers.

    A head with an offer is parsed a second time without it. So `reader` has to ignore a head for which `should_upgrade` is true.
    """

    def __init__(self, reader: HeadReader) -> None:
        self._reader = reader
        self._begin()

    def _begin(self) -> None:
        self._parser = parser = httptools.HttpRequestParser(self._reader)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self.should_upgrade = parser.should_upgrade
        """Returns whether the request's headers offer an upgrade."""
        self.should_keep_alive = parser.should_keep_alive
        self.get_method = parser.get_method
        self.get_http_version = parser.get_http_version

    def feed_data(self, data: bytes) -> None:
        """Parse more bytes, and call the reader's callbacks. Raises HttpParserError if they are not HTTP."""
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                head = self._head()
                self._begin()
                self._parser.feed_data(head)
                data = data[cast("int", offer.args[0]) :]
            else:
                return

    def _head(self) -> bytes:
        """Return the request line and headers that were just read, without the Upgrade offer."""
        start = b"%b %b HTTP/%b" % (self._parser.get_method(), self._reader.url, self._parser.get_http_version().encode())
        lines = [name + b": " + value for name, value in without_offer(self._reader.headers)]
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
