"""Reading a body that asks for nothing but an answer, as most do, in a third of the time of the general reader.

{model, messages: [{role: system, user or assistant, content: a text that is not empty}], stream}

Such a body means the same at the router's own address and at that of chat completions, but for its defaults.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from router.chat import ANY_AGE, Ask, Message, Role, TextMessages, unescaped
from router.config.server import RequestBounds
from router.intake.cache_control import cache_control
from router.intake.protocol import UNDECIDED
from router.intake.question import Asked
from router.intake.request import Request
from router.params import NO_PARAMS
from router.value import Value
from router.wire import WIRES


class _Said(Value, frozen=True, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Meta(min_length=1)]


class _Body(Value, frozen=True, forbid_unknown_fields=True):
    messages: Annotated[list[_Said], Meta(min_length=1)]
    model: str | UnsetType = UNSET
    stream: bool | UnsetType | None = UNSET


_decode = msgspec.json.Decoder(_Body).decode
BACKSLASH = 0x5C
ON_LOOP_BYTES = 256 * 1024
"""Bytes up to which a body is read here, on the event loop: 0.3 ms of work with 1,100 messages, 0.8 ms with 5,000 short ones.
The general reader, which takes five times as long, is left alone with bodies from a quarter of that."""


def plain_question(data: bytes, request: Request, bounds: RequestBounds, usual: str) -> Asked | None:
    """Return the question of a plain body within the bounds. None for any other body, which `question.asked` reads or refuses.

    usual: the route that answers if neither path nor body names one; a chat completion has to name one
    """
    size, wire, chat = len(data), request.wire, request.surface == "chat"
    if not chat and request.surface != "completions":
        return None
    # Its levels: the body, the list, a message.
    if size > ON_LOOP_BYTES or bounds.depth < 3 or request.stated:
        return None
    try:
        body = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    model, stream, count = body.model, body.stream, len(body.messages)
    values = 4 * count + 6  # at most: an object, an item and two members of each message
    if count > bounds.messages or values > bounds.values:
        return None
    said, once = _long(data, body) if size > LONG else (TextMessages([Message(one.role, (one.content,)) for one in body.messages]), False)
    # Each message has four texts, keys included, and the body around them one to four. With more texts, a key stands twice.
    texts = 4 * count + (1 if model is UNSET else 3) + (0 if stream is UNSET else 1)
    if not once and (unescaped(data) if BACKSLASH in data else data).count(b'"') != 2 * texts:
        return None
    if request.model is not None:
        model = request.model
    elif model is UNSET and chat:
        model = usual
    if not model:
        return None
    if wire is UNDECIDED:
        request.wire = wire = WIRES["line"]  # as `protocol.spoken` has it for such a body
    ask = Ask(model=model, messages=said, params=NO_PARAMS)
    cache = cache_control(request.cache_control, {}) if request.cache_control else ANY_AGE
    return Asked(ask, stream if stream is True or stream is False else chat, wire, cache)


LONG = 4096
"""Bytes from which a body is compared with its shortest JSON, to count the quotation marks in it only if it is longer."""


def _long(data: bytes, body: _Body) -> tuple[TextMessages, bool]:
    """Return the messages of a long body, and whether its JSON is the shortest: with no space outside of texts, and nothing twice."""
    roles: list[Role] = [one.role for one in body.messages]
    texts = [one.content for one in body.messages]
    said = TextMessages(map(Message, roles, zip(texts, strict=True)))
    if BACKSLASH in data:
        return said, False
    length = len('{"messages":[]}') - 1 + len(texts) * len('{"role":"","content":""},') + sum(map(len, roles))
    if body.model is not UNSET:
        length += len(',"model":""') + len(body.model.encode())
    if body.stream is not UNSET:
        length += len(',"stream":') + (5 if body.stream is False else 4)
    return said, length + (sum(map(len, texts)) if data.isascii() else len("".join(texts).encode())) == len(data)
