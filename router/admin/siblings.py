"""Questions between the workers of one server, over a Unix socket of each in a shared folder.

So a worker can report the state of all, and pass an operator's command on. Question and answer are one line of JSON each.
"""

import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from router.value import Value

log = logging.getLogger("router.server")
LONGEST = 4 * 1024 * 1024
"""Bytes of a question or an answer at most; a longer one counts as no answer."""

SiblingJson = dict[str, Any]
"""A question between workers, or its answer, as JSON."""


class SiblingTiming(Value, frozen=True):
    """Time limits of questions between workers, in seconds.

    answer: for an answer that needs no work
    rebuild: for one that needs a reload, which may import LiteLLM
    check: between two checks of the supervising process and of the shared folder
    """

    answer: float = 2.0
    rebuild: float = 60.0
    check: float = 1.0


class Siblings:
    """The other workers of this server, which can ask this one while the object is entered. `answer`: answers a question of theirs."""

    def __init__(
        self, folder: Path, answer: Callable[[SiblingJson], Awaitable[SiblingJson]], timing: SiblingTiming = SiblingTiming()
    ) -> None:
        self.timing = timing
        self._own = folder / f"{os.getpid()}.sock"
        self._answer = answer

    async def _watch(self) -> None:
        """Log once when the shared folder is gone. Once the supervising process is gone, end this worker by SIGTERM."""
        supervisor = multiprocessing.parent_process()
        lost = False
        while supervisor is None or os.getppid() == supervisor.pid:
            if not lost and not self._own.exists():
                lost = True
                fields = {
                    "folder": str(self._own.parent),
                    "remedy": "restart: the metrics, edits and commands of the workers are no longer shared",
                }
                log.error("the shared folder was removed", extra={"fields": fields})
            await asyncio.sleep(self.timing.check)
        signal.raise_signal(signal.SIGTERM)

    async def __aenter__(self) -> Self:
        self._own.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._asked, self._own, limit=LONGEST)
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._watching.cancel()
        self._own.unlink(missing_ok=True)
        self._server.close()

    async def ask(self, question: SiblingJson) -> list[SiblingJson]:
        """Ask the other workers, and return their answers, without those that do not come in time."""
        return [one for one in (await self.ask_each(question, self.timing.answer)).values() if one is not None]

    async def ask_each(self, question: SiblingJson, within: float) -> dict[int, SiblingJson | None]:
        """Ask the other workers. Return process id → answer; None for a worker that runs but does not answer within `within` seconds.

        Workers that have ended are left out, and their sockets removed.
        """
        others = {int(path.stem): path for path in sorted(self._own.parent.glob("*.sock")) if path != self._own}
        said = await asyncio.gather(*(_ask(path, question, within) for path in others.values()))
        heard: dict[int, SiblingJson | None] = {}
        for (process, path), one in zip(others.items(), said, strict=True):
            if one is not None or _runs(process):
                heard[process] = one
            else:
                path.unlink(missing_ok=True)  # it was killed, and could not do so itself
        return heard

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Where it comes to nothing, whoever asked does without.
        with contextlib.closing(writer), contextlib.suppress(TimeoutError, OSError, ValueError):
            async with asyncio.timeout(self.timing.answer):
                question = _question(await reader.readline())
            if question is not None:
                answer = await self._answer(question)  # how long that may take is for whoever asks to say
                async with asyncio.timeout(self.timing.answer):
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()


def _question(line: bytes) -> SiblingJson | None:
    """Return the JSON object in a line; None if the line holds no object."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("SiblingJson", found) if isinstance(found, dict) else None


def _runs(process: int) -> bool:
    """Return whether a process of this id runs."""
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


async def _ask(path: Path, question: SiblingJson, within: float) -> SiblingJson | None:
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST)
            try:
                writer.write(json.dumps(question).encode() + b"\n")
                return _question(await reader.readline())
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (TimeoutError, OSError, ValueError):
        return None
