"""A request's bytes → the fields of one JSON object. Bounded while they come: uvicorn bounds nothing."""

import asyncio
import json
from typing import cast

from starlette.types import Receive

from router.chat import ESCAPED, Json, deeper, finite, mended
from router.config.declaration import RequestBounds
from router.errors import BadAsk, Misfit, TooLarge

MAX_SECONDS = 30.0
"""How long a body may take to come in."""


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


def parsed(body: bytes, depth: int) -> dict[str, Json]:
    """The body's object: UTF-8, each key once, no NaN, nested no deeper than the bound, and no half of a character anywhere."""
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
    if deeper(cast("object", value), depth):
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
