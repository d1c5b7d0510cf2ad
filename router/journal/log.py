"""Logs as one JSON object per line. Text of users and providers is never logged."""

import logging
import sys
import threading
import time
from functools import lru_cache
from traceback import walk_tb
from typing import TextIO

from router.failover import RefusalChange
from router.journal.entry import Entry, problems, rounded
from router.journal.fields import OwnFields, SharedFields
from router.jsontext import ascii_quoted, plainly, writer
from router.value import asdict

access = logging.getLogger("router.access")
targets = logging.getLogger("router.targets")
OURS = frozenset({"router", "uvicorn"})
"""Loggers whose messages are written. Messages of libraries may contain a provider's text: only their place in the code is written."""
REQUEST = '"level": "info", "logger": "router.access", "event": "request"'
"""The fields after the time that all lines of requests share."""
_dumps = writer(str)


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _stamp(seconds: int, milliseconds: int) -> str:
    return f"{_second(seconds)}.{str(1000 + milliseconds)[1:]}Z"  # a format such as `:03` takes five times as long


class JsonLines(logging.Formatter):
    """A formatter that writes a record as one line of JSON. Line breaks and escape sequences in values cannot forge another line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a log record as a line of JSON. For a library's record `event` is the place in its code, not the message."""
        made: dict[str, object] = {
            "time": _stamp(int(record.created), int(record.msecs)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage() if record.name.partition(".")[0] in OURS else f"at {record.module}:{record.lineno}",
        }
        made.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1]:
            made["error"], made["at"] = traced(record.exc_info[1])
        return _dumps(made)


class Lines(logging.StreamHandler[TextIO]):
    """Log handler that writes each record to a stream at once, as a line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.setFormatter(JsonLines())

    def flush(self) -> None:
        """Flush the stream. logging's own takes the lock a second time, which `emit` has."""
        self.stream.flush()


def traced(error: BaseException) -> tuple[str, list[str]]:
    """Return (name of the exception's type, the last 12 places of its traceback as `file:line function`, the innermost last).
    Its message is left out: it may have a provider's words.
    """
    codes = ((frame.f_code, number) for frame, number in walk_tb(error.__traceback__))
    places = [f"{code.co_filename.rpartition('/')[2]}:{number} {code.co_name}" for code, number in codes]
    return type(error).__name__, places[-12:]


def to_stderr() -> None:
    """Send this process's logs to stderr as JSON from INFO on (some libraries' from WARNING on), warnings and uncaught errors too."""
    # No line says them, and finding them out for each would be a third of its cost.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.INFO, handlers=[Lines(sys.stderr)], force=True)
    for name in ("httpx", "httpcore", "openai", "LiteLLM", "asyncio", "watchfiles", "mcp", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda _, error, __: problems.critical("the process ends", exc_info=error)
    sys.unraisablehook = lambda caught: problems.error("an error nobody could raise", exc_info=caught.exc_value)
    threading.excepthook = lambda caught: problems.error("a thread ends", exc_info=caught.exc_value)


def line(entry: Entry) -> None:
    """Log a finished request as one line."""
    if not access.isEnabledFor(logging.INFO):
        return
    lines = _lines_alone()
    if lines is None:
        record = logging.LogRecord(access.name, logging.INFO, "", 0, "request", (), None)  # no line says from where: it is not looked for
        record.fields = entry.explained()
        access.handle(record)
        return
    # The same line without a record, which would take 16 calls more.
    now = time.time()
    stamp = _stamp(int(now), int(now % 1 * 1000))
    # An end user's name, and a reason, which may name a stranger's header, are not kept in memory for other lines.
    shared = _shared.__wrapped__(entry.shared()) if entry.user or entry.reason else _shared(entry.shared())
    made = f'"request_id": {ascii_quoted(entry.request_id)}, {shared}, {_written(entry.own())[1:]}'
    with lines.lock:  # type: ignore[union-attr]
        lines.stream.write(f'{{"time": "{stamp}", {REQUEST}, {made}\n')
        lines.stream.flush()


@lru_cache(maxsize=256)
def _shared(fields: SharedFields) -> str:
    """Return these fields as JSON without its braces."""
    return _written(fields)[1:-1]


def _written(fields: SharedFields | OwnFields) -> str:
    return plainly(fields) or _dumps(asdict(fields))


def _lines_alone() -> Lines | None:
    """Return the Lines to which requests are logged; None if they go to other handlers too, or are filtered."""
    alone: logging.Handler | None = None
    logger: logging.Logger | None = access
    while logger is not None:
        for handler in logger.handlers:
            if alone is not None:
                return None
            alone = handler
        logger = logger.parent if logger.propagate else None
    return alone if type(alone) is Lines and not alone.filters and not access.filters else None


def turned(turn: RefusalChange) -> None:
    """Log that a target begins to refuse every question, changes the reason, or answers again; `since` is when the refusals began."""
    event = "target refuses every question" if turn.refuses else "target answers again"
    since = time.time() - turn.lasted
    fields = {"target": turn.target, "reason": turn.refusal.reason, "since": f"{_second(int(since))}Z", "seconds": rounded(turn.lasted)}
    targets.warning(event, extra={"fields": fields})
