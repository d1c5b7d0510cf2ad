"""Keep-alive frames of a silent stream: when `Pulse` sends them, and that it sends none after it is closed."""

import asyncio

import pytest

from router.answering.pulse import Pulse


class Heart:
    """A counter of keep-alive frames; while `stuck`, writing a frame does not return."""

    def __init__(self) -> None:
        self.began = 0
        self.beaten: list[float] = []
        self.stuck = False
        self.given_up = False

    async def beat(self) -> None:
        """Write one keep-alive frame: the callback given to a Pulse."""
        self.began += 1
        try:
            while self.stuck:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.given_up = True
            raise
        self.beaten.append(asyncio.get_running_loop().time())

    async def until(self, *, began: int = 0, beaten: int = 0) -> None:
        """Wait until at least `began` frames were begun and `beaten` were written."""
        async with asyncio.timeout(240):
            while self.began < began or len(self.beaten) < beaten:
                await asyncio.sleep(0)


@pytest.fixture
def heart() -> Heart:
    """A new counter of keep-alive frames."""
    return Heart()


async def test_keep_alive_is_sent_after_each_silent_interval(heart: Heart) -> None:
    """A keep-alive frame is sent each time the interval has passed without a write, and not earlier."""
    began = asyncio.get_running_loop().time()
    pulse = Pulse(heart.beat, 0.02)
    pulse.wait()
    await heart.until(beaten=2)
    pulse.close()
    assert heart.beaten[0] - began >= 0.02
    assert heart.beaten[1] - heart.beaten[0] >= 0.02


async def test_keep_alive_is_postponed_by_a_write(heart: Heart) -> None:
    """A timer that ends during a write, or before a whole interval has passed since one, sends no keep-alive frame."""
    pulse = Pulse(heart.beat, 60)
    pulse.wait()
    first = pulse._timer
    pulse.resting = True
    pulse._look()
    assert pulse._timer is None
    pulse.wait()
    pulse._look()
    assert pulse._timer is not None
    assert pulse._timer is not first
    await asyncio.sleep(0)
    pulse.close()
    assert heart.began == 0


async def test_keep_alive_uses_one_timer_for_many_writes(heart: Heart) -> None:
    """A thousand writes reuse the one running timer of a Pulse."""
    pulse = Pulse(heart.beat, 60)
    pulse.wait()
    timer = pulse._timer
    for _ in range(1000):
        pulse.resting = True
        pulse.wait()
    assert pulse._timer is timer
    pulse.close()


async def test_keep_alive_that_cannot_be_written_starts_no_second_one(heart: Heart) -> None:
    """While a keep-alive frame is stuck at a client that does not read, no other is begun; closing the Pulse cancels it."""
    heart.stuck = True
    pulse = Pulse(heart.beat, 0.001)
    pulse.wait()
    await heart.until(began=1)
    beating = pulse._beating
    assert beating is not None
    pulse.resting = True
    pulse.wait()
    assert pulse._timer is None
    pulse.close()
    with pytest.raises(asyncio.CancelledError):
        await beating
    assert (heart.began, heart.beaten, heart.given_up) == (1, [], True)


async def test_keep_alive_is_not_sent_after_close(heart: Heart) -> None:
    """A closed Pulse has its timer cancelled, and a later `wait` starts none."""
    pulse = Pulse(heart.beat, 0.001)
    pulse.wait()
    timer = pulse._timer
    pulse.close()
    assert timer is not None
    assert timer.cancelled()
    pulse._timer = None
    pulse.wait()
    assert pulse._timer is None
