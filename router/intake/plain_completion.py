"""Reading a chat completion's body that asks for nothing but an answer, as most do, in a third of the time of the general reader.

{model, messages: [{role: system, user or assistant, content: a text that is not empty}], stream}
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from router.chat import ANY_AGE, Ask, Message, TextMessages, unescaped
from router.config.server import RequestBounds
from router.intake.body import ON_LOOP_BYTES
from router.intake.cache_control import cache_control
from router.intake.question import Asked
from router.params import NO_PARAMS
from router.value import Value
from router.wire import Wire


class _Said(Value, frozen=True, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Meta(min_length=1)]


class _Body(Value, frozen=True, forbid_unknown_fields=True):
    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[_Said], Meta(min_length=1)]
    stream: bool | UnsetType | None = UNSET


_decode = msgspec.json.Decoder(_Body).decode
BACKSLASH = 0x5C


def plain_completion(data: bytes, bounds: RequestBounds, wire: Wire, cache: bytes = b"") -> Asked | None:
    """Return the question of a plain body within the bounds. None for any other body, which `question.asked` reads or refuses.

    cache: the values of the Cache-Control header
    """
    size = len(data)
    if size > ON_LOOP_BYTES or size >= bounds.values or bounds.depth < 3:  # its levels: the body, the list, a message
        return None
    try:
        body = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    count = len(body.messages)
    # Each message has four texts, keys included, and the body around them three or four. With more texts, a key stands twice.
    quotes = 2 * (4 * count + (3 if body.stream is UNSET else 4))
    bare = unescaped(data) if BACKSLASH in data else data
    if bare.count(b'"') != quotes or count > bounds.messages:
        return None
    said = TextMessages([Message(one.role, (one.content,)) for one in body.messages])
    ask = Ask(model=body.model, messages=said, params=NO_PARAMS)
    return Asked(ask, body.stream is True, wire, cache_control(cache, {}) if cache else ANY_AGE)
