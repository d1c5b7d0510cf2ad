"""Reading a request's bytes into the fields of one JSON object, bounded while they arrive: uvicorn sets no bound.

The values in a body are counted before it is parsed: the parser holds the interpreter's lock (GIL) from the first byte to the
last, in whichever thread it runs. A large body within the bounds is parsed in another thread.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from router.chat import ESCAPED, Json, crowded, deeper, finite, mended, repaired, separators
from router.config.server import RequestBounds
from router.errors import BadAsk, Crowded, Misfit, TooLarge
from router.intake.request import Request
from router.intake.scope import Receive
from router.lifecycle import Deadline, Holdings
from router.threads import Turns
from router.value import Mutable, field

T = TypeVar("T")

MAX_SECONDS = 30.0
"""Seconds within which a whole body must arrive."""
ON_LOOP_BYTES = 64 * 1024
ON_LOOP_VALUES = 2_000
"""Bytes and values up to which a body is parsed on the event loop: 2 ms of work at most. Starting a thread takes 0.1 ms."""
MAX_HELD_BYTES = 256 * 1024 * 1024
"""The most bytes of all request bodies in one process; or the largest allowed size of one body, where that is more."""
BEGINNING_BYTES = 64 * 1024
"""Bytes of a refused body in which its wire is looked for."""
BEGINNING_SECONDS = 1.0
"""Seconds to wait for the first bytes of a body that is refused because of its declared length."""
WHITE = " \t\n\r"
"""White space in JSON."""
NOTHING_STATED: Mapping[str, Json] = {}
"""The fields in the headers of most requests."""


class ClientLeft(Exception):
    """The client closed the connection."""


class Incoming(Mutable):
    """A request body while it arrives. Its bytes count in `bodies` until `close` is called, which is at the end of the request.

    announced: the client waits for a `100 Continue` before it sends the body (RFC 9110, 10.1.1)
    seconds: within which the body must be complete
    """

    _bodies: "Bodies"
    _receive: Receive
    _length: bytes | None
    _bounds: RequestBounds
    announced: bool = False
    seconds: float = MAX_SECONDS
    _size: int = 0
    _pieces: list[bytes] = field(default_factory=list[bytes])
    _untouched: bool = True

    async def read(self) -> bytes:
        """Return the whole body. Its bytes are counted as they arrive, whatever its declared length.

        - TooLarge beyond the bound of one body; at once if the declared length is beyond it.
        - Crowded beyond the bound of all bodies.
        - BadAsk if the body is not complete after `seconds`.
        - ClientLeft if the client disconnected.
        """
        if self._length is not None and self._length.isdigit() and int(self._length[:18]) > self._bounds.body:
            raise TooLarge
        self._untouched, more = False, True
        try:
            with Deadline(self.seconds):
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientLeft
                    piece, more = message.get("body", b""), message.get("more_body", False)
                    self._pieces.append(piece)
                    size = len(piece)
                    if self._size + size > self._bounds.body:
                        raise TooLarge
                    self._bodies.hold(size, self._bounds)
                    self._size += size
        except TimeoutError:
            raise BadAsk("The request's body did not come in time.") from None
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    async def beginning(self) -> bytes:
        """Return up to BEGINNING_BYTES from the start of a body that `read` refused; empty if there are none.

        If nothing was received yet, wait BEGINNING_SECONDS at most for the first part; not for a client that waits for `100 Continue`.
        """
        if self._untouched and not self.announced:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEGINNING_SECONDS):
                    if (message := await self._receive())["type"] == "http.disconnect":
                        raise ClientLeft
                    self._pieces.append(message.get("body", b""))
        found = b"".join(self._pieces)[:BEGINNING_BYTES]
        self._pieces.clear()
        return found

    def close(self) -> None:
        """Stop counting the bytes of this body."""
        self._bodies.held -= self._size
        self._size = 0


class Bodies:
    """A counter of the bytes of all request bodies until their requests end. `most`: the bound, unless a single body may be larger."""

    def __init__(self, most: int = MAX_HELD_BYTES) -> None:
        self._most = most
        self.held = 0
        """Number of bytes counted now."""

    def arrived(self, request: Request, bounds: RequestBounds, held: Holdings) -> bytes | None:
        """Return a body that arrived with its headers, as most do, and count it until `held` is closed.

        None if an Incoming must read it: it is not complete, may exceed a bound, or another server than the router's own received it.
        """
        client, most = request.client, bounds.body
        if client is None or self.held + most > self._most or (body := client.received(request.receive, most)) is None:
            return None
        size = len(body)
        self.held += size
        held.add(partial(self._release, size))
        return body

    def _release(self, size: int) -> None:
        self.held -= size

    def hold(self, size: int, bounds: RequestBounds) -> None:
        """Count `size` more bytes. Crowded, and nothing counted, if they would exceed the bound, or `bounds.body` where that is larger."""
        held = self.held + size
        if held > self._most and held > bounds.body:
            raise Crowded
        self.held = held


class Reading:
    """The place where request bodies are parsed: small ones on the event loop, large ones in another thread, one at a time.

    The event loop competes with one thread for the interpreter, not with as many as there are clients.
    """

    def __init__(self) -> None:
        self._turns = Turns()

    async def of(self, body: bytes, work: Callable[[], T]) -> T:
        """Return the result of `work`, which reads `body`: at once up to ON_LOOP_BYTES and ON_LOOP_VALUES, else in a thread in its turn."""
        return work() if is_small(body) else await self._turns.take(work, "body")


def is_small(body: bytes) -> bool:
    """Return whether a body has at most ON_LOOP_BYTES and ON_LOOP_VALUES, and may be parsed on the event loop."""
    return len(body) <= ON_LOOP_VALUES or (len(body) <= ON_LOOP_BYTES and separators(body) <= ON_LOOP_VALUES)


def parsed(body: bytes, bounds: RequestBounds, stated: Mapping[str, Json] = NOTHING_STATED) -> Mapping[str, Json]:
    """Return the object in a JSON body. Lone surrogates in it are replaced. `stated`: fields in headers, which override the body's.

    BadAsk if it is not UTF-8 or not a JSON object, or is nested too deeply. BadAsk for a key that stands twice, NaN, Infinity and numbers
    that are too large. TooLarge with too many values.
    """
    if len(body) >= bounds.values and crowded(body, bounds.values):  # each value takes a byte at least
        raise TooLarge(f"The body holds too many values: {bounds.values} at most.")
    try:
        text = body.decode()
        fields: dict[str, Json] | None = _value(text)
    except UnicodeDecodeError:
        raise BadAsk("The body is not UTF-8.") from None
    except RecursionError:
        raise BadAsk("The body is nested too deeply.") from None
    except Misfit as misfit:
        raise BadAsk(misfit.message) from None
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadAsk(f"The body is not JSON{where}.") from None
    if type(fields) is not dict:
        raise BadAsk("The body must be a JSON object.")
    # A body is nested no deeper than it has opening brackets.
    if body.count(b"[") + body.count(b"{") > bounds.depth and deeper(fields, bounds.depth):
        raise BadAsk("The body is nested too deeply.")
    if "\\u" in text and ESCAPED.search(text):
        fields = {repaired(name): mended(one) for name, one in fields.items()}
    return {**fields, **stated} if stated else fields


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Misfit("The body has a key twice.")
    return made


def _finite(text: str) -> float:
    try:
        return finite(text)
    except ValueError:
        raise Misfit("The body holds a number that is too large.") from None


def _no_constant(_: str) -> None:
    raise Misfit("The body holds NaN or Infinity, which JSON has not.")


_raw_decode = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_constant).raw_decode
"""A decoder made once: json.loads would make one for each body."""


def _value(text: str) -> Any:
    """Return the value in a JSON text. There may be a byte order mark before it, and white space around it."""
    start = 0
    if not text.startswith("{"):
        text = text.removeprefix("\ufeff")
        start = len(text) - len(text.lstrip(WHITE))
    value, end = _raw_decode(text, start)
    if end != len(text) and (rest := text[end:].lstrip(WHITE)):
        raise json.JSONDecodeError("Extra data", text, len(text) - len(rest))
    return value
