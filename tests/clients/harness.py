"""Worker processes that drive the public clients: which clients there are, whether they are installed, and how a case is sent to them.

One process per family runs many cases, since starting Node costs 0.3 s.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import pytest

HERE = Path(__file__).parent
PATIENCE = 240.0
"""Seconds to wait for a worker's report; the first one waits for Node and a client to load. The worker itself gives up after 15."""
OLDEST_NODE = 20
Wire = Literal["data-stream", "ui-message-stream", "openai", "ag-ui", "ai-gateway"]
Saw = dict[str, Any]


@dataclass(frozen=True)
class Client:
    """A release of a public chat client. `name`: as the worker knows it, for npm the alias in package.json."""

    name: str
    family: str
    wire: Wire

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Sdk:
    """A library for programs with one of its APIs. `name`: as the worker knows it."""

    name: str
    family: str

    def __str__(self) -> str:
        return self.name


def _clients(family: str, wire: Wire, *names: str) -> tuple[Client, ...]:
    return tuple(Client(name, family, wire) for name in names)


AI4 = _clients("ai4", "data-stream", "ai4.2.0", "ai4")
UI = _clients(
    "ui", "ui-message-stream", "ai5.0.0", "ai5.0.26", "ai5.0.108", "ai5", "ai6.0.1", "ai6.0.37", "ai6", "ai7.0.0", "ai7.0.15", "ai7"
)
OPENAI = (
    *_clients("openai", "openai", "openai-node"),
    *_clients("openai-python-2", "openai", "openai-python-2"),
    *_clients("openai-python-3", "openai", "openai-python-3"),
)
AG_UI = Client("ag-ui", "ag_ui", "ag-ui")
AI_GATEWAY = Client("ai-gateway", "ai_gateway", "ai-gateway")
CHATS = (*AI4, *UI)
CLIENTS = (*CHATS, *OPENAI)
NEWEST = tuple(client for client in CLIENTS if client.name in {"ai4", "ai5", "ai6", "ai7", *(client.name for client in OPENAI)})

THOROUGH = frozenset({"ai4", "ai7", "openai-node"})
"""One client per wire, which is tested with a split at every byte."""
NODE_SDKS = ("openai-node-responses", "openai-node-completions", "openai-node-chat", "anthropic-node")
AI_SDKS = ("ai-sdk-openai", "ai-sdk-openai-chat", "ai-sdk-openai-completions", "ai-sdk-anthropic")
PYTHON_SDKS = ("openai-python-responses", "openai-python-completions", "openai-python-chat", "anthropic-python")
PYTHON_FRAMEWORKS = ("openai-agents", "langchain", "langchain-responses", "langchain-completions")
SDKS = (
    *(Sdk(name, "sdks") for name in (*NODE_SDKS, *AI_SDKS)),
    *(Sdk(name, "sdks-python") for name in (*PYTHON_SDKS, *PYTHON_FRAMEWORKS)),
)
"""Libraries for programs, each with one API; their cases are in sdk_cases.py."""
NODE_FAMILIES = ("ai4", "ui", "openai", "sdks", "ag_ui", "ai_gateway")
OWN = HERE / ".venv/bin/python"
PYTHONS = {"openai-python-2": Path(sys.executable), "openai-python-3": OWN, "sdks-python": OWN}
MODULES = {"openai-python-2": "openai_python", "openai-python-3": "openai_python", "sdks-python": "sdks_python"}


def cuts(client: Client, size: int) -> range:
    """Return the byte positions at which a body of this size is split in two.

    One client of each wire gets every position. Every other client gets each fourth position, starting at an offset of its own.
    """
    return range(1, size) if client.name in THOROUGH else range(1 + CLIENTS.index(client) % 4, size, 4)


