"""Changes below /admin take a key, always; attempts are counted, logged and slowed down (docs/security.md, item 50)."""

import asyncio
import json
import logging
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from router.access.gate import Gate
from router.access.slowdown import FIRST_S, FORGOTTEN_S, LONGEST_S, MAX_PEERS, MAX_WAITING, Slowdown
from router.config.values import Secret
from router.errors import ConfigError, Unauthorized
from router.reload import Live
from tests.conftest import AS_OPERATOR, KEYED, OPERATOR, ROOT, Workspace, routes, serving
from tests.support.process import process
from tests.support.raw import request, said
from tests.support.services import free_ports

HI = "a: {script: [{text: Hello}]}\nb: {script: [{text: Hello}]}"
BOTH = "targets: [a, b]"
DRAIN = b'{"state": "drain"}'


async def drained(base: str, *authorizations: str, **headers: str) -> int:
    """The status of a change, with these Authorization headers."""
    sent = request("POST /admin/targets/a", DRAIN, content_type="application/json", **headers)
    lines = "".join(f"authorization: {one}\r\n" for one in authorizations).encode("latin-1")
    return (await said(base, sent.replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n", 1))).status


@pytest.mark.parametrize("declared", [True, False])
async def test_change_by_an_operator_needs_the_admin_key_even_from_this_machine(workspace: Workspace, *, declared: bool) -> None:
    """The declared key or the generated one is accepted; another key, two headers or none change nothing."""
    server = f"server: {{{KEYED}}}\n" if declared else ""
    async with serving(workspace.write("routes.yaml", routes(HI, BOTH, server)).build()) as client:
        right = f"Bearer {OPERATOR}"
        for wrong in ((), ("Bearer x",), (f"Basic {OPERATOR}",), (f"Bearer {OPERATOR}", right), ("Bearer x", right), (right, "Bearer x")):
            assert await drained(client.base, *wrong) == 401, wrong
        assert client.edge.live.generation.kept.switches.positions == {}
        assert await drained(client.base, right) == 200
        assert dict(client.edge.live.generation.kept.switches.positions) == {"a": "drain"}


async def test_declared_admin_key_replaces_the_generated_one_from_its_edit_on(workspace: Workspace) -> None:
    """The key that the server made at its start opens nothing once an edit declares another."""
    workspace.write("routes.yaml", routes(HI, BOTH, "server: {admin: {key: a-declared-key-of-operators}}\n"))
    async with serving(workspace.build()) as client:
        assert await drained(client.base, f"Bearer {OPERATOR}") == 401
        assert await drained(client.base, "Bearer a-declared-key-of-operators") == 200


@pytest.mark.parametrize("key", ["x", "a-key-of-19-letters", "'${SHORT}'"])
def test_short_admin_key_is_a_mistake_of_the_configuration(workspace: Workspace, key: str) -> None:
    """The complaint has its place and what to do; nothing of the key is repeated."""
    workspace.write("routes.yaml", routes(HI, BOTH, f"server: {{admin: {{key: {key}}}}}\n"))
    with pytest.raises(ConfigError) as refused:
        workspace.build(SHORT="a-key-of-19-letters")
    [complaint] = refused.value.complaints
    assert complaint.place.line == 9
    assert "fewer than 20 characters" in complaint.message
    assert "openssl rand" in complaint.message
    assert "19-letters" not in complaint.message


@pytest.mark.parametrize("key", ["", "a-key-of-19-letters"])
async def test_short_admin_key_given_by_a_program_opens_nothing(workspace: Workspace, key: str) -> None:
    """The guard checks the length, too: such a key was never checked as a part of a configuration."""
    generation = workspace.write("routes.yaml", routes(HI, BOTH)).build()
    counted: list[str] = []
    gate = Gate(Live(generation), counted.append, Secret(key), slowdown=Slowdown(sleep=_at_once))
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer " + key.encode())],
        "client": ("127.0.0.1", 50000),
    }
    with pytest.raises(Unauthorized):
        await gate.enter_operator(scope)
    assert counted == ["wrong_run_key"]


async def _at_once(_: float) -> None:
    pass


async def test_admin_pages_are_read_from_this_machine_without_a_key(workspace: Workspace) -> None:
    """`router show --live` needs no key on this machine; what a proxy passes on or a web page sends is refused."""
    async with serving(workspace.write("routes.yaml", routes(HI, BOTH)).build()) as client:
        for page in ("/admin/config", "/admin/targets", "/admin/requests", "/metrics"):
            assert (await client.get(page)).status == 200
            for given in ({"x_forwarded_for": "127.0.0.1"}, {"origin": "http://localhost:3000"}, {"sec_fetch_site": "cross-site"}):
                assert (await said(client.base, request(f"GET {page}", **given))).status == 403


async def test_refused_admin_request_is_logged_and_counted(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """The warning names the peer and a reason of a small closed set, and never what was sent."""
    async with serving(workspace.write("routes.yaml", routes(HI, BOTH, f"server: {{{KEYED}}}\n")).build()) as client:
        await drained(client.base)
        for _ in range(2):
            await drained(client.base, "Bearer sk-canary-of-a-guess")
        await drained(client.base, "Bearer a", "Bearer b")
        await drained(client.base, sec_fetch_site="cross-site")
        async with client.session.get(f"{client.base}/metrics", headers=AS_OPERATOR) as response:
            page = await response.text()
    counts = dict(re.findall(r'router_admin_refusals_total\{reason="([a-z_]+)"\} ([0-9.]+)', page))
    assert counts == {"no_key": "1.0", "wrong_key": "2.0", "two_keys": "1.0", "another_site": "1.0"}
    lines = [record for record in caplog.records if record.getMessage() == "admin refused"]
    assert {record.levelno for record in lines} == {logging.WARNING}
    assert [record.__dict__["fields"]["reason"] for record in lines] == ["no_key", "wrong_key", "wrong_key", "two_keys", "another_site"]
    assert {record.__dict__["fields"]["peer"] for record in lines} == {"127.0.0.1"}
    assert "canary" not in caplog.text + page


class Clock:
    """Time that passes when it is slept through. `slept`: each sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.slept.append(seconds)


async def test_delay_of_refused_admin_requests_doubles_per_peer_up_to_a_second() -> None:
    """Another peer's first refusal has the shortest delay, and all is forgotten after a while."""
    clock = Clock()
    slowdown = Slowdown(lambda: clock.now, clock.sleep)
    for _ in range(10):
        await slowdown.refused("10.0.0.1")
    assert clock.slept == [min(LONGEST_S, FIRST_S * 2**times) for times in range(10)]
    await slowdown.refused("10.0.0.2")
    assert clock.slept[-1] == FIRST_S
    clock.now += FORGOTTEN_S
    await slowdown.refused("10.0.0.1")
    assert clock.slept[-1] == FIRST_S


async def test_memory_of_refused_peers_is_bounded() -> None:
    """The number of delayed refusals is bounded, too: beyond it, refusals are sent at once."""
    clock, blocked = Clock(), asyncio.Event()
    slowdown = Slowdown(lambda: clock.now, clock.sleep)
    for number in range(MAX_PEERS + 50):
        await slowdown.refused(str(number))
    assert len(slowdown) == MAX_PEERS

    async def blocks(_: float) -> None:
        await blocked.wait()

    waiting = Slowdown(lambda: clock.now, blocks)
    tasks = [asyncio.create_task(waiting.refused("10.0.0.1")) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    await waiting.refused("10.0.0.1")
    assert not any(task.done() for task in tasks)
    blocked.set()
    await asyncio.gather(*tasks)


async def test_delayed_refusal_delays_no_other_request(workspace: Workspace) -> None:
    """Requests with the correct key and others of the same peer are answered while a refusal is delayed for ever."""
    late, waiting = asyncio.Event(), list[float]()

    async def sleep(seconds: float) -> None:
        waiting.append(seconds)
        await late.wait()

    async with serving(workspace.write("routes.yaml", routes(HI, BOTH)).build(), slowdown=Slowdown(sleep=sleep)) as client:
        refused = [asyncio.create_task(drained(client.base, "Bearer x")) for _ in range(20)]
        while len(waiting) < len(refused):
            await asyncio.sleep(0)
        assert await drained(client.base, f"Bearer {OPERATOR}") == 200
        assert (await client.ask()).status == 200
        assert (await client.get("/healthz")).status == 200
        assert not any(task.done() for task in refused)
        late.set()
        assert set(await asyncio.gather(*refused)) == {401}


@asynccontextmanager
async def at_a_terminal(workspace: Workspace, *arguments: str) -> AsyncGenerator[tuple[str, bytearray, asyncio.subprocess.Process], None]:
    """`router serve` at a terminal: its address, what the terminal shows, and its process."""
    [port] = free_ports(1)
    ours, its = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "router", "serve", "--port", str(port), *arguments]
    made = await asyncio.create_subprocess_exec(*command, cwd=workspace.root, env=environment, stdin=its, stdout=its, stderr=its)
    os.close(its)
    shown = bytearray()

    def read() -> None:
        try:
            shown.extend(os.read(ours, 65536))
        except OSError:  # the other side is closed
            asyncio.get_running_loop().remove_reader(ours)

    asyncio.get_running_loop().add_reader(ours, read)
    base = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(240):
            while not await _ready(base):
                assert made.returncode is None, shown.decode()
                await asyncio.sleep(0.05)
        yield base, shown, made
    finally:
        if made.returncode is None:
            made.terminate()
        await made.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


async def _ready(base: str) -> bool:
    with suppress(OSError):
        return (await said(base, request("GET /readyz"))).status == 200
    return False


async def workers(base: str) -> list[int]:
    """The processes that serve; nobody, while the one that is asked is just dying."""
    with suppress(OSError, asyncio.IncompleteReadError):
        if page := (await said(base, request("GET /admin/config"))).rest:
            return [one["pid"] for one in json.loads(page)["workers"]]
    return []


@pytest.mark.parametrize("count", [1, 3])
async def test_generated_admin_key_is_printed_only_at_a_terminal(workspace: Workspace, count: int) -> None:
    """Once, by the parent; every worker takes it, also after an edit and by a worker that takes another's place. No log line has it, and
    no environment of a process.
    """
    file = workspace.write("routes.yaml", routes(HI, BOTH)).root / "routes.yaml"
    async with at_a_terminal(workspace, "--workers", str(count)) as (base, shown, made):
        async with asyncio.timeout(240):
            while len(await workers(base)) < count:
                await asyncio.sleep(0.05)
        found = re.findall(r"admin key of this run: ([A-Za-z0-9_-]{20,})", shown.decode())
        [key] = found
        for _ in range(4 * count):  # each connection finds another worker
            assert await drained(base, f"Bearer {key}") == 200
        assert await drained(base) == 401
        for pid in {made.pid, *await workers(base)}:
            assert key.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        before = json.loads((await said(base, request("GET /admin/config"))).rest)["live"]["digest"]
        file.write_text(routes(HI, BOTH, "server: {keep_alive: 9s}\n"), encoding="utf-8")
        made.send_signal(signal.SIGHUP)
        async with asyncio.timeout(240):
            while json.loads((await said(base, request("GET /admin/config"))).rest)["live"]["digest"] == before:
                await asyncio.sleep(0.05)
        if count > 1:
            died = (await workers(base))[0]
            os.kill(died, signal.SIGKILL)
            async with asyncio.timeout(240):
                while died in (there := await workers(base)) or len(there) < count:
                    await asyncio.sleep(0.05)
        for _ in range(4 * count):
            assert await drained(base, f"Bearer {key}") == 200
    assert shown.decode().count(key) == 1


async def test_admin_key_is_not_generated_without_a_terminal(workspace: Workspace) -> None:
    """A service's log would keep the key. Until one is declared nothing can be changed over HTTP; SIGHUP and the files need none."""
    file = workspace.write("routes.yaml", routes(HI, BOTH, "server: {reload: off}\n")).root / "routes.yaml"
    async with process(workspace.root) as router:
        status, body = await router.post("/admin/targets/a", {"state": "drain"})
        assert status == 403
        assert "server.admin.key" in body["error"]
        assert "admin key of this run" not in router.said
        before = (await router.get("/admin/config"))[1]["live"]["digest"]
        file.write_text(routes(HI, BOTH, "server: {reload: off, keep_alive: 9s}\n"), encoding="utf-8")
        router.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(240):
            while (await router.get("/admin/config"))[1]["live"]["digest"] == before:
                await asyncio.sleep(0.05)
