"""Server-sent events, read from bytes: `feed` what came, get the data of each event that is whole.

No I/O, no object per event but its data. By the standard: LF, CRLF or CR end a line, a blank line ends an event, several
`data:` lines are joined, comments and other fields are passed over, one byte-order mark may stand first. Beyond the standard: lines from
one that begins with `{` or `[` on are data as they are, for that is how Google says in the middle of a stream what went wrong. The data of an
event that is named `error`, or of a field `error` (llama.cpp), is Failed.
"""

from router.targets.inband import ErrorData

MAX_EVENT = 10 * 1024 * 1024
"""Bytes of one event: what is larger is no answer any more."""
CR = 0x0D
LINE = 48
"""Bytes that a line takes beside its own."""


class Oversize(ValueError):
    """An event larger than MAX_EVENT."""


class Events:
    """The reader of one body."""

    def __init__(self) -> None:
        self._rest = bytearray()
        """The line that has not ended."""
        self._data: list[bytes] = []
        """The lines of the event that has not ended."""
        self._size = 0
        """Bytes of the lines in `_data`."""
        self._begun = False
        self._bare = False
        """True while the lines in `_data` bear no field name."""
        self._failed = False
        """True if the event is named `error`."""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of every event that this piece completes."""
        if self._rest:
            if self._begun and b"\n" not in piece and b"\r" not in piece and self._rest[-1] != CR:
                self._rest += piece  # a long line in many pieces is looked through once
                self._bound()
                return []
            piece = bytes(self._rest + piece)
            self._rest.clear()
        if piece.startswith(b"data: ") and piece.endswith(b"\n\n") and not self._data and not self._failed:
            # Nearly every read of nearly every provider: whole events, each of one line. No other line, if the ends of lines are as many.
            found = piece[6:-2].split(b"\n\ndata: ")
            if piece.count(b"\n") == 2 * len(found) and b"\r" not in piece:
                self._begun = True
                return found
        elif piece.startswith(b"data: ") and piece.endswith(b"\r\n\r\n") and not self._data and not self._failed:
            # The same of Google, which ends its lines otherwise.
            found = piece[6:-4].split(b"\r\n\r\ndata: ")
            if piece.count(b"\n") == piece.count(b"\r") == 2 * len(found):
                self._begun = True
                return found
        if not self._begun:
            if len(piece) < 3 and b"\xef\xbb\xbf".startswith(piece):
                self._rest += piece
                return []
            self._begun = True
            piece = piece.removeprefix(b"\xef\xbb\xbf")
        if b"\r" in piece:
            # A CR at the very end may be half of a CRLF: it waits.
            held = b"\r" if piece.endswith(b"\r") else b""
            piece = piece.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *lines, rest = piece.split(b"\n")
        self._rest += rest
        found = self._events(lines)
        self._bound()
        return found

    def end(self) -> list[bytes]:
        """End the body, and return its last event, which needs no blank line."""
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
                self._failed = line[6:].strip() == b"error"
            elif line.startswith(b"error:"):
                self._failed = True
                self._data.append(line[6:].strip())
                self._size += len(line) + LINE
        return found
