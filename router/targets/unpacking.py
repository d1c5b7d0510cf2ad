"""A body's content codings, undone piece by piece. No I/O.

RFC 9110, 8.4.1: their names are without case, and `identity` is none; 5.6.1: empty elements of a list count for nothing. A name that
nobody knows (`none`, `utf-8`: a habit of servers that want to switch compression off) is read as the body is, as browsers, curl and
every client read it.
"""

import zlib

PACKED = frozenset({"gzip", "x-gzip", "deflate"})
UNKNOWN = frozenset({"br", "zstd", "compress", "x-compress"})
"""Codings that exist and that we cannot undo: nobody asked for them."""
EITHER, RAW = 47, -15
"""zlib's words for gzip or zlib, whichever it is, and for the bare data that some servers call `deflate`."""


class UnreadableBody(ValueError):
    """The body is packed in a way that cannot be undone here, or is not what it is said to be, or becomes too large."""


def unpacker(encoding: str, most: int) -> "Unpacker | None":
    """Return the unpacker of a `Content-Encoding`; None if there is nothing to undo. `most`: bytes that one piece may become."""
    names = [name for one in encoding.split(",") if (name := one.strip().lower()) in PACKED | UNKNOWN]
    if len(names) > 1 or UNKNOWN.intersection(names):
        raise UnreadableBody
    return Unpacker(most) if names else None


class Unpacker:
    """An unpacker of gzip and deflate. A gzip body may be several members, one after the other (RFC 1952, 2.2)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inner = zlib.decompressobj(EITHER)
        self._begun: bytes | None = b""
        """All that came so far; None once something was made of it, or it was begun in the other way."""

    def feed(self, piece: bytes) -> bytes:
        """Return the bytes that this piece makes readable."""
        made: list[bytes] = []
        left = self._most
        while piece:
            if self._inner.eof:
                if not piece.startswith(b"\x1f"):
                    break  # what stands behind the last member is nothing
                self._inner, self._begun = zlib.decompressobj(EITHER), b""
            made.append(self._unpacked(piece, left))
            left -= len(made[-1])
            if self._inner.unconsumed_tail or left <= 0:
                raise UnreadableBody
            piece = self._inner.unused_data if self._inner.eof else b""
        return b"".join(made)

    def _unpacked(self, piece: bytes, left: int) -> bytes:
        try:
            made = self._inner.decompress(piece, left)
        except zlib.error:
            if self._begun is None:
                raise UnreadableBody from None
            piece, self._inner = self._begun + piece, zlib.decompressobj(RAW)
            self._begun = None
            try:
                return self._inner.decompress(piece, left)
            except zlib.error:
                raise UnreadableBody from None
        if self._begun is not None:
            self._begun = None if made else self._begun + piece
        return made
