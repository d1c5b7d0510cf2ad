"""The admin key: every change below /admin needs it; refused requests are counted, logged and delayed (docs/security.md, item 50)."""

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
from tests.support.raw import request, response_to
from tests.support.services import free_ports

HI = "a: {script: [{text: Hello}]}\nb: {script: [{text: Hello}]}"
BOTH = "targets: [a, b]"
DRAIN = b'{"state": "drain"}'


async def drained(base: str, *authorizations: str, **headers: str) -> int:
    """Send a change that drains target `a`, with these Authorization headers, and return the status."""
    sent = request("POST /admin/targets/a", DRAIN, content_type="application/json", **headers)
    lines = "".join(f"authorization: {one}\r\n" for one in authorizations).encode("latin-1")
    return (await response_to(base, sent.replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n", 1))).status


@pytest.mark.parametrize("declared", [True, False])
async def test_change_by_an_operator_needs_the_admin_key_even_from_this_machine(workspace: Workspace, *, declared: bool) -> None:
    """A change with the declared or the generated admin key is 200; with another key, two headers or none it is 401 and changes nothing."""
    server = f"server: {{{KEYED}}}\n" if declared else ""
    async with serving(workspace.write("routes.yaml", routes(HI, BOTH, server)).build()) as client:
        right = f"Bearer {OPERATOR}"
        for wrong in ((), ("Bearer x",), (f"Basic {OPERATOR}",), (f"Bearer {OPERATOR}", right), ("Bearer x", right), (right, "Bearer x")):
            assert await drained(client.base, *wrong) == 401, wrong
        assert client.edge.live.generation.kept.switches.positions == {}
        assert await drained(client.base, right) == 200
        assert dict(client.edge.live.generation.kept.switches.positions) == {"a": "drain"}


async def test_declared_admin_key_replaces_the_generated_one(workspace: Workspace) -> None:
    """The admin key that the server generated at its start is 401 once a configuration declares one."""
    workspace.write("routes.yaml", routes(HI, BOTH, "server: {admin: {key: a-declared-key-of-operators}}\n"))
    async with serving(workspace.build()) as client:
        assert await drained(client.base, f"Bearer {OPERATOR}") == 401
        assert await drained(client.base, "Bearer a-declared-key-of-operators") == 200


@pytest.mark.parametrize("key", ["x", "a-key-of-19-letters", "'${SHORT}'"])
def test_short_admin_key_is_a_configuration_error(workspace: Workspace, key: str) -> None:
    """A key of fewer than 20 characters is a complaint with its line and a command that makes one, without any part of the key."""
    workspace.write("routes.yaml", routes(HI, BOTH, f"server: {{admin: {{key: {key}}}}}\n"))
    with pytest.raises(ConfigError) as refused:
        workspace.build(SHORT="a-key-of-19-letters")
    [complaint] = refused.value.complaints
    assert complaint.place.line == 9
    assert "fewer than 20 characters" in complaint.message
    assert "openssl rand" in complaint.message
    assert "19-letters" not in complaint.message


@pytest.mark.parametrize("key", ["", "a-key-of-19-letters"])
async def test_short_admin_key_given_by_a_program_admits_no_request(workspace: Workspace, key: str) -> None:
    """With an admin key below 20 characters that a program gave to the Gate, a request that bears this very key is Unauthorized."""
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
    """Without a declared key, admin pages are 200 for local programs and 403 for forwarded requests and for pages of other origins."""
    async with serving(workspace.write("routes.yaml", routes(HI, BOTH)).build()) as client:
        for page in ("/admin/config", "/admin/targets", "/admin/requests", "/metrics"):
            assert (await client.get(page)).status == 200
            for given in ({"x_forwarded_for": "127.0.0.1"}, {"origin": "http://localhost:3000"}, {"sec_fetch_site": "cross-site"}):
                assert (await response_to(client.base, request(f"GET {page}", **given))).status == 403


async def test_refused_admin_request_is_logged_and_counted(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """Each refusal is a warning with the peer and one of four reasons, and counted by reason in the metrics, without the sent key."""
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
    """A clock that only the test advances. `slept`: the seconds of each sleep, which returns at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Record the seconds, and return at once."""
        self.slept.append(seconds)


async def test_delay_of_refused_admin_requests_doubles_per_peer_up_to_a_second() -> None:
    """The delay doubles with each refusal of a peer up to LONGEST_S, begins anew for another peer, and is forgotten after FORGOTTEN_S."""
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


async def test_refused_peers_and_delayed_refusals_are_bounded() -> None:
    """At most MAX_PEERS peers are remembered, and with MAX_WAITING refusals delayed the next one is sent without a delay."""
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
    """While twenty refusals of the same peer are delayed, a change with the correct key, a question and /healthz are answered."""
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
    """Run `router serve` at a pseudo-terminal; yield its address, the bytes that the terminal shows, and its process."""
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
        return (await response_to(base, request("GET /readyz"))).status == 200
    return False


async def workers(base: str) -> list[int]:
    """Return the process ids of the workers; an empty list while the worker that is asked is ending."""
    with suppress(OSError, asyncio.IncompleteReadError):
        if page := (await response_to(base, request("GET /admin/config"))).rest:
            return [one["pid"] for one in json.loads(page)["workers"]]
    return []


@pytest.mark.parametrize("count", [1, 3])
async def test_generated_admin_key_is_printed_once_at_a_terminal_and_valid_in_every_worker(workspace: Workspace, count: int) -> None:
    """The key is printed once, and accepted by every worker, also after an edit and by a worker that replaces a killed one.
    No process has it in its environment.
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
        before = json.loads((await response_to(base, request("GET /admin/config"))).rest)["live"]["digest"]
        file.write_text(routes(HI, BOTH, "server: {keep_alive: 9s}\n"), encoding="utf-8")
        made.send_signal(signal.SIGHUP)
        async with asyncio.timeout(240):
            while json.loads((await response_to(base, request("GET /admin/config"))).rest)["live"]["digest"] == before:
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
    """Without a terminal and a declared key, a change over HTTP is 403 and names `server.admin.key`; a reload by SIGHUP still works."""
    file = workspace.write("routes.yaml", routes(HI, BOTH, "server: {reload: off}\n")).root / "routes.yaml"
    async with process(workspace.root) as router:
        status, body = await router.post("/admin/targets/a", {"state": "drain"})
        assert status == 403
        assert "server.admin.key" in body["error"]
        assert "admin key of this run" not in router.printed
        before = (await router.get("/admin/config"))[1]["live"]["digest"]
        file.write_text(routes(HI, BOTH, "server: {reload: off, keep_alive: 9s}\n"), encoding="utf-8")
        router.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(240):
            while (await router.get("/admin/config"))[1]["live"]["digest"] == before:
                await asyncio.sleep(0.05)
