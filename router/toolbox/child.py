"""The process of an isolated tool set: it loads the file, sends a list of its tools, then runs one call after the other.

router/toolbox/isolated.py starts it and exchanges frames with it over one socket: four bytes with the length, then JSON.

    → {"name", "text", "path"}                  the file
    ← {"tools": [[name, description, schema]], "asking": [name]}  or {"misfit", "line", "column"} if it has none
    → {"asks", "arguments", "seconds"}          whether a user has to allow a call of one of the `asking`
    ← {"asks"}
    → {"tool", "arguments", "seconds"}          a call
    ← {"progress", "part"}                      each value that an async generator yields; the name of its data part, if it is one
    ← {"result", "is_error"}                    or {"failed", "at"}: the type of the exception, and its place

It inherits nothing else: no other variable than those named, no open file. It ends when the socket does.
"""

import asyncio
import inspect
import json
import signal
import socket
import struct
from io import BufferedReader
from pathlib import Path
from typing import Any

from router.chat import Json
from router.errors import Misfit, ToolError
from router.toolbox.functions import Report, Tool, as_result, called, load, raised_at, refuse_supplied

HEADER = struct.Struct(">I")
MAX_FRAME = 16 * 1024 * 1024
"""Maximum bytes of a frame to a child; the longest is that with the text of a file."""
GRACE = 5.0
"""Seconds after a call's time limit at which the process ends itself, in case its parent was killed and could not end it."""

Frame = dict[str, Any]


class Ended(Exception):
    """The error if the other end of the socket is closed, or sent bytes that are not a valid frame."""


def frame(value: Frame) -> bytes:
    """Return a frame as bytes: its length in four bytes, then JSON."""
    data = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
    return HEADER.pack(len(data)) + data


def received(stream: BufferedReader, most: int) -> Frame:
    """Wait for the next frame and return it. Raises TimeoutError after the socket's timeout, and as `size_of` and `understood` do."""
    size = size_of(stream.read(HEADER.size), most)
    data = stream.read(size)
    if len(data) < size:
        raise Ended
    return understood(data)


def size_of(header: bytes, most: int) -> int:
    """Return the length of a frame. Raises Ended if it is more than `most` bytes, or the header is incomplete."""
    if len(header) < HEADER.size or (size := HEADER.unpack(header)[0]) > most:
        raise Ended
    return size


def understood(data: bytes) -> Frame:
    """Return the JSON object in a frame's bytes. Raises Ended if they are not one."""
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError):
        raise Ended from None
    if not isinstance(found, dict):
        raise Ended
    return found  # pyright: ignore[reportUnknownVariableType]


def main(number: int) -> None:
    """Load the file that the parent sends (or send its mistake), then run the calls that it sends, until the socket is closed."""
    with socket.socket(fileno=number) as line, line.makefile("rb") as stream, asyncio.Runner() as runner:
        try:
            source = received(stream, MAX_FRAME)
            try:
                made = load(source["name"], source["text"], Path(source["path"]), "isolated")
                refuse_supplied(made.tools, source["text"], f"tools/{source['name']}.py")
            except Misfit as misfit:
                place = misfit.place
                line.sendall(frame({"misfit": misfit.message, "line": place.line if place else 1, "column": place.column if place else 1}))
                return
            listed = [[tool.spec.name, tool.spec.description, tool.spec.parameters] for tool in made.tools]
            asking = [tool.spec.name for tool in made.tools if tool.condition is not None]
            line.sendall(frame({"tools": listed, "asking": asking}))
            tools = {tool.spec.name: tool for tool in made.tools}

            async def report(value: Json, part: str) -> None:
                line.sendall(frame({"progress": value, "part": part}))

            while True:
                asked = received(stream, MAX_FRAME)
                signal.setitimer(signal.ITIMER_REAL, asked["seconds"] + GRACE)
                if (name := asked.get("asks")) is not None:
                    said = {"asks": asks(tools[name], asked["arguments"])}
                else:
                    said = _outcome(tools[asked["tool"]], asked["arguments"], runner, report)
                signal.setitimer(signal.ITIMER_REAL, 0)
                line.sendall(frame(said))
        except (Ended, ConnectionError):
            return


def asks(tool: Tool, given: Json) -> bool:
    """Return whether the user has to allow a call with these arguments; False if they do not fit, because it is refused anyway."""
    try:
        return tool.asks(tool.parameters.read(json.dumps(given, ensure_ascii=False)))
    except Misfit:
        return False


def _outcome(tool: Tool, given: Json, runner: asyncio.Runner, report: Report) -> Frame:
    """Run a call, and return a frame: {result, is_error}, or {failed, at} with the type and place of an exception. Raises nothing."""
    try:
        values = tool.parameters.read(json.dumps(given, ensure_ascii=False))
        runs_here = not (inspect.iscoroutinefunction(tool.function) or inspect.isasyncgenfunction(tool.function))
        made = tool.function(**values) if runs_here else runner.run(called(tool.function, values, report))
        value, is_error = as_result(made, is_error=False)
    except Misfit as misfit:
        value, is_error = f"Invalid arguments: {misfit.message}", True
    except ToolError as error:
        value, is_error = as_result(error.public, is_error=True)
    except BaseException as error:  # noqa: BLE001 - also exceptions made to get past `except Exception`: only this call ends
        return {"failed": type(error).__name__, "at": raised_at(error)}
    return {"result": value, "is_error": is_error}
