"""The watchdog: a blocked event loop is logged, with the place in the code that blocks it."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from router.admin.watchdog import BEAT, Watchdog

LATE = 1.5
"""Seconds, longer than a busy test machine delays an event loop by itself."""


def stand_still(secret: str, done: Callable[[], bool]) -> None:
    """Block the event loop until `done` returns True, or for a minute."""
    for _ in range(6000):
        if done():
            break
        time.sleep(0.01)
    del secret


async def test_watchdog_logs_each_stall_of_the_event_loop_once_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """Each of two stalls of the event loop is one log line with its place in the code and its seconds, without values of variables."""
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
    """An event loop that is busy but still runs its callbacks is not counted as stalled."""
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
