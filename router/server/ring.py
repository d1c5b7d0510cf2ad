"""The requests that were over last, for an operator to look at."""

from collections import OrderedDict

from router.server.entry import Entry

MOST = 1000


class Ring:
    """The last requests, by id. A request that bears the id of an earlier one takes its place."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def keep(self, entry: Entry) -> None:
        """Keep a request that is over."""
        self._entries.pop(entry.request_id, None)
        self._entries[entry.request_id] = entry
        # What it points to would keep a configuration that is long gone, its tools and all they made.
        entry.pauses.clear()
        entry.granted, entry.observers = (), ()
        if len(self._entries) > MOST:
            self._entries.popitem(last=False)

    def find(self, request_id: str) -> dict[str, object] | None:
        """What is known of a request."""
        entry = self._entries.get(request_id)
        return None if entry is None else {"at": round(entry.at, 3), **entry.explained()}

    def latest(self, count: int) -> list[dict[str, object]]:
        """The newest requests, newest first."""
        newest = [entry for entry, _ in zip(reversed(self._entries.values()), range(count), strict=False)]
        return [{"at": round(entry.at, 3), **entry.explained()} for entry in newest]
