"""Embeddings over HTTP: call the route and write the answer in the form of OpenAI's API or of the AI SDK's gateway."""

import asyncio
import base64
import json
import sys
import time
from array import array
from functools import partial

from router.answering.reply import Reply, cost_header
from router.callers import Caller
from router.embed import Embeddings, Vector
from router.errors import TimedOut
from router.generation import Compiled
from router.intake import Encoding, Wanted
from router.threads import in_thread
from router.value import replace

ON_LOOP = 4096
"""Numbers (of all vectors) up to which an answer is encoded on the event loop, else in a thread: each takes a microsecond."""


async def deliver(reply: Reply, route: Compiled, wanted: Wanted, caller: Caller) -> None:
    """Call the route's targets and write the vectors. TimedOut after the total timeout; the targets' errors are raised."""
    assert route.embed is not None
    entry, total = reply.entry, route.declared.timeout.total
    until = time.monotonic() + total
    embed = replace(wanted.embed, model=route.name, caller=caller.id, user=caller.user, until=until, trail=entry.trail)
    try:
        async with asyncio.timeout(total):
            made = await route.embed(embed)
    except TimeoutError:
        raise TimedOut from None
    entry.opened = time.monotonic()
    entry.target, entry.steps, entry.outcome = made.target, 1, "embedded"
    entry.tally()
    scripted = any(target.lane == "script" for target in route.targets if target.name == made.target)
    model = route.models[made.target] if scripted else wanted.embed.model
    write = partial(written, made, wanted.encoding, model)
    small = sum(map(len, made.vectors)) <= ON_LOOP
    await reply.complete(200, write() if small else await in_thread(write, "embeddings"), cost_header(entry))


def written(made: Embeddings, encoding: Encoding, model: str) -> bytes:
    """Return the answer as JSON in this encoding. `model`: the name that the client sees; for a script, the script's own.

    It is written vector by vector: one pass over all of them would hold the interpreter's lock for seconds.
    """
    if encoding == "gateway":
        vectors = ",".join(map(_floats, made.vectors))
        return f'{{"embeddings":[{vectors}],"usage":{{"tokens":{made.usage.input_tokens}}},"warnings":[]}}'.encode()
    encode = _base64 if encoding == "base64" else _floats
    data = ",".join(f'{{"object":"embedding","index":{index},"embedding":{encode(vector)}}}' for index, vector in enumerate(made.vectors))
    tokens = made.usage.input_tokens
    rest = json.dumps({"model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
    return f'{{"object":"list","data":[{data}],{rest[1:]}'.encode()


def _floats(vector: Vector) -> str:
    return json.dumps(vector.tolist(), separators=(",", ":"))


def _base64(vector: Vector) -> str:
    """Return the vector as quoted base64 of float32 numbers in little-endian order, as OpenAI's clients read it."""
    made = array("f", vector)
    if sys.byteorder == "big":
        made.byteswap()
    return f'"{base64.b64encode(made.tobytes()).decode()}"'
