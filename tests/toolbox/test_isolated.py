"""Tool sets with `isolate: process`: killed at their time limit, without the router's secrets and files, ended with their generation."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from router.chat import Json
from router.config import declare, read
from router.errors import ConfigError
from router.generation import Generation, Ground, build
from router.toolbox import Toolbox
from router.toolbox import isolated as isolation
from router.toolbox.functions import MAX_RESULT
from router.toolbox.isolated import MAX_PROCESSES
from tests.conftest import Workspace, direct_target, routes, serving
from tests.support.process import process
from tests.support.provider import Reply, calls, provider, text

TRIALS = '''
"""Trials."""
import asyncio, os, re, signal, subprocess, sys, time
from pathlib import Path

from router.errors import ToolError

COUNT = 0


def count() -> int:
    """Counts calls of this process."""
    global COUNT
    COUNT += 1
    return COUNT


def pid() -> int:
    """Its process."""
    return os.getpid()


async def add(a: int, b: int = 2) -> dict[str, int]:
    """Adds, on a loop."""
    await asyncio.sleep(0)
    return {"sum": a + b}


def grips(mark: str) -> str:
    """Computes in C for ever, and says first that it has begun."""
    Path(mark).write_text(str(os.getpid()))
    re.match("(a+)+$", "a" * 60 + "b")
    return "never"


def waits(mark: str) -> int:
    """Waits until a file is there."""
    Path(mark + f".{os.getpid()}").write_text("")
    while not Path(mark).exists():
        time.sleep(0.005)
    return os.getpid()


def environment() -> dict[str, str]:
    """All variables."""
    return dict(os.environ)


def descriptors() -> list[str]:
    """What its open descriptors are."""
    return sorted(os.readlink(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{one}"))


def sorry() -> str:
    """Raises what the model is told."""
    raise ToolError("Sorry.")


def breaks() -> str:
    """Raises."""
    raise RuntimeError("sk-secret")


def leaves() -> str:
    """Raises what gets past `except Exception`."""
    sys.exit(3)


def dies() -> str:
    """Ends its process."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return "never"


def no_json() -> object:
    """Gives what JSON has not."""
    return {1, 2}


def book() -> str:
    """Gives a long text."""
    return "é" * 1_000_000


def shelf() -> list[str]:
    """Gives much."""
    return ["word " * 1_000] * 1_000


def child() -> int:
    """Starts a program that stays."""
    return subprocess.Popen(["sleep", "1000"]).pid


def prints() -> str:
    """Writes where nobody reads."""
    print("x" * 1_000_000, flush=True)
    print("x" * 1_000_000, file=sys.stderr, flush=True)
    return "done"
