"""tools/*.py → what a model may call: a file is a tool set, each public function in it a tool.

A tool's schema is its signature, its description its docstring. `async def` runs on the loop, `def` in a thread of
its own (a daemon: one that hangs holds up neither the answer nor the end of the process).
"""

import inspect
import json
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import cast

from router.chat import Json, JsonObject, ToolSpec, whole
from router.errors import Misfit, Place, ToolError
from router.signature import Record, record_of, schema
from router.threads import in_thread

MAX_RESULT = 256 * 1024
"""Characters of one result, as JSON. A longer text is cut and says so; anything else becomes an error."""
FAILED = "The tool failed."
MAX_THREADS = 64
"""Threads that tools may hold at once, hung ones included."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function a model may call."""

    spec: ToolSpec
    record: Record
    function: Callable[..., object]


@dataclass(frozen=True, slots=True)
class ToolSet:
    """The tools of one file."""

    name: str
    tools: tuple[Tool, ...]
    module: str

    def close(self) -> None:
        """Let the module go."""
        sys.modules.pop(self.module, None)


def load(name: str, text: str, path: Path, generation: str) -> ToolSet:
    """The tool set that a file's text makes, under a module of its own per generation. Misfit where it makes none."""
    module = ModuleType(f"router_tools_{generation}.{name}")
    module.__file__ = str(path)
    place = Place(f"tools/{name}.py", 1, 1)
    sys.modules[module.__name__] = module  # dataclasses and typing look their module up there
    with ExitStack() as undo:
        undo.callback(sys.modules.pop, module.__name__, None)
        _run(text, module, path, place)
        made = tuple(_tool(function, place.file) for function in _public(module))
        if not made:
            raise Misfit("this file has no public function: a tool set is one or more", place=place)
        undo.pop_all()
    return ToolSet(name, made, module.__name__)


def _run(text: str, module: ModuleType, path: Path, place: Place) -> None:
    """Run a file. A Misfit whatever it raises: beyond what is an Exception lies what libraries raise to get past `except Exception`."""
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the operator's own code
    except SyntaxError as error:
        raise Misfit(f"this is not Python: {error.msg}", place=Place(place.file, error.lineno or 1, error.offset or 1)) from None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # somebody's Ctrl-C comes there, and nowhere else
        raise Misfit(f"this file fails when it is loaded: {type(error).__name__}", place=_failed_at(error, path, place)) from None


def _failed_at(error: BaseException, path: Path, place: Place) -> Place:
    trace, line = error.__traceback__, 1
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return Place(place.file, line, 1)


def _public(module: ModuleType) -> Iterable[Callable[..., object]]:
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
            yield value


def _tool(function: Callable[..., object], file: str) -> Tool:
    place = Place(file, function.__code__.co_firstlineno, 1)
    try:
        record = record_of(function)
    except (TypeError, NameError, AttributeError, SyntaxError) as error:  # an annotation may be any text
        raise Misfit(f"a tool's parameters must have types that JSON has: {error}", place=place) from None
    except RecursionError:
        raise Misfit("a tool's parameters must have types that JSON has: one contains itself", place=place) from None
    if any(one.kind is not one.POSITIONAL_OR_KEYWORD for one in inspect.signature(function).parameters.values()):
        raise Misfit(f"`{record.name}` has `/` or `*` among its parameters: a tool is called with all of them by name", place=place)
    if not record.doc:
        raise Misfit(f"`{record.name}` needs a docstring: it is what the model knows of it", place=place)
    shape = cast("JsonObject", schema(record))
    return Tool(ToolSpec(record.name, record.doc, shape), record, function)


async def called(function: Callable[..., object], values: dict[str, object]) -> object:
    """What a tool gives. Raises what it raises."""
    if inspect.iscoroutinefunction(function):
        return await function(**values)
    return await _in_thread(function, values)


async def _in_thread(function: Callable[..., object], values: dict[str, object]) -> object:
    if sum(thread.name.startswith("tool ") for thread in threading.enumerate()) >= MAX_THREADS:
        raise ToolError("Too many tools are running. Try again later.")
    return await in_thread(partial(function, **values), f"tool {function.__name__}")


def as_result(value: object, *, is_error: bool) -> tuple[Json, bool]:
    """What a function gave, as a model is told it: (the result, whether it is an error)."""
    try:
        text = whole(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return f"{FAILED[:-1]}: its result is not JSON.", True
    if len(text) <= MAX_RESULT:
        return cast("Json", json.loads(text)), is_error
    if isinstance(value, str):
        return whole(value[:MAX_RESULT]) + " … (cut: the result was longer)", is_error
    return f"{FAILED[:-1]}: its result is too large.", True


def raised_at(error: BaseException) -> str:
    """File and line where a tool raised: enough to find it, nothing of what it said."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "unknown"
