"""Tools of tools/*.py that a model may call: a file is a tool set, each public function in it a tool.
A tool's schema is its signature, its description its docstring. `async def` runs on the loop, `def` in a thread of
its own (a daemon: if it hangs, neither the answer nor the end of the process waits). An async generator reports its progress.
"""

import inspect
import json
import logging
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import TYPE_CHECKING, cast

from router.chat import Json, ToolSpec, repaired
from router.errors import Misfit, Place, ToolError
from router.garbage import collected
from router.threads import in_thread
from router.toolbox.approval import Condition, condition_of
from router.toolbox.docstring import documentation
from router.toolbox.routes import Routes
from router.value import Value

if TYPE_CHECKING:
    from router.toolbox.parameters import Parameters

log = logging.getLogger("router.tools")

MAX_RESULT = 256 * 1024
"""Characters of one result, as JSON. A longer text is cut and marked as cut; any other longer value becomes an error."""
FAILED = "The tool failed."
MAX_THREADS = 64
"""Threads that tools may hold at once, hung ones included."""


class Tool(Value, frozen=True):
    """A function that a model may call. `condition`: returns whether the user has to allow a call with these arguments; None: never."""

    spec: ToolSpec
    parameters: "Parameters"
    function: Callable[..., object]
    condition: Condition | None = None

    def asks(self, values: dict[str, object]) -> bool:
        """Return whether the user has to allow a call with these arguments; also True if the condition raises, which is logged."""
        if self.condition is None:
            return False
        try:
            return bool(self.condition(**values))
        except Exception as error:  # noqa: BLE001 - the operator's code: whatever it raises, the call does not run unasked
            fields = {"tool": self.spec.name, "error": type(error).__name__, "at": raised_at(error)}
            log.warning("the condition of an approval failed", extra={"fields": fields})
            return True


class ToolSet(Value, frozen=True):
    """The tools of one file. `module`: the name under which the file's module stands in `sys.modules`."""

    name: str
    tools: tuple[Tool, ...]
    module: str

    def close(self) -> None:
        """Remove the module from `sys.modules`; calls that still run go on."""
        sys.modules.pop(self.module, None)


def load(name: str, text: str, path: Path, generation: str) -> ToolSet:
    """Run a tool file's text as a module of its own, and return its tools as a set of this name.
    Raises Misfit with a place if the file fails when it is run, if a function cannot be a tool, or if there is none.
    generation: a word in the module's name that sets it apart from those of other generations
    """
    module = ModuleType(f"router_tools_{generation}.{name}")
    module.__file__ = str(path)
    place = Place(f"tools/{name}.py", 1, 1)
    sys.modules[module.__name__] = module  # dataclasses and typing look up their module there
    with ExitStack() as undo:
        undo.callback(sys.modules.pop, module.__name__, None)
        import_module("router.toolbox.parameters")  # see `_tool`; outside of the block, whose objects are all visited
        with collected():
            _run(text, module, path, place)
        functions = [value for name, value in vars(module).items() if inspect.isfunction(value) and not name.startswith("_")]
        made = tuple(_tool(function, text, place.file) for function in functions if function.__module__ == module.__name__)
        if not made:
            raise Misfit("this file has no public function: a tool set is one or more", place=place)
        undo.pop_all()
    return ToolSet(name, made, module.__name__)


def _run(text: str, module: ModuleType, path: Path, place: Place) -> None:
    """Run a file as this module. Raises Misfit for any exception of it but Ctrl-C: some libraries raise more than an Exception."""
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the operator's own code
    except SyntaxError as error:
        raise Misfit(f"this is not Python: {error.msg}", place=Place(place.file, error.lineno or 1, error.offset or 1)) from None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # Ctrl-C arrives there, and nowhere else
        lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
        failed_at = Place(place.file, lines[-1] if lines else 1, 1)
        raise Misfit(f"this file fails when it is loaded: {type(error).__name__}", place=failed_at) from None


