"""An event loop that stands still is told of, with the place."""

import asyncio
import logging
import time
from typing import Any, cast

import pytest

from router.server.watchdog import Watchdog


def stand_still(secret: str) -> None:
    """Hold the loop."""
    time.sleep(0.8)
    del secret


async def test_it_tells_once_for_each_time_and_where(caplog: pytest.LogCaptureFixture) -> None:
    """Files, lines and functions; no value of anything."""
    caplog.set_level(logging.WARNING, "router.server")
    with Watchdog(late=0.2) as watchdog:
        for _ in range(2):
            await asyncio.sleep(0.3)
            stand_still("sk-canary")
        await asyncio.sleep(0.3)
    assert watchdog.stalls == 2
    told = [cast("dict[str, Any]", record.__dict__["fields"]) for record in caplog.records]
    assert len(told) == 2
    assert all(one["at"][-1].startswith("test_watchdog.py:") and one["at"][-1].endswith(" stand_still") for one in told)
    assert all(0.2 < one["seconds"] < 0.9 for one in told)
    assert "canary" not in caplog.text


async def test_a_loop_that_turns_is_left_alone() -> None:
    """However busy."""
    with Watchdog(late=0.2) as watchdog:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            time.sleep(0.01)
            await asyncio.sleep(0)
    assert watchdog.stalls == 0
