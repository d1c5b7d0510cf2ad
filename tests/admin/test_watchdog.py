"""An event loop that stands still is told of, with the place."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from router.admin.watchdog import BEAT, Watchdog

LATE = 1.5
"""Seconds for which a busy machine holds no loop up by itself."""


def stand_still(secret: str, told: Callable[[], bool]) -> None:
    """Hold the loop until it is told of, or for a minute."""
    for _ in range(6000):
        if told():
            break
        time.sleep(0.01)
    del secret


async def test_watchdog_reports_each_blocked_event_loop_once_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """The report has files, lines and functions, and no value of anything."""
    caplog.set_level(logging.WARNING, "router.server")
    with Watchdog(late=LATE) as watchdog:
        for number in range(2):
            stand_still("sk-canary", lambda number=number: len(caplog.records) > number)
            assert watchdog.stalls == number + 1
            await asyncio.sleep(BEAT * 2)  # it beats again
    assert watchdog.stalls == 2
    told = [cast("dict[str, Any]", record.__dict__["fields"]) for record in caplog.records]
    assert len(told) == 2
    assert all(one["at"][-1].startswith("test_watchdog.py:") and one["at"][-1].endswith(" stand_still") for one in told)
    assert all(one["seconds"] > LATE for one in told)
    assert "canary" not in caplog.text


async def test_watchdog_reports_nothing_while_a_busy_event_loop_turns() -> None:
    """An event loop that still turns is not reported, however busy it is."""
    beats = 0

    class Counted(Watchdog):
        def _pulse(self) -> None:
            nonlocal beats
            beats += 1
            super()._pulse()

    with Counted(late=60) as watchdog:
        while beats < 4:
            time.sleep(0.01)
            await asyncio.sleep(0)
    assert watchdog.stalls == 0
