"""The command line: router serve | check | show | schema | chat."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from router import __version__
from router.chat import Ask, Message
from router.config import ROUTES_VARIABLE, load
from router.config.declaration import Member, named
from router.config.schema import routes_schema
from router.config.values import Name
from router.errors import ConfigError, RouterError, TimedOut
from router.events import Failure, Finish, Text, Thought, ToolCall, ToolResult
from router.generation import Compiled, Generation, build
from router.targets import close_lanes

if TYPE_CHECKING:
    import uvicorn

EXAMPLES = """examples:
  router serve --port 8000            serve ./routes.yaml on http://127.0.0.1:8000
  router check                        every mistake in ./routes.yaml, pipelines/ and tools/; exit code 1 if there is one
  router show chat-model              what a request to chat-model goes through
  router schema > routes.schema.json  the JSON schema that editors complete and check routes.yaml with
  router chat chat-model "Hello"      ask from the terminal

exit codes: 0 all is well, 1 the configuration is wrong or the answer failed, 2 the command line is wrong
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except ConfigError as error:
        for complaint in error.complaints:
            print(complaint, file=sys.stderr)
        count = len(error.complaints)
        print(f"\n{count} mistake{'s' if count > 1 else ''} in the configuration.", file=sys.stderr)
        return 1
    except RouterError as error:
        print(f"error: {error.public} [{error.code}]", file=sys.stderr)
        for attempt in error.attempts:
            print(f"  {attempt.target}: {attempt.outcome} after {attempt.seconds:.2f} s", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone (`router chat … | head -1`): nothing is left to say, not at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    root = argparse.ArgumentParser("router", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    root.description = "The router behind a chat UI: routes.yaml says which model answers for each model id."
    root.add_argument("--version", action="version", version=f"pointsman {__version__}")
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=words, description=words)
        made.set_defaults(run=run)
        if name != "schema":
            made.add_argument("--routes", type=Path, default=Path("routes.yaml"), metavar="FILE", help="default: ./routes.yaml")
        return made

    serve = command("serve", _serve, "Serve the routes over HTTP.")
    serve.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    serve.add_argument("--port", type=int, default=8000, help="default: 8000")
    serve.add_argument("--workers", type=int, default=1, help="processes; default: 1")
    command("check", _check, "Find every mistake in the configuration. Takes the same path as serving; asks no provider.")
    show = command("show", _show, "Show what a request to a route goes through.")
    show.add_argument("route", help="a route's id or alias")
    command("schema", _schema, "Print the JSON schema of routes.yaml.")
    chat = command("chat", _chat, "Ask a route from the terminal.")
    chat.add_argument("route", help="a route's id or alias")
    chat.add_argument("text", help="what to ask")
    return root


def _serve(options: argparse.Namespace) -> int:
    generation = build(load(options.routes))
    # Imported here: they take longer than all other commands run.
    import uvicorn  # noqa: PLC0415

    from router.server import application, steady, to_stderr  # noqa: PLC0415

    _announce(generation, options)
    to_stderr()
    os.environ[ROUTES_VARIABLE] = str(options.routes.absolute())
    many = options.workers > 1
    config = uvicorn.Config(
        "router.server:create" if many else application(generation, options.routes),
        factory=many,
        host=options.host,
        port=options.port,
        workers=options.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=30,
        timeout_keep_alive=75,
    )
    if many:
        return _run_workers(config)
    steady()
    return _run_alone(config)


def _run_alone(config: "uvicorn.Config") -> int:
    import uvicorn  # noqa: PLC0415

    server = uvicorn.Server(config)
    # uvicorn ends its streams on SIGTERM and then raises the signal again: to have been stopped is no failure.
    signal.signal(signal.SIGTERM, _end)
    try:
        server.run()
    except SystemExit as ended:  # uvicorn's own number for a port that is taken is 3
        return 1 if ended.code else 0
    return 0 if server.started else 1


def _end(*_: object) -> None:
    sys.exit(0)


def _run_workers(config: "uvicorn.Config") -> int:
    from uvicorn.supervisors import Multiprocess  # noqa: PLC0415

    Multiprocess(config, sockets=[config.bind_socket()]).run()
    return 0


def _announce(generation: Generation, options: argparse.Namespace) -> None:
    """Say what is served, and what is not and why: to people. Machines read the log and /readyz."""
    said = [f"Pointsman {__version__}: {_counted(generation)}, generation {generation.digest}"]
    said += [f"  skipped: target {name}: {why}" for name, why in generation.skipped.items()]
    said.append(f"  http://{options.host}:{options.port}/api/chat  (documentation: /docs)")
    print("\n".join(said), file=sys.stderr)


def _counted(generation: Generation) -> str:
    count = len(generation.routes)
    return f"{count} route{'' if count == 1 else 's'}"


def _check(options: argparse.Namespace) -> int:
    generation = build(load(options.routes))
    asyncio.run(generation.close())
    for name, why in generation.skipped.items():
        print(f"skipped: target {name}: {why}")
    print(f"{options.routes}: all is well. {_counted(generation)}, generation {generation.digest}.")
    return 0


def _show(options: argparse.Namespace) -> int:
    generation = build(load(options.routes))
    route = generation.route(options.route)
    print("\n".join(_shown(route, generation)))
    asyncio.run(generation.close())
    return 0


def _shown(route: Compiled, generation: Generation) -> list[str]:
    declared = route.declared
    aliases = [alias for alias, name in generation.aliases.items() if name == route.name]
    shown = [f"{route.name}" + (f"  (also {', '.join(aliases)})" if aliases else "") + f"   generation {generation.digest}"]
    shown.append(f"  pipeline   {declared.pipeline}: {' → '.join(route.steps)}")
    if route.tools:
        shown.append(f"  tools      {', '.join(tool.spec.name for tool in route.tools)}; at most {declared.max_steps} model calls")
    shown.append(f"  reasoning  {declared.reasoning}")
    timeout, retry = declared.timeout, declared.retry
    waits = f"connect {timeout.connect:g} s, first token {timeout.first_token:g} s, idle {timeout.idle:g} s"
    shown.append(f"  timeout    {waits}, tool {timeout.tool:g} s, total {timeout.total:g} s")
    shown.append(f"  retry      {retry.attempts} attempts, {retry.backoff.least:g} to {retry.backoff.most:g} s apart")
    if declared.hedge:
        after = f"{declared.hedge.after:g} s" if declared.hedge.after else "a time learned from its answers"
        shown.append(f"  hedge      the next target too after {after}; for {declared.hedge.at_most:.3g} of the questions at most")
    shown.append("  targets, in order: the first that starts to speak")
    for count, pool in enumerate(declared.pools, 1):
        if len(pool) > 1:
            shown.append(f"    {count}. one of these, {_sharing(pool, declared.balance)}:")
        shown += [_target(one, route, generation, "       -" if len(pool) > 1 else f"    {count}.") for one in pool]
    return shown


def _target(one: Name | Member, route: Compiled, generation: Generation, bullet: str) -> str:
    name = named(one)
    target = next((target for target in route.targets if target.name == name), None)
    words = f"{target.model} through {_LANES[target.lane]}" if target else f"skipped: {generation.skipped[name]}"
    window = f", reads {target.window} tokens" if target and target.window and target.lane != "script" else ""
    weight = f" (weight {one.weight:g})" if isinstance(one, Member) else ""
    return f"{bullet} {name}{weight}: {words}{window}"


def _sharing(pool: Sequence[Name | Member], balance: str) -> str:
    if any(isinstance(one, Member) for one in pool):
        return "by their weights"
    return {"least_busy": "the least busy one first", "latency": "the one that starts soonest first"}[balance]


_LANES = {
    "anthropic": "its own wire, read directly",
    "openai": "its own wire, read directly",
    "litellm": "LiteLLM",
    "script": "a script, offline",
}


def _schema(_: argparse.Namespace) -> int:
    print(json.dumps(routes_schema(), indent=2, ensure_ascii=False))
    return 0


def _chat(options: argparse.Namespace) -> int:
    generation = build(load(options.routes))
    return asyncio.run(_conversation(generation, options.route, options.text))


async def _conversation(generation: Generation, model: str, text: str) -> int:
    route = generation.route(model)
    ask = Ask(model=route.name, messages=(Message("user", (text,)),))
    terminal = _Terminal()
    try:
        async with asyncio.timeout(route.declared.timeout.total), aclosing(route.answer(ask)) as events:
            async for event in events:
                match event:
                    case Text(piece) | Thought(piece):
                        terminal.say(piece, faint=isinstance(event, Thought))
                    case ToolCall(_, name, arguments):
                        terminal.note(f"→ {name}({json.dumps(dict(arguments), ensure_ascii=False)})")
                    case ToolResult(_, name, result):
                        terminal.note(f"← {name}: {result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)}")
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
    finally:
        await generation.close()
        await generation.kept.connections.close()
        await close_lanes()
    return 0


@dataclass(slots=True)
class _Terminal:
    """The answer on stdout, all that is about it on stderr."""

    _open: bool = False

    def say(self, piece: str, *, faint: bool) -> None:
        """A piece of the answer; thoughts in faint letters, and not among what a pipe gets."""
        out = sys.stderr if faint else sys.stdout
        print(f"\033[2m{piece}\033[0m" if faint and out.isatty() else piece, end="", flush=True, file=out)
        self._open = not piece.endswith("\n")

    def note(self, line: str) -> None:
        """A line about the answer."""
        if self._open:
            print(flush=True)
        self._open = False
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
