"""The way to the next generation: files are followed, an edit is built beside the loop and swapped in."""

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Self

import watchfiles

from router.config import EnvFile, Watched, keep_live, load_live, read, reloads, secrets, watched
from router.config.declaration import Declaration
from router.errors import Complaint, ConfigError, Place
from router.generation import Generation
from router.reload.edits import FailedEdit, FileContents, PendingEdit, edit_built, pending_edit, rebuilt
from router.reload.live import Live
from router.threads import in_thread
from router.value import Value

log = logging.getLogger("router.reload")
THREAD = "reload"


class ReloadTiming(Value, frozen=True):
    """Waits and time limits of a reload, in seconds."""

    check: float = 2.0
    """Time after which files are read without a hint, if edits go live by themselves: a watch may miss one, as on a network's disk."""
    settle: float = 0.05
    """Time without a change before an edit is read: editors write a file in pieces."""
    max_settle: float = 1.0
    """Time after which an edit is read although the files still change."""
    build: float = 45.0
    """Time after which building an edit fails. Some builds import LiteLLM; a tool file may hang when it is loaded."""


class Listeners(Value, frozen=True):
    """Functions that are called when the serving configuration changes or an edit fails.

    swapped: for each configuration that went live, a return to the previous one included
    failed: for each edit that cannot be served; not again for the same complaints
    """

    swapped: Callable[[], None] = lambda: None
    failed: Callable[[], None] = lambda: None


