"""Ask a route from the terminal.

examples:
  router chat chat-model "Hello"
  router chat title-model "How do I prune an apple tree?" 2>/dev/null | pbcopy

exit codes:
  0 the route answered
  1 the configuration is invalid, there is no such route, or the answer failed
  2 the command line is wrong
"""

import argparse
import asyncio
import json
import sys
from contextlib import aclosing

from router.chat import Ask, Message
from router.config import load
from router.errors import RouterError, TimedOut
from router.events import Failure, Finish, Produced, Source, Text, Thought, ToolCall, ToolProgress, ToolResult
from router.generation import Generation, build
from router.steps.session import session
from router.targets import close_lanes
from router.value import Mutable


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("route", help="a route's id or alias")
    parser.add_argument("text", help="the question")


def run(given: argparse.Namespace) -> int:
    """Ask the route, and print its answer as it streams. Returns 0; 1 without one. Raises RouterError for an unknown route or a timeout."""
    return asyncio.run(_conversation(build(load(given.routes)), given.route, given.text))


async def _conversation(generation: Generation, model: str, text: str) -> int:
    route = generation.route(model)
    ask = Ask(model=route.name, messages=(Message("user", (text,)),))
    terminal = _Terminal()
    try:
        async with asyncio.timeout(route.declared.timeout.total), aclosing(session()(route.answer)(ask)) as events:
            async for event in events:
                match event:
                    case Text(piece) | Thought(piece):
                        terminal.say(piece, faint=isinstance(event, Thought))
                    case ToolCall(_, name, arguments):
                        terminal.note(f"→ {name}({json.dumps(dict(arguments), ensure_ascii=False)})")
                    case ToolProgress(_, name, output) if not event.part:  # a part is for a page alone
                        terminal.note(f"… {name}: {output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)}")
                    case ToolResult(_, name, result):
                        terminal.note(f"← {name}: {result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)}")
                    case Source(url, title):
                        terminal.note(f"[source: {' '.join(filter(None, (title, url)))}]")
                    case Produced(media_type, data):
                        terminal.note(f"[file: {media_type}, {len(data) * 3 // 4:,} bytes]")
                    case Finish(reason, usage):
                        counts = f", {usage.input_tokens} + {usage.output_tokens} tokens" if usage else ""
                        terminal.note(f"[{reason}{counts}]")
                    case Failure(code, public):
                        terminal.note(f"error: {public} [{code}]")
                        return 1
                    case _:
                        pass
    except TimeoutError:
        raise TimedOut from None
    except RouterError as error:
        terminal.note(f"error: {error.public} [{error.code}]")
        for attempt in ask.trail.attempts:
            terminal.note(f"  {attempt.target}: {attempt.outcome} after {attempt.seconds:.2f} s")
        return 1
    finally:
        await generation.close()
        await generation.kept.connections.close()
        await close_lanes()
    return 0


class _Terminal(Mutable):
    """The terminal: the answer on stdout, all notes about it on stderr."""

    _open: bool = False

    def say(self, piece: str, *, faint: bool) -> None:
        """Print a piece of the answer on stdout, or a thought (`faint`) on stderr: in faint letters if that is a terminal."""
        out = sys.stderr if faint else sys.stdout
        print(f"\033[2m{piece}\033[0m" if faint and out.isatty() else piece, end="", flush=True, file=out)
        self._open = not piece.endswith("\n")

    def note(self, line: str) -> None:
        """Print a line about the answer on stderr, after a line break if the answer's line is unfinished."""
        if self._open:
            print(flush=True)
        self._open = False
        print(line, file=sys.stderr, flush=True)
