"""Server-sent events, read from bytes: `feed` what came, get the data of each event that is whole.

No I/O, no object per event but its data. By the standard: LF, CRLF or CR end a line, a blank line ends an event, several
`data:` lines are joined, comments and other fields are passed over, one byte-order mark may stand first.
"""

MAX_EVENT = 10 * 1024 * 1024
"""Bytes of one event: what is larger is no answer any more."""


class Oversize(ValueError):
    """An event larger than MAX_EVENT."""


class Events:
    """The reader of one body."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that this piece completes."""
        text = self._rest + piece
        if text.startswith(b"data: ") and text.endswith(b"\n\n") and not self._data:
            # Nearly every read of nearly every provider: whole events, each of one line. No other line, if the ends of lines are as many.
            found = text[6:-2].split(b"\n\ndata: ")
            if text.count(b"\n") == 2 * len(found) and b"\r" not in text:
                self._begun, self._rest = True, b""
                return found
        if not self._begun:
            if len(text) < 3 and b"\xef\xbb\xbf".startswith(text):
                self._rest = text
                return []
            self._begun = True
            text = text.removeprefix(b"\xef\xbb\xbf")
        if b"\r" in text:
            # A CR at the very end may be half of a CRLF: it waits.
            held = b"\r" if text.endswith(b"\r") else b""
            text = text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *lines, self._rest = text.split(b"\n")
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT:
            raise Oversize
        return self._events(lines)

    def end(self) -> list[bytes]:
        """The body is over: what was not ended by a blank line is an event all the same."""
        lines = [self._rest.removesuffix(b"\r"), b""]
        self._rest = b""
        return self._events(lines)

    def _events(self, lines: list[bytes]) -> list[bytes]:
        found: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and self._data:
                found.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
        return found
