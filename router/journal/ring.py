"""The requests that were over last, for an operator to look at."""

from collections import deque

from router.journal.entry import Entry

MOST = 1000


class Ring:
    """The last requests. Clients may choose ids: requests of one id stand beside each other, and none takes another's place."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MOST)

    def keep(self, entry: Entry) -> None:
        """Keep a request that is over."""
        self._entries.append(entry)
        # What it points to would keep a configuration that is long gone, its tools and all they made.
        entry.pauses.clear()
        entry.granted, entry.observers = (), ()

    def find(self, request_id: str) -> list[dict[str, object]]:
        """Return what is known of the requests of an id, oldest first: one, as a rule."""
        return [_shown(entry) for entry in self._entries if entry.request_id == request_id]

    def latest(self, count: int) -> list[dict[str, object]]:
        """The newest requests, newest first. The end user of one is shown by `find` alone."""
        newest = [entry for entry, _ in zip(reversed(self._entries), range(count), strict=False)]
        return [{name: value for name, value in _shown(entry).items() if name != "user"} for entry in newest]


def _shown(entry: Entry) -> dict[str, object]:
    return {"at": round(entry.at, 3), **entry.explained()}
