"""Prompt caching: how a provider is asked to keep the beginning of a prompt, which the next question of the chat then reads at a lower price.

    session_key(session, secret)     which questions belong together, for providers that route by it: OpenAI, xAI, Fireworks …
    is_long(ask, tokens)             whether a prompt is long enough for marks
    MARK, mark_turns, mark_messages  Claude's marks (`cache_control`): on its own wire, and on OpenAI's

Claude keeps what stands before a mark. Of a new question it reads the longest beginning that it kept: at a mark, or at most 20 blocks before
one. A request may have four marks:

* after the tools, and after the system prompt: these stay where they are;
* at the last of the user's turns, which the next question reads, and at the one before, where the last request had its own. So the look back
  over 20 blocks is never needed, however many calls a turn has.

Marks are not part of what is compared.

Source: Anthropic's guide to prompt caching.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from typing import cast

from router.chat import Ask, Call, File, Json, ReasoningState, Result

MARK: Json = {"type": "ephemeral"}
"""Kept for five minutes, and for as long again with each question that reads it."""
CONTROL = "cache_control"
KEY_CHARS = 32
"""Characters of a session key: OpenAI takes 64 at most."""
BYTES_OF_A_TOKEN = 3
"""Fewer than most have: a mark on a prompt that is too short does nothing, one that lacks costs the full price."""
FILE_BYTES = 3000
"""Bytes that a file counts for: an image is about a thousand tokens."""


def session_key(session: str, secret: str) -> str:
    """Return the name of a session for one provider account: an HMAC under a key derived from the target's `api_key`.

    It reveals neither caller nor chat. Replicas compute the same; another `api_key` gives another name.
    """
    key = hashlib.sha256(f"pointsman session key\n{secret}".encode()).digest()
    return hmac.digest(key, session.encode(), "sha256").hex()[:KEY_CHARS]


def is_long(ask: Ask, tokens: int) -> bool:
    """Return whether tools, system prompt and conversation have about so many tokens. Counting stops as soon as they do."""
    left = tokens * BYTES_OF_A_TOKEN
    for size in _sizes(ask):
        left -= size
        if left <= 0:
            return True
    return False


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
    """A block, or a tool, with a mark on it."""
    return {**cast("dict[str, Json]", block), CONTROL: MARK}


def moving(roles: Sequence[str]) -> tuple[int, ...]:
    """Return the indexes of the messages with the two moving marks. `roles`: of all messages.

    They are the last message of the user's side, and the last one of that side before an answer of the assistant's.
    """
    theirs = [at for at, role in enumerate(roles) if role not in ("assistant", "system")]
    if not theirs:
        return ()
    answered = next((at for at in range(theirs[-1], -1, -1) if roles[at] == "assistant"), 0)
    return tuple([at for at in theirs if at < answered][-1:] + theirs[-1:])


def mark_turns(turns: list[Json]) -> list[Json]:
    """Turns of Anthropic's wire, the last block of two of them marked. All blocks of the user's side may bear a mark."""
    made = [cast("dict[str, Json]", turn) for turn in turns]
    for at in moving([str(turn["role"]) for turn in made]):
        content = cast("list[Json]", made[at]["content"])
        made[at] = {**made[at], "content": [*content[:-1], marked(content[-1])]}
    return [*made]


def mark_messages(messages: Sequence[dict[str, Json]]) -> list[dict[str, Json]]:
    """Return messages of OpenAI's wire, marked for providers that serve Claude through it.

    Marked are the system prompt, which comes after the tools in the cached prompt, and two messages of the user's side.
    """
    made = list(messages)
    roles = [str(message["role"]) for message in made]
    system = [at for at, role in enumerate(roles) if role == "system"][-1:]
    for at in (*system, *moving(roles)):
        made[at] = _marked_message(made[at])
    return made


def _marked_message(message: dict[str, Json]) -> dict[str, Json]:
    content = message["content"]
    if message["role"] == "tool":
        return {**message, CONTROL: MARK}
    if isinstance(content, str):
        return {**message, "content": [marked({"type": "text", "text": content})]} if content.strip() else message
    parts = cast("list[Json]", content)
    return {**message, "content": [*parts[:-1], marked(parts[-1])]} if parts else message
