"""A request's bytes → an Ask. Strict at the door, so that everything behind it may trust what it gets.

Fields we do not know are kept for the templates (`ask.<field>`) and never forwarded to a provider.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from starlette.types import Receive

from router.chat import Ask, Json, JsonObject, Params, whole
from router.config.declaration import RequestBounds
from router.errors import BadAsk, Misfit, TooLarge
from router.server.messages import messages
from router.signature import arguments, record_of

MAX_SECONDS = 30.0
"""How long a body may take to come in."""
PARAMS = record_of(Params)
SAMPLING = frozenset(item.name for item in PARAMS.fields)
OWN = frozenset({"messages", "model", "stream", "params", *SAMPLING})


class ClientLeft(Exception):
    """The client hung up."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks for, and how it wants the answer."""

    ask: Ask
    stream: bool


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


def asked(fields: Mapping[str, Json], model: str | None, bounds: RequestBounds) -> Asked:
    """The question in a body's fields. `model`: the route named in the path, which stands over the body's."""
    stream = fields.get("stream", True)
    if not isinstance(stream, bool):
        raise BadAsk("stream: true or false is needed.")
    named = model if model is not None else fields.get("model")
    if not isinstance(named, str) or not named:
        raise BadAsk("model: a model id is needed, here or in the path. GET /api/models lists them.")
    extra = fields.get("params", {})
    if not isinstance(extra, dict):
        raise BadAsk("params: an object is needed.")
    ask = Ask(
        model=named,
        messages=messages(fields.get("messages"), bounds.messages),
        params=sampling(fields),
        fields={name: value for name, value in fields.items() if name not in OWN},
        extra=cast("JsonObject", extra),
    )
    return Asked(ask, stream)


def parsed(body: bytes, depth: int) -> dict[str, Json]:
    """The body's object: UTF-8, each key once, no NaN, nested no deeper than the bound."""
    try:
        value: object = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant)
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
    if _deeper(cast("object", value), depth):
        raise BadAsk("The body is nested too deeply.")
    return cast("dict[str, Json]", value)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Misfit("The body has a key twice.")
    return made


def _no_constant(_: str) -> None:
    raise Misfit("The body holds NaN or Infinity, which JSON has not.")


def _deeper(value: object, depth: int) -> bool:
    level: list[object] = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: object) -> Sequence[object]:
    inner = cast("dict[str, object]", value).values() if isinstance(value, dict) else cast("list[object]", value)
    return [cast("object", one) for one in inner if isinstance(one, dict | list)]


def sampling(fields: Mapping[str, Json]) -> Params:
    """The sampling parameters among the fields; null is the same as nothing."""
    given: dict[str, object] = {name: fields[name] for name in SAMPLING if fields.get(name) is not None}
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    try:
        values = arguments(PARAMS, given)
        if "stop" in values:
            values["stop"] = tuple(whole(text) for text in cast("list[str]", values["stop"]))
        return Params(**values)  # type: ignore[arg-type]
    except Misfit as misfit:
        raise BadAsk(f"{misfit.message}.") from None
