"""Prompt caching: a key for the chat (OpenAI and others), and Claude's cache marks (`cache_control`) on its own wire and on OpenAI's.

Claude caches what stands before a mark. For a new question it reads the longest cached prefix that ends at a mark, or at most 20 blocks
before one. A request may have four marks, which are not part of what is compared:

* after the tools, and after the system prompt: these do not move;
* on the last user turn, which the next question reads, and on the one before, where the last request had its own. So the 20 blocks of
  look-back suffice, however many calls a turn has.

Source: Anthropic's guide to prompt caching.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import cast

from router.chat import Ask, Call, File, Json, ReasoningState, Result

MARK: Json = {"type": "ephemeral"}
"""Value of a cache mark. The cache lives for five minutes, and for five more after each read."""
CONTROL = "cache_control"
KEY_CHARS = 32
"""Characters of a session key: OpenAI takes 64 at most."""
BYTES_OF_A_TOKEN = 3
"""Estimate on the low side, so that a prompt counts as long rather too early: a mark on a short prompt has no effect, a missing mark costs
the full price."""
FILE_BYTES = 3000
"""Bytes counted for a file: an image has about a thousand tokens."""


def session_key(session: str, secret: str) -> str:
    """Return an opaque key for a chat at one provider account: KEY_CHARS hexadecimal digits, equal on all replicas.
    `session`: the digest of the caller's chat (`Ask.session`). `secret`: the target's `api_key`; another one gives another key.
    """
    key = hashlib.sha256(f"pointsman session key\n{secret}".encode()).digest()
    return hmac.digest(key, session.encode(), "sha256").hex()[:KEY_CHARS]


def is_long(ask: Ask, tokens: int) -> bool:
    """Return whether tools, system prompt and conversation have about `tokens` tokens or more, estimated at three bytes a token."""
    return any(size >= tokens * BYTES_OF_A_TOKEN for size in accumulate(_sizes(ask)))


def _sizes(ask: Ask) -> Iterator[int]:
    for message in ask.messages:
        for part in message.parts:
            match part:
                case str():
                    yield _bytes(part)
                case Result():
                    yield _bytes(part.text) + FILE_BYTES * len(part.files)
                case Call():
                    yield len(json.dumps(part.arguments))
                case File():
                    yield FILE_BYTES
                case ReasoningState():
                    pass
    for tool in ask.tools:
        yield _bytes(tool.description) + len(json.dumps(tool.parameters, default=dict))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def marked(block: Json) -> Json:
    """Return a copy of a content block, or of a tool, with a cache mark."""
    return {**cast("dict[str, Json]", block), CONTROL: MARK}


def moving(roles: Sequence[str]) -> tuple[int, ...]:
    """Return the indexes in `roles` of the at most two messages that get a moving cache mark, in order; empty without any.
    They are the last message of a user or tool, and the last such message before the assistant message that precedes it.
    """
    theirs = [at for at, role in enumerate(roles) if role not in ("assistant", "system")]
    if not theirs:
        return ()
    answered = next((at for at in range(theirs[-1], -1, -1) if roles[at] == "assistant"), 0)
    return tuple([at for at in theirs if at < answered][-1:] + theirs[-1:])


def mark_turns(turns: list[Json]) -> list[Json]:
    """Return a copy of Anthropic turns with a cache mark on the last block of each turn that `moving` names."""
    made = [cast("dict[str, Json]", turn) for turn in turns]
    for at in moving([str(turn["role"]) for turn in made]):
        content = cast("list[Json]", made[at]["content"])
        made[at] = {**made[at], "content": [*content[:-1], marked(content[-1])]}
    return [*made]


def mark_messages(messages: Sequence[dict[str, Json]]) -> list[dict[str, Json]]:
    """Return a copy of messages of the OpenAI wire with cache marks, for providers that serve Claude on it.
    Marked are the last system message and the messages that `moving` names, except for blank texts.
    """
    made = list(messages)
    roles = [str(message["role"]) for message in made]
    system = [at for at, role in enumerate(roles) if role == "system"][-1:]
    for at in (*system, *moving(roles)):
        content = made[at]["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}] if content.strip() else []
        if roles[at] == "tool":
            made[at] = {**made[at], CONTROL: MARK}
        elif parts := cast("list[Json]", content):
            made[at] = {**made[at], "content": [*parts[:-1], marked(parts[-1])]}
    return made
