"""A tool set in processes of its own: the router's event loop is not blocked by any call.
One process is started when the configuration is loaded, to read the file's tools from it. More are started for simultaneous calls.
Each runs one call at a time. A call that exceeds its time, or whose caller has left, is killed with its process. That also ends
code that computes in C and holds the interpreter's lock. The next call starts another process.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

from router.chat import Json, JsonObject, ToolSpec
from router.config.environment import passed_on
from router.errors import Misfit, Place
from router.threads import in_thread
from router.toolbox.child import HEADER, Ended, Frame, frame, received, size_of, understood
from router.toolbox.functions import FAILED, MAX_RESULT, Report, unreported
from router.value import Value

log = logging.getLogger("router.tools")

LOADING_S = 20.0
"""Seconds in which a process must have started and loaded its file."""
MAX_PROCESSES = 4
"""Processes of one tool set; a call that finds all of them busy waits, within its time."""
MAX_FRAME = 8 * MAX_RESULT
"""Maximum bytes of a frame from a process: a result, each character of which may be an escape; or its tools."""
BOOT = "import sys; sys.path[:] = sys.argv[2:]; from router.toolbox.child import main; main(int(sys.argv[1]))"


class ProcessSource(Value, frozen=True):
    """The file and the environment (beside the usual variables) for the processes of one isolated tool set. `loading`: see LOADING_S."""

    name: str
    text: str
    path: Path
    env: Mapping[str, str]
    loading: float = LOADING_S


class IsolatedTool(Value, frozen=True):
    """A function of a tool set in processes of its own. `asking`: true if it has a condition for the approval of calls."""

    spec: ToolSpec
    processes: "ToolProcesses"
    asking: bool = False


class ToolProcesses:
    """The tools of one isolated file, and the processes that run their calls. Made on any thread, used on one event loop.
    The constructor blocks until a process has loaded the file. Misfit if the file has no tool set or takes too long to load.
    """

    def __init__(self, source: ProcessSource) -> None:
        self.name = source.name
        self._source = source
        self._places = asyncio.Semaphore(MAX_PROCESSES)
        self._closed = False
        first = _Process(source)
        self._idle = [first]
        self.tools = tuple(IsolatedTool(spec, self, spec.name in first.asking) for spec in first.specs)

    async def call(self, name: str, given: JsonObject, seconds: float, report: Report) -> tuple[Json, bool]:
        """Run a call in a process, and return (its result, true if that is an error). The process is killed if the call is cancelled.
        An exception of the tool, and the end of its process, are logged, and give an error as the result.
        seconds: the time limit; a few seconds after it the process ends itself, so the caller has to cancel the call in time
        """
        said = await self._exchange(name, {"tool": name, "arguments": given, "seconds": seconds}, report)
        match said:
            case {"result": result, "is_error": bool(is_error)}:
                return cast("Json", result), is_error
            case {"failed": str(error), "at": str(at)}:
                log.warning("tool failed", extra={"fields": {"tool": name, "error": error, "at": at}})
            case None:
                pass  # the end of its process is logged
            case _:
                log.warning("tool failed", extra={"fields": {"tool": name, "error": "Ended", "at": "its process said something else"}})
        return FAILED, True

    async def asks(self, name: str, given: JsonObject, seconds: float) -> bool:
        """Return whether the user has to allow a call, by the tool's own condition; True if the process does not answer."""
        said = await self._exchange(name, {"asks": name, "arguments": given, "seconds": seconds}, unreported)
        return said is None or said.get("asks") is not False

    async def _exchange(self, name: str, question: Frame, report: Report) -> Frame | None:
        """Send a frame to an idle or a new process, and return the frame that answers it; None if the process ended, which is logged."""
        async with self._places:
            try:
                process = self._idle.pop() if self._idle else await self._started()
                try:
                    said = await process.ask(question, report)
                except BaseException:
                    process.kill()
                    raise
            except (Ended, OSError, Misfit) as error:
                log.warning("tool failed", extra={"fields": {"tool": name, "error": type(error).__name__, "at": "its process ended"}})
                return None
            self._keep(process)
        return said

    async def _started(self) -> "_Process":
        """Start another process and return it. If this is cancelled meanwhile, the process is kept for the next call."""
        starting = asyncio.ensure_future(in_thread(partial(_Process, self._source), "tool process"))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._keep_unwanted)
            raise

    def _keep_unwanted(self, starting: "asyncio.Future[_Process]") -> None:
        if not starting.cancelled() and starting.exception() is None:
            self._keep(starting.result())

    def _keep(self, process: "_Process") -> None:
        if self._closed or len(self._idle) >= MAX_PROCESSES:
            process.kill()
        else:
            self._idle.append(process)

    def close(self) -> None:
        """Kill the idle processes now, and busy ones after their call. Returns at once."""
        self._closed = True
        while self._idle:
            self._idle.pop().kill()


