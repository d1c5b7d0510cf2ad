"""Reading of server-sent events from bytes: `feed` a piece, and get the data of each complete event.

No I/O. By the standard: LF, CRLF or CR end a line, a blank line ends an event, `data:` lines of one event are joined, comments and other
fields are ignored, a leading byte-order mark is skipped. Beyond the standard: a line that begins with `{` or `[`, and the lines after
it, are data as they stand, because Google sends errors so in mid-stream. The data of an event whose name ends with `error` (or another of
FAILED), or of a field `error` (llama.cpp), is ErrorData.
"""

import re

from router.targets import inband
from router.targets.inband import ErrorData

FAILED = tuple(one.encode() for one in inband.FAILED)
"""Endings of the name of an event that is an error."""
MAX_EVENT = 10 * 1024 * 1024
"""Limit of one event in bytes; a larger one raises Oversize."""
LF, CR = 0x0A, 0x0D
"""The ends of lines, as numbers: with bytes, `in` first tries whether they are a number, and makes an error of that."""
NAMED = re.compile(rb"^event:[^\n]*[^\sRNErne]\ndata: ([^\n]*)\n\n", re.MULTILINE)
"""A complete event of one line of data, as Anthropic and the Responses API send. Its name cannot be an error's by its last letter (FAILED)."""
LINE = 48
"""Bytes of memory counted for a line beside its content."""


class Oversize(ValueError):
    """The error for an event larger than MAX_EVENT."""


class Events:
    """A parser of one stream of server-sent events, which holds the incomplete line and event between pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()
        """The incomplete line."""
        self._data: list[bytes] = []
        """The data lines of the incomplete event."""
        self._size = 0
        """Bytes of the lines in `_data`."""
        self._begun = self._between = False
        """`_between`: true once the stream has begun, while no line or event is incomplete."""
        self._bare = False
        """True while the lines in `_data` have no field name."""
        self._failed = False
        """True if the event has the name of an error."""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of each event that this piece completes. Raises Oversize if an incomplete event exceeds MAX_EVENT."""
        if self._between and piece.startswith(b"data: ") and piece.endswith(b"\n\n"):
            data = piece[6:-2]
            if LF not in data and CR not in data:
                return [data]  # the usual read: one event of one line
        if self._rest:
            if self._begun and LF not in piece and CR not in piece and self._rest[-1] != CR:
                self._rest += piece  # so that a long line in many pieces is searched once
                self._bound()
                return []
            piece = bytes(self._rest + piece)
            self._rest.clear()
        if piece.startswith(b"data: ") and piece.endswith(b"\n\n") and not self._data and not self._failed:
            # The usual read: complete events of one line each. If the line ends are two per event, there is no other line.
            found = piece[6:-2].split(b"\n\ndata: ")
            if LF not in b"".join(found) and CR not in piece:
                self._begun = self._between = True
                return found
        elif piece.startswith(b"data: ") and piece.endswith(b"\r\n\r\n") and not self._data and not self._failed:
            # The same with CRLF, as Google sends.
            found = piece[6:-4].split(b"\r\n\r\ndata: ")
            if piece.count(b"\n") == piece.count(b"\r") == 2 * len(found):
                self._begun = self._between = True
                return found
        elif piece.startswith(b"event:") and piece.endswith(b"\n\n") and not self._data and not self._failed:
            # The same with a name for each event.
            found = NAMED.findall(piece)
            if piece.count(b"\n") == 3 * len(found) and CR not in piece:
                self._begun = self._between = True
                return found
        if not self._begun:
            if len(piece) < 3 and b"\xef\xbb\xbf".startswith(piece):
                self._rest += piece
                return []
            self._begun = True
            piece = piece.removeprefix(b"\xef\xbb\xbf")
        if CR in piece:
            # A CR at the very end may be half of a CRLF: it waits.
            held = b"\r" if piece.endswith(b"\r") else b""
            piece = piece.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *lines, rest = piece.split(b"\n")
        self._rest += rest
        found = self._events(lines)
        self._between = not (self._rest or self._data or self._failed)
        self._bound()
        return found

    def end(self) -> list[bytes]:
        """Return the data of a last event that no blank line ended, as a list of one; an empty list if there is none."""
        lines = [bytes(self._rest).removesuffix(b"\r"), b""]
        self._rest.clear()
        return self._events(lines)

    def _bound(self) -> None:
        if len(self._rest) + self._size > MAX_EVENT:
            raise Oversize

    def _events(self, lines: list[bytes]) -> list[bytes]:
        found: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(line) + LINE
            elif not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    found.append(ErrorData(data) if self._failed else data)
                    self._data.clear()
                    self._size = 0
                self._bare = self._failed = False
            elif self._bare or (line.startswith((b"{", b"[")) and not self._data):
                self._bare = True
                self._data.append(line)
                self._size += len(line) + LINE
            elif line.startswith(b"event:"):
                self._failed = line[6:].strip().lower().endswith(FAILED)
            elif line.startswith(b"error:"):
                self._failed = True
                self._data.append(line[6:].strip())
                self._size += len(line) + LINE
        return found
