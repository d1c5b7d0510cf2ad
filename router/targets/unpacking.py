"""Decompression of a body's content encodings, piece by piece. No I/O.

RFC 9110, 8.4.1: names are case-insensitive, and `identity` means none; 5.6.1: empty elements of a list are ignored. An unknown name
(`none`, `utf-8`: sent by servers to switch compression off) leaves the body as it is, as in browsers and curl.
"""

import zlib

PACKED = frozenset({"gzip", "x-gzip", "deflate"})
UNKNOWN = frozenset({"br", "zstd", "compress", "x-compress"})
"""Encodings that the router does not support and never requests."""
EITHER, RAW = 47, -15
"""Window bits of zlib: for gzip or zlib, detected from the data; and for the bare data that some servers call `deflate`."""


class UnreadableBody(ValueError):
    """The error for a body that cannot be decompressed: unsupported or several encodings, invalid data, or too large a result."""


def unpacker(encoding: str, most: int) -> "Unpacker | None":
    """Return the decompressor for a `Content-Encoding`; None if it names no known encoding, so that the body stays as it is.
    `most`: limit in bytes of what one piece may become. Raises UnreadableBody for an encoding in UNKNOWN, or for several known ones.
    """
    names = [name for one in encoding.split(",") if (name := one.strip().lower()) in PACKED | UNKNOWN]
    if len(names) > 1 or UNKNOWN.intersection(names):
        raise UnreadableBody
    return Unpacker(most) if names else None


class Unpacker:
    """A decompressor of one gzip or deflate body; a gzip body may have several members (RFC 1952, 2.2)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inner = zlib.decompressobj(EITHER)
        self._begun: bytes | None = b""
        """The input so far, kept to try bare deflate with it; None once output came, or once that was tried."""

    def feed(self, piece: bytes) -> bytes:
        """Return a piece decompressed, without data after the last member. Raises UnreadableBody if it is invalid, or becomes too large."""
        made: list[bytes] = []
        left = self._most
        while piece:
            if self._inner.eof:
                if not piece.startswith(b"\x1f"):
                    break  # data after the last member is ignored
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
            return self._unpacked(piece, left)
        if self._begun is not None:
            self._begun = None if made else self._begun + piece
        return made
