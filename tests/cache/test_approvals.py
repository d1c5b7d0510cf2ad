"""Approval ids, under which a user allows one tool call."""

import asyncio
from collections.abc import Callable

import pytest

from router.cache import Approvals
from router.cache.approvals import ID, LASTS
from router.chat import Call
from router.config.values import Secret
from router.shared import Redis, RedisStore
from router.value import replace
from tests.support.services import redis_server

CALL = Call("c1", "delete_order", {"number": "A-1", "share": 1.0})
KEY = "a key of at least twenty characters"


class Clock:
    """A clock that only the test advances."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


def asked(approvals: Approvals, call: Call = CALL) -> Call:
    """Return the call with an approval id made for it, as the user `ann` sends it back on `chat-model`."""
    return replace(call, approval=approvals.request("ann", "chat-model", call))


async def test_approved_call_is_allowed_once() -> None:
    """An approval id allows its call the first time and not the second, so that a repeated request runs the tool once."""
    approvals = Approvals()
    call = asked(approvals)
    assert ID.fullmatch(call.approval)
    assert [await approvals.take("ann", "chat-model", call) for _ in range(2)] == [True, False]


async def test_approval_holds_when_a_browser_writes_a_number_differently() -> None:
    """An approval made for the argument 1.0 holds for a call with 1, as JavaScript writes it, and with its arguments in another order."""
    approvals = Approvals()
    call = replace(asked(approvals), arguments={"share": 1, "number": "A-1"})
    assert await approvals.take("ann", "chat-model", call)


OTHERS: dict[str, Callable[[Call], tuple[str, str, Call]]] = {
    "another caller": lambda call: ("ben", "chat-model", call),
    "another route": lambda call: ("ann", "gpt", call),
    "another call": lambda call: ("ann", "chat-model", replace(call, call_id="c2")),
    "another tool": lambda call: ("ann", "chat-model", replace(call, name="delete_all")),
    "other arguments": lambda call: ("ann", "chat-model", replace(call, arguments={"number": "A-2", "share": 1})),
    "one more argument": lambda call: ("ann", "chat-model", replace(call, arguments={**call.arguments, "force": True})),
    "a longer time": lambda call: ("ann", "chat-model", replace(call, approval=call.approval.replace("apr_", "apr_f", 1))),
    "no id": lambda call: ("ann", "chat-model", replace(call, approval="")),
    "an id of its own": lambda call: ("ann", "chat-model", replace(call, approval="aitxt-1")),
    "half an id": lambda call: ("ann", "chat-model", replace(call, approval=call.approval[:-1])),
}


@pytest.mark.parametrize("what", OTHERS)
async def test_approval_id_allows_no_other_call(what: str) -> None:
    """Another caller, route, call id, tool, argument or altered approval id is refused, and the original call is allowed afterwards."""
    approvals = Approvals()
    call = asked(approvals)
    assert not await approvals.take(*OTHERS[what](call))
    assert await approvals.take("ann", "chat-model", call)


async def test_approval_id_expires_after_an_hour() -> None:
    """An approval id is valid until LASTS seconds after it was made, and refused afterwards."""
    clock = Clock()
    approvals = Approvals(clock=clock)
    early, late = asked(approvals), asked(approvals)
    clock.now += LASTS - 2
    assert await approvals.take("ann", "chat-model", early)
    clock.now += 3
    assert not await approvals.take("ann", "chat-model", late)


async def test_replicas_with_one_key_accept_each_others_approval_ids() -> None:
    """Replicas accept each other's approval ids only under the same declared key; an id that was used stays used after an edit."""
    here, there = Approvals().under(KEY, None), Approvals().under(KEY, None)
    assert await there.take("ann", "chat-model", asked(here))
    assert await here.under(KEY, None).take("ann", "chat-model", asked(here))
    assert not await Approvals().under(f"{KEY}!", None).take("ann", "chat-model", asked(here))
    assert not await Approvals().take("ann", "chat-model", asked(Approvals()))
    used = asked(here)
    assert await here.take("ann", "chat-model", used)
    assert not await here.under(KEY, None).take("ann", "chat-model", used)


async def test_used_approval_ids_are_remembered_until_they_expire() -> None:
    """After LASTS seconds the three ids used before are forgotten, and only the newest one is remembered."""
    clock = Clock()
    approvals = Approvals(clock=clock)
    for _ in range(3):
        assert await approvals.take("ann", "chat-model", asked(approvals))
    clock.now += LASTS
    assert await approvals.take("ann", "chat-model", asked(approvals))
    assert len(approvals._used) == 1  # pyright: ignore[reportPrivateUsage]


async def test_approval_id_sent_to_replicas_at_once_is_used_by_one() -> None:
    """Of eight replicas that get the same approval id at once, one allows the call: they claim it in their shared Redis."""
    async with redis_server() as server:
        holders = [Redis(Secret(server.url)) for _ in range(8)]
        replicas = [Approvals().under(KEY, RedisStore(redis, "approvals")) for redis in holders]
        for redis in holders:
            await redis.looked_for()
        call = asked(replicas[0])
        taken = await asyncio.gather(*(one.take("ann", "chat-model", call) for one in replicas))
        for redis in holders:
            await redis.close()
    assert taken.count(True) == 1