'''
LINE = TRIALS[: TRIALS.index("raise RuntimeError")].count("\n") + 1
USE = "{use: trials, isolate: process, env: {SHOP: nowhere}}"
HI = "a: {script: [{text: Hi}]}"


@pytest.fixture
def trials(workspace: Workspace) -> Workspace:
    """A workspace whose route has the tool set TRIALS in a process of its own."""
    return workspace.write("tools/trials.py", TRIALS).write("routes.yaml", routes(HI, f"targets: [a]\n    tools: [{USE}]"))


def toolbox(generation: Generation, seconds: float = 30) -> Toolbox:
    """Return the tools of the first route, each call limited to so many seconds."""
    granted = next(iter(generation.routes.values())).toolbox
    granted._limit = seconds  # pyright: ignore[reportPrivateUsage]
    return granted


async def until(true: Callable[[], bool]) -> None:
    """Wait until the condition is true, for 240 s at most."""
    async with asyncio.timeout(240):
        while not true():
            await asyncio.sleep(0.01)


def gone(process_id: int) -> bool:
    """Return whether a process has ended; a zombie counts as ended."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children(process_id: int) -> list[int]:
    """Return the ids of the child processes of a process, started by any of its threads."""
    lists = Path(f"/proc/{process_id}/task").glob("*/children")
    return [int(one) for each in lists for one in each.read_text(encoding="utf-8").split()]


async def test_isolated_tool_has_the_same_schema_and_results_as_one_in_process(trials: Workspace) -> None:
    """A tool set has the same schemas, results and error sentences in a process of its own as in the router's process."""
    isolated, inside = trials.build(), trials.write("routes.yaml", routes(HI, "targets: [a]\n    tools: [trials]")).build()
    there, here = toolbox(isolated), toolbox(inside)
    assert there.specs == here.specs
    expected: dict[tuple[str, str], tuple[Json, bool]] = {
        ("add", '{"a": 1}'): ({"sum": 3}, False),
        ("add", '{"a": "1"}'): ("Invalid arguments: a: a whole number is needed", True),
        ("add", '{"a": 1, "c": 1}'): ("Invalid arguments: c: there is no such parameter", True),
        ("sorry", "{}"): ("Sorry.", True),
        ("breaks", "{}"): ("The tool failed.", True),
        ("leaves", "{}"): ("The tool failed.", True),
        ("no_json", "{}"): ("The tool failed: its result is not JSON.", True),
        ("book", "{}"): ("é" * MAX_RESULT + " … (cut: the result was longer)", False),
        ("shelf", "{}"): ("The tool failed: its result is too large.", True),
    }
    for (name, given), outcome in expected.items():
        assert await there.run(name, json.loads(given)) == outcome
        assert await here.run(name, json.loads(given)) == outcome
    assert (await there.run("prints", {})) == ("done", False)
    assert (await there.run("add", {"a": "x" * 100_000})) == ("Invalid arguments: they are too long.", True)
    isolated.discard()
    inside.discard()


async def test_data_parts_of_an_isolated_tool_keep_their_names_and_order(trials: Workspace) -> None:
    """The data parts and preliminary outputs of an isolated tool are reported in order, each data part with its name."""
    code = '''\n\nfrom router.toolbox import DataPart\n\n\nasync def draws():\n    """Draws."""\n    yield DataPart("line", [1])\n    yield 2\n'''
    trials.write("tools/trials.py", TRIALS + code)
    generation = trials.build()
    reported: list[tuple[object, str]] = []

    async def report(value: object, part: str) -> None:
        reported.append((value, part))

    try:
        assert await toolbox(generation).run("draws", {}, report) == (2, False)
        assert reported == [([1], "line"), (2, "")]
    finally:
        await generation.close()


async def test_tool_process_is_reused_for_the_next_call(trials: Workspace) -> None:
    """The process of an isolated tool set, with its module variables, serves the next call too, even after a failed one."""
    generation = trials.build()
    tools = toolbox(generation)
    assert [await tools.run("count", {}) for _ in range(2)] == [(1, False), (2, False)]
    for name in ("breaks", "leaves", "sorry", "shelf"):
        await tools.run(name, {})
    assert await tools.run("count", {}) == (3, False)
    generation.discard()


async def test_tool_process_inherits_no_secret_variable_and_no_open_file(trials: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of an isolated tool set has only basic and declared environment variables, and no open file of the router."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with (trials.root / "open").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        generation = trials.build()
        tools = toolbox(generation)
        environment, _ = await tools.run("environment", {})
        descriptors, _ = await tools.run("descriptors", {})
    assert isinstance(environment, dict)
    assert environment["SHOP"] == "nowhere"
    assert set(environment) <= {"SHOP", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE"}
    assert isinstance(descriptors, list)
    kinds = sorted({str(one).partition(":")[0] for one in descriptors})
    assert sum(str(one).startswith("socket:") for one in descriptors) <= 3  # ours, and the pair of its own loop
    assert str(held.name) not in descriptors
    assert set(kinds) <= {"/dev/null", "anon_inode", "socket", f"/proc/{(await tools.run('pid', {}))[0]}/fd"}
    generation.discard()


async def test_tool_call_that_blocks_in_c_code_is_killed_at_its_time_limit(trials: Workspace) -> None:
    """A call that blocks its interpreter gets an error at its time limit; its process is killed, and the next call gets a new one."""
    generation = trials.build()
    tools, mark = toolbox(generation, 0.3), trials.root / "begun"
    said, is_error = await tools.run("grips", {"mark": str(mark)})
    assert (said, is_error) == ("The tool took longer than 0.3 seconds and was stopped.", True)
    if mark.exists():  # on a busy machine the time may be over before it has begun
        await until(lambda: gone(int(mark.read_text() or 0)))
    assert await toolbox(generation).run("count", {}) == (1, False)
    generation.discard()


async def test_cancelled_tool_call_kills_its_process_and_that_processs_children(trials: Workspace) -> None:
    """A cancelled call kills the process that runs it and the programs that this process started; the next call has a new process."""
    generation = trials.build()
    tools, mark = toolbox(generation), trials.root / "begun"
    sleeper, _ = await tools.run("child", {})
    assert isinstance(sleeper, int)
    call = asyncio.create_task(tools.run("grips", {"mark": str(mark)}))
    await until(lambda: mark.exists() and bool(mark.read_text()))
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    await until(lambda: gone(int(mark.read_text())) and gone(sleeper))
    assert await tools.run("count", {}) == (1, False)
    generation.discard()


async def test_tool_process_that_crashes_fails_only_its_call(trials: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A crash of the tool's process gives its call "The tool failed." and a log entry; the next call gets a new process."""
    generation = trials.build()
    tools = toolbox(generation)
    assert await tools.run("dies", {}) == ("The tool failed.", True)
    assert await tools.run("count", {}) == (1, False)
    assert [(one.message, one.__dict__["fields"]["at"]) for one in caplog.records] == [("tool failed", "its process ended")]
    await tools.run("breaks", {})
    assert caplog.records[-1].__dict__["fields"] == {"tool": "breaks", "error": "RuntimeError", "at": f"trials.py:{LINE}"}
    assert "sk-secret" not in caplog.text
    generation.discard()


async def test_tool_set_runs_at_most_max_processes_calls_at_once(trials: Workspace) -> None:
    """An isolated tool set runs MAX_PROCESSES calls at once, each in its own process; further calls wait for a free one."""
    generation = trials.build()
    tools, mark = toolbox(generation), trials.root / "go"
    asked = [asyncio.create_task(tools.run("waits", {"mark": str(mark)})) for _ in range(MAX_PROCESSES + 2)]
    await until(lambda: len(list(trials.root.glob("go.*"))) == MAX_PROCESSES)
    assert not any(one.done() for one in asked)
    mark.write_text("")
    used = {int(str(pid)) for pid, _ in await asyncio.gather(*asked)}
    assert len(used) == MAX_PROCESSES
    generation.discard()
    await until(lambda: all(map(gone, used)))


async def test_tool_process_ends_with_its_generation_after_its_call(trials: Workspace) -> None:
    """A tool process of a closed generation completes its call and then ends; the new generation's tools already run."""
    first = trials.build()
    tools, mark = toolbox(first), trials.root / "go"
    old, _ = await tools.run("pid", {})
    running = asyncio.create_task(tools.run("waits", {"mark": str(mark)}))
    await until(lambda: bool(list(trials.root.glob("go.*"))))
    trials.write("tools/trials.py", TRIALS + '\n\ndef news() -> str:\n    """News."""\n    return \'news\'\n')
    second = build(declare(read(trials.root / "routes.yaml"), {}), first.kept)
    assert await toolbox(second).run("news", {}) == ("news", False)
    first.discard()
    assert isinstance(old, int)
    assert not gone(old)
    mark.write_text("")
    assert await running == (old, False)
    await until(lambda: gone(old))
    second.discard()


async def test_tool_process_whose_call_was_cancelled_at_its_start_serves_the_next_call(
    trials: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose call was cancelled while it started is kept and serves the next call."""
    generation = trials.build()
    tools = toolbox(generation)
    await tools.run("dies", {})
    hold, begun = threading.Event(), threading.Event()
    made = isolation._Process  # pyright: ignore[reportPrivateUsage]

    def slow(source: isolation.ProcessSource) -> object:
        begun.set()
        hold.wait(60)
        return made(source)

    monkeypatch.setattr(isolation, "_Process", slow)
    call = asyncio.create_task(tools.run("pid", {}))
    await until(begun.is_set)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    monkeypatch.setattr(isolation, "_Process", lambda _: pytest.fail("another was started"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    hold.set()
    processes = cast("isolation.ToolProcesses", generation._sets[-1])  # pyright: ignore[reportPrivateUsage]
    await until(lambda: bool(processes._idle))  # pyright: ignore[reportPrivateUsage]
    assert (await tools.run("count", {})) == (1, False)
    generation.discard()


BAD: dict[str, tuple[str, str]] = {
    "no Python": ("def a(:\n", "tools/trials.py:1:7: this is not Python: invalid syntax"),
    "fails": ("\nimport os\n1 / 0\n", "tools/trials.py:3:1: this file fails when it is loaded: ZeroDivisionError"),
    "no docstring": (
        "\n\ndef a() -> str:\n    return ''\n",
        "tools/trials.py:3:1: `a` needs a docstring: it is what the model knows of it",
    ),
    "no function": ("A = 1\n", "tools/trials.py:1:1: this file has no public function: a tool set is one or more"),
    "ends": ("import os\nos._exit(0)\n", "tools/trials.py:1:1: the process of this file ended while it was loaded"),
}


@pytest.mark.parametrize("how", BAD)
def test_mistake_in_an_isolated_tool_file_is_reported_with_its_place(trials: Workspace, how: str) -> None:
    """A file of an isolated tool set that cannot be loaded gives one complaint with file, line and column."""
    written, complaint = BAD[how]
    trials.write("tools/trials.py", written)
    with pytest.raises(ConfigError) as caught:
        trials.build()
    assert [str(one).splitlines()[0] for one in caught.value.complaints] == [complaint]


def test_isolated_tool_file_that_loads_for_too_long_is_refused(trials: Workspace) -> None:
    """A file of an isolated tool set that takes longer than the loading limit gives a complaint, even if it blocks in C code."""
    trials.write("tools/trials.py", "import re\nre.match('(a+)+$', 'a' * 60 + 'b')\n")
    with pytest.raises(ConfigError, match=r"tools/trials\.py:1:1: this file takes longer than 0\.5 s to load"):
        trials.build(Ground(loading=0.5))


MISTAKES: dict[str, tuple[str, str]] = {
    "another word": ("{use: trials, isolate: thread}", "routes.yaml:8:36: `thread` is not one of process"),
    "a slip": ("{use: trials, isolat: process}", "routes.yaml:8:27: unknown key `isolat` in an entry of `tools`; did you mean `isolate`?"),
    "no such file": ("{use: trails, isolate: process}", "routes.yaml:8:19: there is no tools/trails.py; did you mean `trials`?"),
    "a variable's name": (
        "{use: trials, isolate: process, env: {A-B: x}}",
        "routes.yaml:8:51: `A-B` is no variable: use letters, digits and _",
    ),
}


@pytest.mark.parametrize("how", MISTAKES)
def test_mistake_in_an_isolated_tool_set_entry_is_reported_with_its_place(trials: Workspace, how: str) -> None:
    """A mistake in an entry with `use` and `isolate` gives one complaint with its place in routes.yaml."""
    entry, complaint = MISTAKES[how]
    trials.write("routes.yaml", routes(HI, f"targets: [a]\n    tools: [{entry}]"))
    with pytest.raises(ConfigError) as caught:
        trials.build()
    assert [str(one).splitlines()[0] for one in caught.value.complaints] == [complaint]


async def test_server_answers_other_requests_while_an_isolated_tool_computes(trials: Workspace) -> None:
    """A server answers /healthz while an isolated tool computes; a kill of the tool's process gives its call an error result."""
    mark = trials.root / "begun"
    wanted = calls(("call_1", "grips", json.dumps({"mark": str(mark)})))
    async with provider(Reply(wanted), Reply(text("Well."))) as fake:
        route = f"targets: [a]\n    tools: [{USE}]\n    timeout: {{tool: 30s}}"
        trials.write("routes.yaml", routes(direct_target(fake.base), route))
        async with serving(trials.build()) as client:
            asked = asyncio.create_task(client.ask())
            await until(lambda: mark.exists() and bool(mark.read_text()))
            assert (await client.get("/healthz")).status == 200
            os.kill(int(mark.read_text()), signal.SIGKILL)
            answer = await asked
    assert answer.text == "Well."
    assert [value["result"] for code, value in answer.lines if code == "a"] == ["The tool failed."]


async def test_tool_processes_end_when_the_server_gets_sigterm_or_sigkill(trials: Workspace) -> None:
    """The processes of isolated tool sets end after SIGTERM, and also after SIGKILL, of the server."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        async with process(trials.root) as router:
            started = children(router.process.pid)
            assert started
            router.process.send_signal(sent)
            await until(lambda: all(map(gone, started)))  # noqa: B023 - awaited here