@cache
def missing(family: str) -> str:
    """Return why the clients of a family cannot be driven on this machine; "" if they can."""
    if family in PYTHONS:
        if not PYTHONS[family].exists():
            return "tests/clients/.venv is not there: `make clients`"
        if family == "sdks-python" and not [*HERE.glob(".venv/lib/*/site-packages/llm_comply")]:
            return "tests/clients/.venv is of an older requirements.txt: `make clients`"
        return ""
    node = shutil.which("node")
    if node is None:
        return "there is no Node"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=False).stdout
    told = re.match(r"v(\d+)", version)
    if told is None or int(told[1]) < OLDEST_NODE:
        return f"Node {OLDEST_NODE} or newer is needed, here is {version.strip() or 'one that does not tell'}"
    wanted = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    absent = [name for name, version in wanted.items() if _installed(name) != version.rpartition("@")[2]]
    return f"not installed: {', '.join(absent)}: `make clients`" if absent else ""


def _installed(name: str) -> str | None:
    try:
        found = json.loads((HERE / "node_modules" / name / "package.json").read_text(encoding="utf-8"))
    except OSError:
        return None
    return cast("str", found["version"])


class Worker:
    """A process that drives the clients of one family. Cases may be sent faster than they are answered."""

    def __init__(self, family: str) -> None:
        command = [str(PYTHONS[family]), "-I", "worker.py", MODULES[family]] if family in PYTHONS else ["node", "worker.mjs", family]
        # Nothing of the shell's: no proxy, no key, no address of a provider.
        environment = {"PATH": os.environ.get("PATH", ""), "NODE_ENV": "production", "NO_PROXY": "*"}
        self._process = subprocess.Popen(
            command, cwd=HERE, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Saw]] = {}
        self._complained: list[bytes] = []
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._listen, self._overhear)]
        for thread in self._threads:
            thread.start()

    def ask(self, case: Mapping[str, Any]) -> Future[Saw]:
        """Send a case; return the future of the client's report."""
        number = next(self._numbers)
        future: Future[Saw] = Future()
        self._waiting[number] = future
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({**case, "id": number}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            future.set_exception(error)
        return future

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            future = self._waiting.pop(answer["id"])
            if "saw" in answer:
                future.set_result(answer["saw"])
            else:
                future.set_exception(AssertionError(f"the client's script failed: {answer['broken']}"))
        for future in self._waiting.values():
            future.set_exception(AssertionError(f"the worker has ended:\n{self.complaints}"))

    def _overhear(self) -> None:
        assert self._process.stderr is not None
        self._complained.extend(self._process.stderr)

    @property
    def complaints(self) -> str:
        """The text that the process wrote to stderr so far."""
        return b"".join(self._complained).decode("utf-8", "replace")

    def close(self) -> None:
        """Close the stdin of the process and wait 5 s for its end, then kill it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        for thread in self._threads:
            thread.join(5)
        self._process.stdout.close()
        self._process.stderr.close()


class Workers:
    """One worker process per client family, started at its first case."""

    def __init__(self) -> None:
        self._running: dict[str, Worker] = {}

    def ask(self, client: Client | Sdk, base: str, case: Mapping[str, Any]) -> Future[Saw]:
        """Send a case of a client against the server at `base`; return the future of its report. Skips the test without that client."""
        if lack := missing(client.family):
            pytest.skip(lack)
        if client.family not in self._running:
            self._running[client.family] = Worker(client.family)
        return self._running[client.family].ask({**case, "client": client.name, "base": base})

    def saw(self, client: Client | Sdk, base: str, case: Mapping[str, Any]) -> Saw:
        """Run a case with a client against the server at `base`, and return the client's report."""
        return self.ask(client, base, case).result(PATIENCE)

    def all(self, asked: Sequence[Future[Saw]]) -> list[Saw]:
        """Wait for these reports and return them."""
        return [future.result(PATIENCE) for future in asked]

    def close(self) -> None:
        """Close all worker processes."""
        for worker in self._running.values():
            worker.close()
