"""Signs of life: when they come, and that none comes after the end."""

import asyncio

import pytest

from router.answering.pulse import Pulse


class Heart:
    """Counts its beats; while `stuck`, a beat cannot be written."""

    def __init__(self) -> None:
        self.began = 0
        self.beaten: list[float] = []
        self.stuck = False
        self.given_up = False

    async def beat(self) -> None:
        """What a pulse is given to call."""
        self.began += 1
        try:
            while self.stuck:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.given_up = True
            raise
        self.beaten.append(asyncio.get_running_loop().time())

    async def until(self, *, began: int = 0, beaten: int = 0) -> None:
        """Wait for so many."""
        async with asyncio.timeout(240):
            while self.began < began or len(self.beaten) < beaten:
                await asyncio.sleep(0)


@pytest.fixture
def heart() -> Heart:
    """A fresh one."""
    return Heart()


async def test_silence_is_broken_again_and_again(heart: Heart) -> None:
    """Not before the interval is over, and then each time it is."""
    began = asyncio.get_running_loop().time()
    pulse = Pulse(heart.beat, 0.02)
    pulse.wait()
    await heart.until(beaten=2)
    pulse.close()
    assert heart.beaten[0] - began >= 0.02
    assert heart.beaten[1] - heart.beaten[0] >= 0.02


async def test_writing_puts_it_off(heart: Heart) -> None:
    """The timer looks and finds that somebody writes, or that it is too early: there is no beat, and it does not stop looking."""
    pulse = Pulse(heart.beat, 60)
    pulse.wait()
    first = pulse._timer
    pulse.rest()
    pulse._look()
    assert pulse._timer is None
    pulse.wait()
    pulse._look()
    assert pulse._timer is not None
    assert pulse._timer is not first
    await asyncio.sleep(0)
    pulse.close()
    assert heart.began == 0


async def test_write_starts_no_timer_of_its_own(heart: Heart) -> None:
    """A thousand writes, one timer."""
    pulse = Pulse(heart.beat, 60)
    pulse.wait()
    timer = pulse._timer
    for _ in range(1000):
        pulse.rest()
        pulse.wait()
    assert pulse._timer is timer
    pulse.close()


async def test_a_client_that_does_not_read_holds_up_a_single_beat(heart: Heart) -> None:
    """While one cannot be written no other is begun; the end gives it up."""
    heart.stuck = True
    pulse = Pulse(heart.beat, 0.001)
    pulse.wait()
    await heart.until(began=1)
    beating = pulse._beating
    assert beating is not None
    pulse.rest()
    pulse.wait()
    assert pulse._timer is None
    pulse.close()
    with pytest.raises(asyncio.CancelledError):
        await beating
    assert (heart.began, heart.beaten, heart.given_up) == (1, [], True)


async def test_closed_is_closed(heart: Heart) -> None:
    """Neither the timer nor a late `wait` brings another beat."""
    pulse = Pulse(heart.beat, 0.001)
    pulse.wait()
    timer = pulse._timer
    pulse.close()
    assert timer is not None
    assert timer.cancelled()
    pulse._timer = None
    pulse.wait()
    assert pulse._timer is None