def _tool(function: Callable[..., object], text: str, file: str) -> Tool:
    from router.toolbox.parameters import parameters_of, place_of  # noqa: PLC0415 - pydantic: only servers with tools pay for it

    name = function.__name__

    def misfit(sentence: str, parameter: str = "") -> Misfit:
        return Misfit(sentence, place=place_of(text, function, parameter, file))

    declared = inspect.signature(function).parameters
    description, descriptions = documentation(function, declared)
    try:
        parameters = parameters_of(function, descriptions)
    except Misfit as error:
        raise misfit(f"a tool's parameters must have types that JSON has: {error}", error.field or "") from None
    if odd := next((one for one in declared.values() if one.kind is not one.POSITIONAL_OR_KEYWORD), None):
        raise misfit(f"`{name}` has `/` or `*` among its parameters: a tool is called with all of them by name", odd.name)
    if not description:
        raise misfit(f"`{name}` needs a docstring: it is what the model knows of it")
    if inspect.isgeneratorfunction(function):
        raise misfit(f"`{name}` yields without `async`: a tool that reports progress is an `async def`")
    asks = next((one for one, kind in parameters.supplied if kind is Routes), None)
    if asks is not None and not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        raise misfit(f"`{name}` takes Routes, and a route is asked on the event loop: write `async def {name}`", asks)
    supplied = {parameter for parameter, _ in parameters.supplied}
    try:
        condition = condition_of(function, (one for one in declared if one not in supplied))
    except Misfit as error:
        raise misfit(error.message) from None
    return Tool(ToolSpec(name, description, parameters.schema), parameters, function, condition)


def refuse_supplied(tools: Iterable[Tool], text: str, file: str) -> None:
    """Raise Misfit if a tool of an isolated set, of this file, has a parameter that only the router's own process can fill in."""
    from router.toolbox.parameters import place_of  # noqa: PLC0415 - see `_tool`

    for tool in tools:
        for parameter, kind in tool.parameters.supplied:
            raise Misfit(
                f"`{tool.spec.name}` takes {kind.__name__}, which a tool set in a process of its own does not get: leave out "
                "`isolate: process`, or move the tool into another file",
                place=place_of(text, tool.function, parameter, file),
            )


@dataclass(frozen=True, slots=True)  # not a value type: tools may copy, extend and return it as a dataclass
class DataPart:
    """A value that a tool yields for the client, not for the model: a part `data-<name>` of the stream, in order, never replaced.
    Raises ValueError unless the name is 1 to 64 letters, digits and hyphens.
    """

    name: str
    data: object = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", self.name):
            raise ValueError(self.name)


Report = Callable[[Json, str], Awaitable[None]]
"""A function that takes the values that a tool yields before its result, each with the name of its data part; empty for a preliminary output."""


async def unreported(value: Json, part: str) -> None:
    """Drop a value that a tool yields before its result: the Report of a call that has none."""


async def called(function: Callable[..., object], values: dict[str, object], report: Report) -> object:
    """Call a tool's function, and return its result or raise its exception. A `def` runs in a thread.
    Values that an async generator yields go to `report`. The last one that is not a DataPart is the result; None without one.
    Raises ToolError if too many threads run, or if a DataPart is not JSON or too large.
    """
    if inspect.isasyncgenfunction(function):
        given: object = None
        async with aclosing(function(**values)) as yielded:
            async for one in yielded:
                if isinstance(one, DataPart):
                    await report(_data(one), one.name)
                    continue
                given = one
                shown, is_error = as_result(given, is_error=False)
                if not is_error:  # if the last one is an error, the result shows it
                    await report(shown, "")
        return given
    if inspect.iscoroutinefunction(function):
        return await function(**values)
    if sum(thread.name.startswith("tool ") for thread in threading.enumerate()) >= MAX_THREADS:
        raise ToolError("Too many tools are running. Try again later.")
    return await in_thread(partial(function, **values), f"tool {function.__name__}")


def as_result(value: object, *, is_error: bool) -> tuple[Json, bool]:
    """Return a tool's value as a model gets it: (the value as JSON, true if it is an error).
    A text longer than MAX_RESULT is cut. Any other value that is longer, or is not JSON, becomes a sentence that is an error.
    """
    try:
        text = repaired(json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain))
    except (TypeError, ValueError, RecursionError):
        return f"{FAILED[:-1]}: its result is not JSON.", True
    if len(text) <= MAX_RESULT:
        return cast("Json", json.loads(text)), is_error
    if isinstance(value, str):
        return repaired(value[:MAX_RESULT]) + " … (cut: the result was longer)", is_error
    return f"{FAILED[:-1]}: its result is too large.", True


def _data(part: DataPart) -> Json:
    """Return the data of a part as JSON. Raises ToolError if it is not JSON or is too large: it is not cut."""
    held, is_error = as_result({"data": part.data}, is_error=False)
    if is_error or not isinstance(held, Mapping):
        raise ToolError(f"The data part {part.name} is not JSON, or is too large.")
    return held["data"]


def _plain(value: object) -> object:
    """Return a dataclass, or a value of VALUES in router/toolbox/parameters.py, as JSON. Raises TypeError for any other, such as a set."""
    from router.toolbox.parameters import plain  # noqa: PLC0415 - see `_tool`

    return plain(value)


def raised_at(error: BaseException) -> str:
    """Return the place where an exception was raised, as `file.py:12`; `unknown` without a traceback."""
    places = [f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return places[-1] if places else "unknown"