class _Process:
    """A process that has loaded its file, and the socket to it. Creating one blocks for 0.1 s, or `loading` seconds at most."""

    def __init__(self, source: ProcessSource) -> None:
        ours, theirs = socket.socketpair()
        self._line = ours
        with theirs:
            words = [sys.executable, "-I", "-c", BOOT, str(theirs.fileno()), *(path or str(Path.cwd()) for path in sys.path)]
            self._popen = subprocess.Popen(  # noqa: S603 - this Python, and the operator's own code
                words,
                pass_fds=(theirs.fileno(),),
                env={**passed_on(), **source.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # its output beside its answers is not ours to show
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # its own child processes end with it
            )
        try:
            self.specs, self.asking = self._loaded(source)
        except BaseException:
            self.kill()
            raise

    def _loaded(self, source: ProcessSource) -> tuple[tuple[ToolSpec, ...], frozenset[str]]:
        """Have the process load the file; return (its tools, names of those with a condition). Misfit for a mistake or after `loading`."""
        place = Place(f"tools/{source.name}.py", 1, 1)
        self._line.settimeout(source.loading)
        try:
            self._line.sendall(frame({"name": source.name, "text": source.text, "path": str(source.path)}))
            with self._line.makefile("rb") as stream:
                said = received(stream, MAX_FRAME)
        except TimeoutError:
            raise Misfit(f"this file takes longer than {source.loading:g} s to load, in a process of its own", place=place) from None
        except (OSError, Ended):
            raise Misfit("the process of this file ended while it was loaded", place=place) from None
        self._line.setblocking(False)  # noqa: FBT003 - the standard library's own
        match said:
            case {"misfit": str(message), "line": int(line), "column": int(column)}:
                raise Misfit(message, place=Place(place.file, line, column))
            case {"tools": [*listed], "asking": [*asking]}:
                tools = cast("list[tuple[str, str, JsonObject]]", listed)
                return tuple(ToolSpec(*tool) for tool in tools), frozenset(cast("list[str]", asking))
            case _:
                raise Misfit("the process of this file says something else than its tools", place=place)

    async def ask(self, question: Frame, report: Report) -> Frame:
        """Send a frame, report the progress that comes back, and return the answer. Raises Ended or OSError if the process ended."""
        await asyncio.get_running_loop().sock_sendall(self._line, frame(question))
        while True:
            size = size_of(await self._exactly(HEADER.size), MAX_FRAME)
            said = understood(await self._exactly(size))
            if "progress" not in said:
                return said
            await report(said["progress"], str(said.get("part", "")))

    async def _exactly(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        found = bytearray()
        while len(found) < size:
            piece = await loop.sock_recv(self._line, min(size - len(found), 1 << 16))
            if not piece:
                raise Ended
            found += piece
        return bytes(found)

    def kill(self) -> None:
        """Kill the process and its process group at once (SIGKILL), and close the connection to it. Its end is not awaited here."""
        self._line.close()
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        threading.Thread(target=self._popen.wait, daemon=True, name="tool process").start()
