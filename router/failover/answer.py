"""The answer of several targets as one stream, from the first that starts and those that continue it; `chain.py` has their order."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from router.chat import NO_FILES, Ask, FileSort, TextMessages
from router.errors import TargetError
from router.events import CUT_SHORT, WORDS, Answer, Event, Events, EventStream, Finish, Start, ToolCall, ToolInput
from router.failover.attempt import Opened
from router.failover.candidate import Candidate, Pool
from router.failover.chain import Chain, FailureRules, ranked
from router.failover.form import Form
from router.failover.hedge import Hedge
from router.failover.relay import Relay
from router.failover.rescue import Diverged, Transcript
from router.failover.watch import Overdue, watch_here

log = logging.getLogger("router.failover")


def failover(targets: Sequence[Candidate | Pool], policy: FailureRules, chance: random.Random | None = None) -> Answer:
    """Return a function that answers a question by the first target that starts; where its answer breaks off, other targets continue it.
    Its stream raises NoTarget if the question excludes all targets, another Unanswered if none starts. It ends with a Failure if none continues.
    `targets`: in the route's order, a Candidate alone is a pool of one. `chance`: for the order in a pool, and the back-off before a retry.
    """
    pools = [one if isinstance(one, Pool) else Pool((one,)) for one in targets]
    in_line = tuple([candidate for pool in pools for candidate in pool.members])
    chosen = len(in_line) > 1 and any(len(pool.members) > 1 for pool in pools)  # else the targets are asked in their order
    hedge = Hedge(policy.hedge) if policy.hedge else None
    chance = chance or random.Random()  # noqa: S311 - the order of a pool is no secret
    only = in_line if len(in_line) == 1 else None
    idle = policy.timeout.idle

    def order_of(ask: Ask, shows: frozenset[FileSort]) -> Sequence[Candidate]:
        order = in_line
        if chosen or ask.held is not None:
            session, taken = _held_by(ask), set[str]()
            asked = pools if ask.held is None else [kept for pool in pools if (kept := pool.among(ask.held, taken)).members]
            order = [candidate for pool in asked for candidate in pool.order(chance, session)]
        return ranked(order, ask, shows)

    def begun(ask: Ask) -> Chain:
        shows = NO_FILES if ask.messages.__class__ is TextMessages else ask.shows  # the usual case without the call of a property
        order = only if only is not None and ask.held is None and ask.fault is None else order_of(ask, shows)
        chain = Chain(policy, hedge, ask, chance, shows, order, order)
        ask.trail.calls.append(chain.attempts)
        return chain

    def answer(ask: Ask) -> Events:
        relay = Relay(idle=idle)
        if ask.output is None:
            return EventStream(_relayed(begun, ask, relay), relay.fast)
        form = Form(ask.output, tools=bool(ask.tools) and ask.choice.kind != "none")
        return form.over(_relayed(begun, ask, relay, form))  # the text is checked on its way: it takes no fast path

    return answer


LONG = 2048
"""Characters (about 512 tokens) from which a question without a chat stays at one target: no provider caches shorter prompts."""


def _held_by(ask: Ask) -> str:
    """Return the session by which a pool keeps a chat at one target (`Ask.session`); empty for a question that is load balanced.
    It is load balanced if it has no chat id, no assistant message, and fewer than LONG characters.
    """
    if ask.chat or any(message.role == "assistant" for message in ask.messages):
        return ask.session()
    size = ask.extent[0] + sum(len(tool.description) + len(str(tool.parameters)) for tool in ask.tools)
    return ask.session() if size >= LONG else ""


async def _relayed(begun: Callable[[Ask], Chain], ask: Ask, relay: Relay, form: Form | None = None) -> Events:
    """Stream the answer of the first target that starts and of those that continue it, each joined to the text before.
    Without a Finish at its end a target's answer broke off, or its text could not be joined; the attempt is recorded in each case.
    Tool calls are held until the event after them. If a token limit or content filter cut one of them off, none of them is passed on.
    begun: returns the chain of the question, with the targets in the order in which it asks them now
    form: the required form, which reads these events (`Form.over`); after a Finish that it found wrong the answer goes on
    """
    chain, opened = begun(ask), None
    relay.watch = watch = watch_here()
    calls: list[ToolCall] = []
    try:
        opened = await (chain.in_turn(watch) if chain.hedge is None else chain.hedged(chain.hedge, watch))
        if opened is None:
            raise chain.verdict()
        start = opened.start  # all its fields are passed on but the meter: `replace` would take four times as long
        yield Start(start.target, start.model, tuple(chain.attempts), start.used, start.cache, start.age, start.omitted, start.output)
        while opened is not None:
            if form is not None:
                form.reads(opened.start)
            if relay.joined:
                opened.said = relay.said
            event: Event = opened.first
            try:
                while True:
                    if calls and type(event) is not ToolCall:
                        for call in _released(calls, event, relay, opened):
                            yield call
                    if type(event) in WORDS:
                        if (seen := relay.see(event, opened)) is not None:  # pyright: ignore[reportArgumentType] - they are Words
                            yield seen
                        relay.opened = None  # the generator runs again
                    elif type(event) is Finish:
                        if not relay.joined and (rest := relay.rest()) is not None:
                            yield rest
                        yield chain.finished(opened, event)
                        if form is None or form.wrong is None:
                            return
                        break
                    elif type(event) is ToolCall:
                        calls.append(event)
                    else:
                        if type(event) is ToolInput:
                            relay.apart(opened).append(event.part)
                        yield event
                    watch.wait(relay.idle)
                    event = await opened.events.__anext__()
                    watch.waiting = False
            except (Diverged, Overdue, StopAsyncIteration, TargetError, asyncio.CancelledError) as error:
                if not chain.broke(opened, error, relay, watch):
                    raise
            for call in _released(calls, None, relay, opened):
                yield call
            opened = await chain.another(opened, form, relay, watch)
        yield chain.end(form, relay)
    finally:
        watch.close()
        if opened is not None:
            await chain.let_go(opened)


def _released(calls: list[ToolCall], event: Event | None, transcript: Transcript, opened: Opened) -> list[ToolCall]:
    """Return the held calls, empty the list, and record them in the transcript. Return none if the next event shows that one was cut off.
    Half a call is not run, and not asked for again: the same token limit or content filter would cut it off again.
    event: the event after the calls; None if the stream broke off
    """
    released = [*calls]
    calls.clear()
    if isinstance(event, Finish) and event.reason in CUT_SHORT and any(call.malformed is not None for call in released):
        fields = {"target": opened.candidate.name, "calls": [call.name for call in released]}
        log.info("calls cut off at the limit are left out", extra={"fields": fields})
        return []
    transcript.called = transcript.called or bool(released)
    return released
