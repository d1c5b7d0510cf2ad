"""Counts of Python and C function calls per unit of work, by caller and callee: where a chunk or a request costs.

    python -m bench.calls [unit …] [--least 1] [--instructions]

The counts are exact: the connections are fed by the program. tests/test_calls.py bounds the sums.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench import wire
from bench.by_hand import ByHand, Counts, counted, logged

ROUTES = """
targets:
  a: {model: openai/a, api_base: 'http://127.0.0.1:9/v1', api_key: sk-bench}
routes:
  chat-model: {pipeline: chat, targets: [a], reasoning: hide}
server:
  keep_alive: 15s
  resume: {keep: 1m}
"""
"""A route with the defaults of a chat: hidden reasoning, keep-alive, metrics, log and resumable answers."""
PIPELINE = "steps:\n  - history: {keep: 40}\n"
CHUNK = wire.chunk("word ")
WARM = 5
"""Chunks before the counted one, since an answer's first chunks take other paths."""


async def _begun(hands: ByHand, path: str, **fields: object) -> None:
    """Send a request and let the provider's answer begin."""
    await hands.ask(wire.request(path, {"model": "chat-model", "stream": True, **fields}, {}))
    assert hands.asked
    await hands.say(wire.HEAD, *[CHUNK] * WARM)


async def _chunk(hands: ByHand, path: str, **fields: object) -> Counts:
    await _begun(hands, path, **fields)
    with counted(instructions=hands.instructions) as counts:
        said = await hands.say(CHUNK)
    assert said.count(b"word ") == 1
    assert b"word99 " in await hands.say(wire.chunk("word99 "), wire.tail())
    return counts


async def paced(hands: ByHand) -> Counts:
    """Return the function calls of one chunk that arrives in a read of its own."""
    return await _chunk(hands, "/v1/chat/completions")


async def recorded(hands: ByHand) -> Counts:
    """Return the function calls of one chunk of an answer that is recorded for resuming."""
    return await _chunk(hands, "/api/chat", id="chat-1")


async def _whole(hands: ByHand, words: int, path: str = "/v1/chat/completions", **fields: object) -> Counts:
    """Return the function calls of one complete request whose answer arrives in one read: the least of four runs."""
    request = wire.request(path, fields, {})
    answer = b"".join((wire.HEAD, *map(wire.chunk, wire.words(words)), wire.tail()))
    made: list[Counts] = []
    for _ in range(4):
        with counted(instructions=hands.instructions) as counts:
            await hands.ask(request)
            said = await hands.say(answer)
        assert f"word{words - 1} ".encode() in said
        assert said.startswith(b"HTTP/1.1 200")
        made.append(counts)
    return min(made, key=lambda counts: counts.totals)


async def burst(hands: ByHand) -> Counts:
    """Return the function calls of a streamed answer of 200 chunks that arrives in one read."""
    return await _whole(hands, wire.LONG, model="chat-model", stream=True)


async def short(hands: ByHand) -> Counts:
    """Return the function calls of an answer of ten words without streaming."""
    return await _whole(hands, wire.SHORT, model="chat-model", stream=False)


async def line(hands: ByHand) -> Counts:
    """Return the function calls of a streamed answer of ten words in the line protocol, at a path with the route's name."""
    return await _whole(hands, wire.SHORT, "/api/chat/chat-model")


UNITS: dict[str, Callable[[ByHand], Awaitable[Counts]]] = {one.__name__: one for one in (paced, recorded, burst, short, line)}


def calls_of(unit: str, server: str = "", *, instructions: bool = False) -> Counts:
    """Return the function calls of a unit of work, named as in UNITS.
    server: further lines of the configuration's `server`
    instructions: count the bytecode instructions, too
    """
    import uvloop  # noqa: PLC0415 - not there on Windows

    async def measured() -> Counts:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "pipelines").mkdir()
            Path(folder, "pipelines/chat.yaml").write_text(PIPELINE, encoding="utf-8")
            Path(folder, "routes.yaml").write_text(ROUTES + server, encoding="utf-8")
            hands = ByHand(Path(folder, "routes.yaml"), instructions=instructions)
        try:
            return await UNITS[unit](hands)
        finally:
            await hands.close()

    with logged(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measured())


def _show(kind: str, counts: Counter[tuple[str, str]], least: int) -> None:
    print(f"\n  {counts.total()} {kind} calls")
    for (caller, callee), count in counts.most_common():
        if count >= least:
            print(f"  {count:6}  {callee}  <- {caller}")


def main() -> int:
    """Print the calls of the chosen units."""
    options = argparse.ArgumentParser("python -m bench.calls", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("units", nargs="*", default=list(UNITS), help=", ".join(UNITS))
    options.add_argument("--least", type=int, default=1, help="calls that are worth a line")
    options.add_argument("--instructions", action="store_true", help="count bytecode instructions, too, by function")
    chosen = options.parse_args()
    for unit in chosen.units:
        counts = calls_of(unit, instructions=chosen.instructions)
        print(f"{unit}: {counts.python.total()} Python calls, {counts.c.total()} C calls")
        if chosen.instructions:
            print(f"\n  {counts.instructions.total()} instructions")
            for name, count in counts.instructions.most_common():
                if count >= chosen.least:
                    print(f"  {count:6}  {name}")
            for (name, kind), count in counts.errors.most_common():
                print(f"  {count:6}  {kind} in {name}")
        _show("Python", counts.python, chosen.least)
        _show("C", counts.c, chosen.least)
    return 0


if __name__ == "__main__":
    sys.exit(main())
