"""Logs: one JSON object per line. What users and providers wrote never goes in."""

import json
import logging
import sys
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

from router.errors import Attempt
from router.events import Event, Failure, Finish, Start, Text, Thought, ToolCall, Usage

access = logging.getLogger("router.access")
problems = logging.getLogger("router.problems")


_dumps = json.JSONEncoder(ensure_ascii=True, default=str).encode  # json.dumps would make an encoder for each line


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class JsonLines(logging.Formatter):
    """A record as one line of JSON. Line breaks and escape sequences in values cannot forge another line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        made: dict[str, object] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        made.update(cast("dict[str, object]", getattr(record, "fields", {})))
        if record.exc_info and record.exc_info[1]:
            made["error"], made["at"] = traced(record.exc_info[1])
        return _dumps(made)


def traced(error: BaseException) -> tuple[str, list[str]]:
    """An exception's type and the places it passed, without what it says: a provider's words may be in that."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return type(error).__name__, places[-12:]


def to_stderr() -> None:
    """Everything this process logs goes to stderr, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    # No line says them, and finding them out for each would be a third of its cost.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("httpx", "httpcore", "openai", "LiteLLM", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


@dataclass(slots=True)
class Entry:
    """What the log will say of one request: categories, counts and times, no words of anybody."""

    request_id: str
    generation: str
    began: float = field(default_factory=time.monotonic)
    route: str = ""
    stream: bool | None = None
    """None where the body was refused before that was known."""
    status: int = 0
    outcome: str = ""
    """The finish reason, or the code of what went wrong, or `client_left`."""
    target: str = ""
    steps: int = 0
    tools: list[str] = field(default_factory=list[str])
    attempts: tuple[Attempt, ...] = ()
    usage: Usage | None = None
    first: float | None = None

    def see(self, event: Event) -> None:
        """Note what matters of an event."""
        match event:
            case Text() | Thought():
                if self.first is None:
                    self.first = time.monotonic()
            case Start(target, _, attempts, used):
                self.target = target
                self.steps += 1
                self.attempts = attempts
                if used is not None:
                    self.usage = used + (self.usage or Usage())
            case ToolCall(_, name):
                self.tools.append(name)
            case Finish(reason, usage, attempts):
                self.outcome, self.usage, self.attempts = reason, usage or self.usage, attempts
                if attempts:
                    self.target = attempts[-1].target  # another may have gone on where the one that began broke off
            case Failure(code, _, attempts):
                self.outcome, self.attempts = code, attempts or self.attempts
            case _:
                pass

    def write(self) -> None:
        """The one line."""
        now = time.monotonic()
        fields: dict[str, object] = {
            "request_id": self.request_id,
            "generation": self.generation,
            "route": self.route,
            "stream": self.stream,
            "status": self.status,
            "outcome": self.outcome,
            "target": self.target,
            "steps": self.steps,
            "tools": self.tools,
            "attempts": [{"target": one.target, "outcome": one.outcome, "seconds": one.seconds} for one in self.attempts],
            "input_tokens": self.usage.input_tokens if self.usage else None,
            "output_tokens": self.usage.output_tokens if self.usage else None,
            "first_token_seconds": round(self.first - self.began, 4) if self.first else None,
            "seconds": round(now - self.began, 4),
        }
        access.info("request", extra={"fields": fields})
