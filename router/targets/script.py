"""Targets that need no provider: the offline demo, and scripts, which replay a list of lines.

demo: {script: demo}
late: {script: [{pause: 2s}, {text: "Here I am."}, {finish: stop}]}
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from router.chat import Ask, JsonObject
from router.config.declaration import ScriptLine
from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetDown, TargetError, TargetRefused, TargetSilent
from router.events import Answer, Event, Events, Finish, Start, Text, Thought, ToolCall, Usage
from router.targets import demo
from router.targets.demo import ALONE, Post

FAILURES: dict[str, Callable[[str], TargetError]] = {
    "down": lambda name: TargetDown(name, "status_503"),
    "silent": lambda name: TargetSilent(name, "timeout_first_token"),
    "refused": lambda name: TargetRefused(name, "status_400"),
    "denied": lambda name: TargetDenied(name, "status_401"),
    "too_long": lambda name: ContextTooLong(name, "context_too_long"),
    "filtered": lambda name: ContentFiltered(name, "content_filter"),
}
PIECE = re.compile(r"\s*\S+\s*|\s+")
PACE = 0.012
"""Seconds between two words of the demo, as fast as a quick model."""
MAX_COUNTED = 64 * 1024
"""Characters of a message in which words are counted; the rest is extrapolated."""


def answer(name: str, script: str | Sequence[ScriptLine], post: Post = ALONE) -> Answer:
    """Return the function that answers a question with a script's lines: those of the offline demo for `demo`, or the given ones.
    `post` is the target's place in a route, which the demo describes.
    """
    if isinstance(script, str):
        return _spoken(name, f"script/{script}", partial(demo.lines, post=post), PACE)
    return _spoken(name, "script/lines", lambda _: script, 0.0)


def _spoken(name: str, model: str, lines: Callable[[Ask], Sequence[ScriptLine]], pace: float) -> Answer:
    async def spoken(ask: Ask) -> Events:
        yield Start(name, model)
        said, called = 0, False
        for line in lines(ask):
            if line.fail is not None:
                raise FAILURES[line.fail](name)
            if line.pause is not None:
                await asyncio.sleep(line.pause)
            elif line.finish is not None:
                yield Finish(line.finish, _usage(ask, said))
                return
            else:
                async for event in _events(line, pace):
                    said += 1
                    called = called or isinstance(event, ToolCall)
                    yield event
        yield Finish("tool-calls" if called else "stop", _usage(ask, said))

    return spoken


async def _events(line: ScriptLine, pace: float) -> AsyncIterator[Event]:
    if line.call is not None:
        arguments: JsonObject = line.arguments or {}  # type: ignore[assignment]  # read from YAML, so JSON
        yield ToolCall(f"call_{secrets.token_hex(12)}", str(line.call), arguments)  # a plain str: encoders take no subclass
        return
    text, kind = (line.text, Text) if line.text is not None else (line.thought, Thought)
    for piece in PIECE.findall(text or ""):
        yield kind(piece)
        if pace:
            await asyncio.sleep(pace)


def _usage(ask: Ask, said: int) -> Usage:
    texts = [(message.text, message.text[:MAX_COUNTED]) for message in ask.messages]
    return Usage(sum(len(beginning.split()) * len(text) // max(1, len(beginning)) for text, beginning in texts), said)
