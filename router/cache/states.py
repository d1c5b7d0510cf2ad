"""The store of model calls whose tools a client runs, until its next request brings their results.

    pointsman:{<name>}:reasoning     the model calls of one conversation, up to one of them

It holds what the client does not send back: reasoning state, and the calls that the route ran itself, with their results. A name is a
digest of the caller and its end user, of the conversation as the client sent it, and of the calls (`ConversationHash`): ids of calls
alone repeat. Entries are kept in this process, and in the declared Redis, so that another replica may be asked next.
"""

import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Self, cast

from router.cache.key import dumps, part_of
from router.cache.store import ENTRY
from router.chat import Call, Json, Message, ReasoningState, Result, crowded, deeper, finite, no_constant, plain
from router.codec import ANY, CALL, FLAG, OBJECT, STATE, Check, UnreadableEvents, each, made, packed
from router.shared import RedisStore
from router.value import Mutable, Value, field, replace

SIZE = 64 * 1024 * 1024
"""Bytes that are kept in this process. Beyond it the oldest entry goes of the caller, and of its end user, that has the most there."""
LASTS = 3600.0
"""Seconds for which states are kept: as long as an approval id is valid."""
MAX_VALUE = 4 * 1024 * 1024
"""Bytes of the stored model calls of one conversation; beyond it the first of them are left out."""
VERSION = 2
SPARE = 64
"""Entries of earlier sizes in a heap of sizes that are never worth a new heap."""
MAX_DEPTH = 128
"""Levels of nesting in a stored entry: deeper ones could be read, but not written into a request."""
MAX_VALUES = 200_000
"""JSON values in a stored entry: more would block the event loop."""
log = logging.getLogger("router.cache")


class ModelCall(Value, frozen=True):
    """The parts of one model call that the client does not send back in its next request.

    states: its reasoning state
    calls: all its tool calls, the client's too; empty where the client sends all of them
    results: the results of the calls that the route ran
    """

    states: tuple[ReasoningState, ...] = ()
    calls: tuple[Call, ...] = ()
    results: tuple[Result, ...] = ()


Recollection = Mapping[str, Sequence[ModelCall]]
"""Name of a model call → model calls: those before it in the same answer that the client was not sent, then that call itself."""


