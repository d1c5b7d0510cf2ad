"""The running and the latest requests of a process, for operators and for the callers that sent them."""

from collections import deque
from typing import cast

from router.journal.entry import Entry, rounded

MAX_ENTRIES = 1000


class Ring:
    """The running and the latest requests of this process, the latter in bounded memory. Several may have one id: clients choose it."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self.running: dict[Entry, None] = {}
        """Running requests, in the order in which they began; a record is found by its identity. `Hour.begin` adds them."""

    def keep(self, entry: Entry) -> None:
        """Move a finished request from the running to the latest ones, of which the oldest beyond MAX_ENTRIES is dropped.
        Its `pauses`, `granted` and `observers` are cleared: they would keep an old configuration in memory.
        """
        self.running.pop(entry, None)
        self._entries.append(entry)
        if entry.pauses:
            entry.pauses.clear()
        entry.granted, entry.observers = (), ()

    def find(self, request_id: str, owner: str | None = None, *, running: bool = False) -> list[dict[str, object]]:
        """Return the records of the requests with this id, usually one, the first that ended first; with `running`, those in progress too.
        owner: only those of this caller and end user (`Entry.owner`); None for all
        """
        known = (*self._entries, *(self.running if running else ()))
        return [_with_times(entry) for entry in known if entry.request_id == request_id and owner in (None, entry.owner)]

    def latest(self, count: int, *, running: bool = False) -> list[dict[str, object]]:
        """Return the `count` newest finished requests, newest first, without their end users; with `running`, those in progress first."""
        live = [entry for entry, _ in zip(reversed(self.running), range(count if running else 0), strict=False)]
        newest = [entry for entry, _ in zip(reversed(self._entries), range(count - len(live)), strict=False)]
        return [{name: value for name, value in _shown(entry).items() if name != "user"} for entry in (*live, *newest)]


def _shown(entry: Entry) -> dict[str, object]:
    return {"at": round(entry.at, 3), "running": entry.running, **entry.explained()}


def _with_times(entry: Entry) -> dict[str, object]:
    """Return a request's record with the times at which its attempts and tool runs began, in seconds since its arrival."""
    shown = _shown(entry)
    tries: list[dict[str, object]] = [
        {**made, "began_seconds": rounded(max(0.0, one.began - entry.began))}
        for made, one in zip(cast("list[dict[str, object]]", shown["attempts"]), entry.known, strict=True)
    ]
    tools = [{**run.as_json(), "began_seconds": rounded(run.began - entry.began)} for run in entry.tools]
    return {**shown, "attempts": tries, "tools": tools}
