"""A request's bytes → the fields of one JSON object. Bounded while they come: uvicorn bounds nothing.

The values in a body are counted before one of them is made: the parser holds the interpreter's lock (GIL) from its first byte to its
last, in whichever thread it runs. What is bounded so is parsed beside the loop where it is large.
"""

import asyncio
import json
from collections.abc import Callable
from typing import TypeVar, cast

from router.chat import ESCAPED, Json, crowded, deeper, finite, mended, separators
from router.config.declaration import RequestBounds
from router.errors import BadAsk, Misfit, TooLarge
from router.intake.scope import Receive
from router.threads import Turns

T = TypeVar("T")

MAX_SECONDS = 30.0
"""How long a body may take to come in."""
ON_LOOP_BYTES = 64 * 1024
ON_LOOP_VALUES = 2_000
"""Bytes and values of the largest body that is read on the loop: 2 ms of work at most. Starting a thread takes 0.1 ms."""


class ClientLeft(Exception):
    """The client hung up."""


async def read(receive: Receive, declared_length: bytes | None, bounds: RequestBounds) -> bytes:
    """The body's bytes; counted as they come, whatever its length was said to be."""
    if declared_length is not None and declared_length.isdigit() and int(declared_length[:18]) > bounds.body:
        raise TooLarge
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(MAX_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                piece = cast("bytes", message.get("body", b""))
                size += len(piece)
                if size > bounds.body:
                    raise TooLarge
                pieces.append(piece)
                if not message.get("more_body", False):
                    return b"".join(pieces)
    except TimeoutError:
        raise BadAsk("The request's body did not come in time.") from None


class Reading:
    """Where large bodies are read: beside the loop, one at a time. The loop takes turns with one thread, not with as many as there are
    clients; who comes later waits for the others' turn.
    """

    def __init__(self) -> None:
        self._turns = Turns()

    async def of(self, body: bytes, work: Callable[[], T]) -> T:
        """Return what `work` makes of a body: at once where the body is small, else from a thread."""
        if len(body) <= ON_LOOP_BYTES and separators(body) <= ON_LOOP_VALUES:
            return work()
        return await self._turns.take(work, "body")


def parsed(body: bytes, bounds: RequestBounds) -> dict[str, Json]:
    """The body's object: UTF-8, each key once, no NaN, no more values and nested no deeper than the bounds, and no half of a character
    anywhere.
    """
    if crowded(body, bounds.values):
        raise TooLarge(f"The body holds too many values: {bounds.values} at most.")
    try:
        text = body.decode("utf-8-sig")
        value: object = json.loads(text, object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BadAsk("The body is not UTF-8.") from None
    except RecursionError:
        raise BadAsk("The body is nested too deeply.") from None
    except Misfit as misfit:
        raise BadAsk(misfit.message) from None
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadAsk(f"The body is not JSON{where}.") from None
    if not isinstance(value, dict):
        raise BadAsk("The body must be a JSON object.")
    if deeper(cast("object", value), bounds.depth):
        raise BadAsk("The body is nested too deeply.")
    fields = cast("dict[str, Json]", value)
    return cast("dict[str, Json]", mended(fields)) if ESCAPED.search(text) else fields


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