class Reload:
    """Follows the configuration files while entered, and serves an edit: by itself if so configured, else on SIGHUP or `refresh`.

    failed: the newest edit if it cannot be served; None otherwise
    timing: may be replaced while files are followed
    """

    def __init__(
        self, live: Live, routes: Path, host: str = "127.0.0.1", listeners: Listeners = Listeners(), timing: ReloadTiming = ReloadTiming()
    ) -> None:
        self._live = live
        self.timing = timing
        self._listeners = listeners
        self._routes = routes.absolute()
        self._host = host
        self._hint = asyncio.Event()
        self._watched: Watched | None = None
        self._moved = asyncio.Event()
        """Set when the paths to watch have changed: the watch starts anew."""
        self._wanted = False
        """True from a request by SIGHUP until the files are read: they are read even if edits do not go live by themselves."""
        self._one = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        served = live.generation.declaration
        self._tried: FileContents | None = FileContents(served.snapshot, served.secrets)
        """The content that was tried last, served or not; None to try the present content again."""
        self._secrets = tuple(served.secrets)
        self._digest: str | None = served.digest
        """The digest of the content that was tried last; None if it could not be read, or not be built in time."""
        self.failed: FailedEdit | None = None
        self.swaps = 0
        """Edits that went live, returns to the previous configuration included."""
        self.failures = 0
        """Edits that could not go live; one that fails again in the same way is counted once."""
        self.previous: Declaration | None = None
        """The configuration that served before the newest swap; None before the first one."""
        self._returned = False
        """True after `go_back`, until the configuration on disk serves again."""

    async def __aenter__(self) -> Self:
        _log_env_file(self._live.generation.declaration.env_file)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._watch())]
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread, or no such signal
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_sighup)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # a signal that came while the process started is delivered now
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Watch the files while edits go live by themselves, and set the hint event at each change.

        The watch starts anew when other paths have to be watched.
        """
        watch: Any = watchfiles
        options = {"debounce": 50, "step": 25, "stop_event": self._moved, "recursive": False, "ignore_permission_denied": True}
        while True:
            self._moved.clear()
            self._watched = wanted = await in_thread(self._to_watch, THREAD)
            self._hint.set()  # for edits made before
            if wanted is None:
                await self._moved.wait()
                continue
            hints = watch.awatch(*wanted.paths, watch_filter=wanted.counts, **options)
            try:
                async with aclosing(hints):
                    async for changes in hints:
                        self._hint.set()
                        if any(path in wanted.paths for _, path in changes):
                            break  # a file made again is another file, even with the same name and number
            except (OSError, RuntimeError):  # it has just gone, or the system watches no more: the files are still read
                await self._moved.wait()

    def _to_watch(self) -> Watched | None:
        """Return what is to be watched; None while nobody follows: each file written beside routes.yaml, such as a log, would cost a turn."""
        return watched(self._routes, [self._routes.parent / path for path in self._secrets]) if self._follows else None

    @property
    def _follows(self) -> bool:
        """True if the serving configuration says that edits go live by themselves."""
        return reloads(self._live.generation.declaration)

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.timing.check if self._follows else None):
                    await self._hint.wait()
            self._hint.clear()
            try:
                async with self._one:
                    if self._wanted or self._follows:
                        self._wanted = False
                        await self._refresh()
                if await in_thread(self._to_watch, THREAD) != self._watched:
                    self._moved.set()
            except Exception as error:  # noqa: BLE001 - whatever this edit did, the next one must be seen
                self._tried = None
                log.warning("not reloaded", extra={"fields": {"error": type(error).__name__}})

    def _on_sighup(self) -> None:
        """Request a reload, on SIGHUP, and return at once. A failed edit is tried again: what it lacked may be there by now."""
        if self.failed is not None or self._returned:
            self._tried = None
        self._wanted = True
        self._hint.set()

    async def refresh(self) -> None:
        """Read the files, serve them if they changed, and wait for that. An edit that cannot be served raises nothing: see `failed`.

        Unchanged files are tried again only after a failure, or while a previous configuration serves. A reload outlives its caller.
        """
        if self.failed is not None or self._returned:
            self._tried = None

        async def alone() -> None:
            async with self._one:
                await self._refresh()

        looking = asyncio.create_task(alone())
        looking.add_done_callback(lambda task: task.cancelled() or task.exception())  # asyncio would report it if the caller has left
        await asyncio.shield(looking)

    async def _refresh(self) -> None:
        content = await self._settled_content()
        if content == self._tried:
            return
        self._tried, self._digest = content, None
        try:
            generation = await self._build(content)
        except ConfigError as error:
            before, self.failed = self.failed, FailedEdit(error, self._digest, time.time())
            if before is None or before.digest != self._digest or before.error.complaints != error.complaints:  # else it was reported
                self.failures += 1
                self._listeners.failed()
                complaints = [str(complaint) for complaint in error.complaints]
                log.warning("not reloaded", extra={"fields": {"generation": self._live.generation.digest, "complaints": complaints}})
            return
        self.failed, self._returned = None, False
        if generation is not None:
            await self._swap(generation)

    async def _swap(self, generation: Generation) -> None:
        self.previous = self._live.generation.declaration
        before = self.previous.env_file
        self.swaps += 1
        self._listeners.swapped()
        self._live.swap(generation)
        generation.start()
        self._hint.set()  # from now on the files are read as this generation declares
        log.info("reloaded", extra={"fields": {"generation": generation.digest, "skipped": dict(generation.skipped)}})
        if (now := generation.declaration.env_file) != before:
            _log_env_file(now)
        await in_thread(partial(keep_live, generation.declaration), THREAD)

    async def go_back(self, digest: str) -> bool:
        """Serve the previous configuration again if it has this digest. Return whether this digest serves now.

        A worker that has not seen the swap takes the configuration from the shared folder. The files stay as they are, and go live with the
        next edit or on request. Raises ConfigError if it cannot be served any more.
        """
        async with self._one:
            now, before = self._live.generation, self.previous
            if now.digest == digest:
                return True
            if before is None or before.digest != digest:
                # This worker took another's place since the edit: the worker that went back first has left the configuration that serves.
                before = await in_thread(lambda: load_live(self._routes, self._host), THREAD)
                if before.digest != digest:
                    return False
            generation = await in_thread(lambda: rebuilt(before, now, self._host), THREAD)
            self._returned = True
            await self._swap(generation)
            return True

    async def pending(self) -> PendingEdit:
        """Return how the files on disk differ from the serving configuration. They are read and declared, neither built nor served."""
        now = self._live.generation
        return await in_thread(lambda: pending_edit(self._routes, now, self._host), THREAD)

    async def _build(self, content: FileContents) -> Generation | None:
        """Return the generation of this content, built in a thread; None if it serves already. Raises ConfigError, also for a late one."""
        late, seconds = threading.Event(), self.timing.build
        now = self._live.generation

        def made() -> tuple[Declaration | None, Generation | ConfigError | None]:
            declaration, outcome = edit_built(content, now, self._host)
            if isinstance(outcome, Generation) and late.is_set():
                outcome.discard()
            return declaration, outcome

        try:
            async with asyncio.timeout(seconds):
                declaration, outcome = await in_thread(made, THREAD)
        except TimeoutError:
            late.set()
            words = f"the configuration takes longer than {seconds:g} s to build: does a file in tools/ wait for something when it is run?"
            raise ConfigError((Complaint(Place(self._routes.name, 1, 1), words),)) from None
        if declaration is not None:
            self._digest, self._secrets = declaration.digest, tuple(declaration.secrets)
            self._tried = FileContents(content.snapshot, declaration.secrets)
        if isinstance(outcome, ConfigError):
            raise outcome
        return outcome

    async def _settled_content(self) -> FileContents:
        """Return the content of the files: that tried last at once, else once it stops changing or `timing.max_settle` seconds are over."""
        until = asyncio.get_running_loop().time() + self.timing.max_settle
        content = await in_thread(self._content, THREAD)
        while content != self._tried and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(self.timing.settle)
            before, content = content, await in_thread(self._content, THREAD)
            if content == before:
                break
        return content

    def _content(self) -> FileContents:
        known = secrets(self._routes.parent, self._secrets)
        try:
            return FileContents(read(self._routes), known)
        except ConfigError as error:
            return FileContents(None, known, error.complaints)


def _log_env_file(env_file: EnvFile) -> None:
    """Log the names, never the values, of the variables that come from `.env`, and the warnings about that file."""
    if env_file.names:
        log.info("variables come from .env", extra={"fields": {"names": list(env_file.names)}})
    if env_file.warnings:
        log.warning(".env is not as it should be", extra={"fields": {"warnings": [str(one) for one in env_file.warnings]}})
