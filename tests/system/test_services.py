"""The real Redis that tests start: it can be killed, paused and restarted, and leaves nothing behind."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.services import RedisServer, program, redis_server, run


async def reply_line(server: RedisServer, *command: str) -> bytes:
    """Return the first line of Redis's raw answer to a command."""
    async with asyncio.timeout(240):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(b"".join([b"*%d\r\n" % len(command), *(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in command)]))
            return await reader.readline()
        finally:
            writer.transport.abort()


async def test_redis_for_tests_answers_and_keeps_nothing_over_a_restart() -> None:
    """A killed Redis refuses connections, and after its restart its keys are gone."""
    async with redis_server() as server:
        assert await reply_line(server, "SET", "a", "1") == b"+OK\r\n"
        await server.daemon.kill()
        with pytest.raises(ConnectionRefusedError):
            await reply_line(server, "PING")
        await server.daemon.start()
        assert await reply_line(server, "GET", "a") == b"$-1\r\n"


async def test_paused_redis_for_tests_is_silent_until_it_resumes() -> None:
    """A paused Redis answers a command only after it is resumed."""
    async with redis_server() as server:
        server.daemon.pause()
        answer = asyncio.create_task(reply_line(server, "PING"))
        done, _ = await asyncio.wait({answer}, timeout=0.1)
        assert not done
        server.daemon.resume()
        assert await answer == b"+PONG\r\n"


async def test_redis_for_tests_takes_options_of_redis_itself() -> None:
    """A Redis for tests that is started with `--maxmemory 1mb` refuses a value of 2 MB: the option reached the Redis server."""
    async with redis_server("--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as server:
        assert (await reply_line(server, "SET", "a", "x" * 2_000_000)).startswith(b"-OOM")


async def test_redis_for_tests_leaves_no_process_or_file_after_a_failed_test() -> None:
    """A Redis whose block raises an exception, even while paused, leaves no process and no folder behind."""

    async def fails() -> None:
        async with redis_server() as server:
            seen.append((server.daemon.pid, server.daemon.log.parent))
            server.daemon.pause()
            raise ZeroDivisionError

    seen: list[tuple[int, Path]] = []
    with pytest.raises(ZeroDivisionError):
        await fails()
    [(pid, folder)] = seen
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_service_installer_without_permission_names_missing_packages_and_succeeds(tmp_path: Path) -> None:
    """The script services.sh exits with 0 and names the missing programs without root, without apt-get, or when apt-get fails."""
    script = str(ROOT / "tests/support/services.sh")
    for name in ("mktemp", "timeout", "tail", "rm", "chmod"):
        (tmp_path / name).symlink_to(program(name))

    async def script_says(user: str, apt: str | None = None) -> str:
        _stub(tmp_path / "id", f"echo {user}")
        if apt is not None:
            _stub(tmp_path / "apt-get", apt)
        arguments = [program("env"), "-i", f"PATH={tmp_path}", f"POLICY_RC_D={tmp_path}/policy-rc.d", program("sh"), script]
        return await run(*arguments)

    assert "not root: without redis-server" in await script_says("1000")
    assert "no apt-get: without redis-server" in await script_says("0")
    said = await script_says("0", "echo 'E: Unable to fetch'; exit 100")
    assert "installing redis-server" in said
    assert "E: Unable to fetch" in said
    assert "apt-get failed: without redis-server" in said
    assert not (tmp_path / "policy-rc.d").exists()


def _stub(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