class _Sizes:
    """The bytes that each of several names has. A change, and the look-up of the largest, take the logarithm of their number."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}
        """Name → its bytes, below zero, and a number that says which of two names came first."""
        self._heap: list[tuple[int, int, str]] = []
        """A heap of (bytes below zero, number, name); entries of earlier sizes are passed over."""
        self._numbers = count()

    def add(self, name: str, size: int) -> None:
        """Add bytes to those of a name; negative for fewer. A name without any is forgotten."""
        known, number = self._known.get(name) or (0, next(self._numbers))
        if not (left := known - size):
            self._known.pop(name, None)
            return
        self._known[name] = left, number
        heappush(self._heap, (left, number, name))
        if len(self._heap) > 2 * len(self._known) + SPARE:
            self._heap = [(*one, of) for of, one in self._known.items()]
            heapify(self._heap)

    def largest(self) -> str:
        """Return the name that has the most bytes; of several, the one that came first. There is one."""
        while self._known.get((first := self._heap[0])[2]) != first[:2]:
            heappop(self._heap)
        return first[2]


class _KeptStates(Mutable):
    """The entries kept for one caller and its end users. `sizes`: the bytes of each end user."""

    users: dict[str, OrderedDict[str, tuple[float, bytes]]] = field(default_factory=dict[str, OrderedDict[str, tuple[float, bytes]]])
    """End user, or "" → name → the time at which it expires, and the value; the oldest first."""
    sizes: _Sizes = field(default_factory=_Sizes)


class LocalStates:
    """Tool rounds stored in this process. Above `size` bytes the largest caller's largest end user loses its oldest first."""

    def __init__(self, size: int = SIZE, lasts: float = LASTS, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._lasts, self._clock = size, lasts, clock
        self._held: dict[str, _KeptStates] = {}
        """Caller → the entries kept for it."""
        self._sizes = _Sizes()
        """The bytes of each caller."""
        self.taken = 0
        """The bytes of all entries, ENTRY for each included. Expired ones count until they are dropped."""

    def _entries(self, caller: str, user: str) -> OrderedDict[str, tuple[float, bytes]] | None:
        held = self._held.get(caller)
        return None if held is None else held.users.get(user)

    def get(self, caller: str, name: str, user: str = "") -> bytes | None:
        """Return the bytes kept under this name; None without any, or if they have expired."""
        until, value = (self._entries(caller, user) or {}).get(name, (0.0, b""))
        return value if until > self._clock() else None

    def put(self, caller: str, name: str, value: bytes, user: str = "") -> None:
        """Store bytes for `lasts` seconds, unless they are larger than `size`. Beyond `size` in total, drop old entries."""
        if ENTRY + len(value) > self._size:
            return
        now = self._clock()
        self._drop(caller, user, name)
        entries = self._held.setdefault(caller, _KeptStates()).users.setdefault(user, OrderedDict())
        entries[name] = (now + self._lasts, value)
        self._count(caller, user, ENTRY + len(value))
        while (first := next(iter(entries))) != name and entries[first][0] <= now:
            self._drop(caller, user, first)
        while self.taken > self._size:
            held = self._held[most := self._sizes.largest()]
            fullest = held.sizes.largest()
            self._drop(most, fullest, next(iter(held.users[fullest])))

    def _drop(self, caller: str, user: str, name: str) -> None:
        entries = self._entries(caller, user)
        if entries is None or (gone := entries.pop(name, None)) is None:
            return
        self._count(caller, user, -ENTRY - len(gone[1]))
        if not entries:
            del self._held[caller].users[user]
        if not self._held[caller].users:
            del self._held[caller]

    def _count(self, caller: str, user: str, size: int) -> None:
        """Add bytes to the counts of the end user and the caller; negative for a removed entry."""
        self._held[caller].sizes.add(user, size)
        self._sizes.add(caller, size)
        self.taken += size


class Memory(Mutable):
    """The store of tool rounds: entries in this process, and copies in Redis if declared. It works without an answer from Redis."""

    local: LocalStates = field(default_factory=LocalStates)
    shared: RedisStore | None = None

    async def get(self, caller: str, names: Sequence[str], user: str = "") -> Recollection:
        """Return the stored model calls of a conversation; empty if none are stored or can be read.
        The newest entry in this process is used. Without one, Redis is asked for the last name alone, whose entry holds those before it.
        names: the names of the conversation's model calls, in order
        """
        for name in reversed(names):
            if (value := self.local.get(caller, name, user)) is not None:
                return _read(value)
        value = await self.shared.get(names[-1]) if self.shared is not None and names else None
        return _read(value) if value is not None else {}

    async def put(self, caller: str, name: str, held: Recollection, user: str = "") -> None:
        """Store model calls, here and in Redis, under the name of the last one. The first are left out while all together are too large."""
        value = written(held)
        self.local.put(caller, name, value, user)
        if self.shared is not None:
            await self.shared.put(name, value, LASTS)


def written(held: Recollection) -> bytes:
    """Return model calls as bytes to store. While they are too large the first is left out; a warning is logged if none is left."""
    plain = [[name, [_plain_call(one) for one in calls]] for name, calls in held.items()]
    while (len(value := packed([VERSION, *plain])) > MAX_VALUE or crowded(value, MAX_VALUES)) and plain:
        del plain[0]
        if not plain:
            log.warning("a tool round is too large to be kept: the model goes on without it", extra={"fields": {"bytes": len(value)}})
    return value


def _plain_call(call: ModelCall) -> list[object]:
    states = [[one.issuer, one.value, one.call_id, one.after] for one in call.states if not deeper(one.value, MAX_DEPTH // 2)]
    calls = [[one.call_id, one.name, dict[str, Json]() if deeper(one.arguments, MAX_DEPTH // 2) else one.arguments] for one in call.calls]
    results = [[one.call_id, one.name, one.text if deeper(one.value, MAX_DEPTH // 2) else one.value, one.is_error] for one in call.results]
    return [states, calls, results]


def read(data: bytes) -> Recollection:
    """Return the model calls in bytes that `written` made. Raises UnreadableEvents for other bytes, and above the bounds."""
    if len(data) > MAX_VALUE or crowded(data, MAX_VALUES):
        raise UnreadableEvents
    try:
        found = cast("Json", json.loads(data, parse_float=finite, parse_constant=no_constant))
    except (ValueError, RecursionError):
        raise UnreadableEvents from None
    match found:
        case [int(version), *entries] if version == VERSION and not deeper(found, MAX_DEPTH):
            return dict(map(_entry, entries))
        case _:
            raise UnreadableEvents


def _read(data: bytes) -> Recollection:
    """Return the model calls in stored bytes; for unreadable bytes log a warning, and return none."""
    try:
        return read(data)
    except UnreadableEvents:
        log.warning("a kept tool round cannot be read: the model goes on without it", extra={"fields": {"bytes": len(data)}})
        return {}


def _entry(value: Json) -> tuple[str, Sequence[ModelCall]]:
    match value:
        case [str(name), [*held]]:
            return name, [made(ModelCall, MODEL_CALL, one) for one in held]
        case _:
            raise UnreadableEvents


MODEL_CALL: dict[str, Check] = {
    "states": each(partial(made, ReasoningState, STATE)),
    "calls": each(partial(made, Call, {**CALL, "arguments": OBJECT})),
    "results": each(partial(made, Result, {**CALL, "value": ANY, "is_error": FLAG})),
}
"""The checks of a stored model call's fields, in their order."""


class ConversationHash(Mutable):
    """A running hash of a client's conversation. It gives each model call in it the name under which that call is stored.

    Left out is what may differ between two requests of one client: system messages, and the assistant's text since the last question (some
    clients send it after the calls, some not at all).
    """

    digest: "hashlib._Hash"
    said: list[str] = field(default_factory=list[str])
    results: dict[str, str] = field(default_factory=dict[str, str])
    """Call id → text of the results since the last model call, in any order."""

    def copy(self) -> Self:
        """Return an independent copy of the hash."""
        return replace(self, digest=self.digest.copy(), said=[*self.said], results=dict(self.results))

    def follow(self, messages: Sequence[Message]) -> dict[int, str]:
        """Add these messages to the hash. Return index of a message with calls → the name of that model call."""
        names: dict[int, str] = {}
        for index, message in enumerate(messages):
            match message.role:
                case "user":
                    self._settle()
                    self._add("said", "".join(self.said))
                    self.said.clear()
                    self._add("user", *map(part_of, message.parts))
                case "assistant":
                    self.said.append(message.text)
                    if message.calls:
                        names[index] = self.called(message.calls)
                case "tool":
                    self.results |= {
                        one.call_id: one.value if isinstance(one.value, str) else dumps(plain(one.value)) for one in message.results
                    }
                case "system":
                    pass
        return names

    def called(self, calls: Iterable[Call]) -> str:
        """Add the tool calls of the next model call to the hash. Return that model call's name: the hash so far, in hex."""
        self._settle()
        self._add("calls", *([call.call_id, call.name, plain(call.arguments)] for call in calls))
        return self.digest.hexdigest()

    def _settle(self) -> None:
        if self.results:
            self._add("results", *([call_id, text] for call_id, text in sorted(self.results.items())))
            self.results.clear()

    def _add(self, *values: Json) -> None:
        self.digest.update(dumps(values).encode())


def conversation_hash(owner: str) -> ConversationHash:
    """Return a new running hash for a conversation of this caller and its end user (`Ask.owner`), before its first message."""
    return ConversationHash(hashlib.sha256(dumps(["caller", owner]).encode()))
