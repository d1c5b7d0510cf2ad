"""The answer of several targets as one stream, from the first that starts and those that continue it; `chain.py` has their order."""

import asyncio
import logging
import random
from collections.abc import Sequence

from router.chat import Ask
from router.errors import NoTarget, RouterError, TargetError, TargetSilent, Unanswered
from router.events import CUT_SHORT, Answer, Event, Events, EventStream, Failure, Finish, Text, Thought, ToolCall, ToolInput
from router.failover.attempt import Opened
from router.failover.candidate import Candidate, Pool
from router.failover.chain import Chain, FailureRules, chain_of
from router.failover.form import Form
from router.failover.hedge import Hedge
from router.failover.relay import Relay
from router.failover.rescue import Diverged, Transcript
from router.failover.watch import Watch, watch_here
from router.value import replace

log = logging.getLogger("router.failover")


def failover(targets: Sequence[Candidate | Pool], policy: FailureRules, chance: random.Random | None = None) -> Answer:
    """Return a function that answers a question by the first target that starts; where its answer breaks off, other targets continue it.
    Its stream raises NoTarget if the question excludes all targets, another Unanswered if none starts. It ends with a Failure if none continues.
    `targets`: in the route's order, a Candidate alone is a pool of one. `chance`: for the order in a pool, and the back-off before a retry.
    """
    pools = tuple(one if isinstance(one, Pool) else Pool((one,)) for one in targets)
    chosen = any(len(pool.members) > 1 for pool in pools)  # else the targets are asked in their order
    in_line = [candidate for pool in pools for candidate in pool.members]
    hedge = Hedge(policy.hedge) if policy.hedge else None
    idle = policy.timeout.idle
    chance = chance or random.Random()  # noqa: S311 - the order of a pool is no secret

    def ordered(ask: Ask) -> list[Candidate]:
        session = _held_by(ask)
        taken = set[str]()
        asked = pools if ask.held is None else [kept for pool in pools if (kept := pool.among(ask.held, taken)).members]
        order = [candidate for pool in asked for candidate in pool.order(chance, session)]
        if not order:
            raise NoTarget
        return order

    async def answered(ask: Ask, relay: Relay) -> Events:
        order = ordered(ask) if chosen or ask.held is not None else in_line
        chain = chain_of(order, policy, ask, chance)
        relay.watch = watch = watch_here()
        transcript, opened = relay.transcript, None
        error: type[RouterError] = Broken
        try:
            opened = await (chain.in_turn(watch) if hedge is None else chain.hedged(hedge, watch))
            if opened is None:
                raise chain.verdict()
            yield replace(opened.start, attempts=tuple(chain.attempts), meter=None)
            form = None if ask.output is None else Form(ask.output, tools=bool(ask.tools) and ask.choice.kind != "none")
            while opened is not None:
                of_target = _relayed(opened, chain, watch, relay, idle)
                events = of_target if form is None else form.over(of_target, opened.start)
                try:
                    async for event in events:
                        yield event
                        if isinstance(event, Finish):
                            return
                finally:
                    await events.aclose()
                if transcript.called:
                    # The calls are complete, only the end was lost: they can be run.
                    yield Finish("tool-calls", chain.total(None))
                    return
                if form is None:
                    opened = await chain.rescue(opened.candidate, transcript, watch)
                else:
                    opened, error = await chain.formed(opened, form, transcript, watch), form.error or Broken
        finally:
            watch.close()
            if opened is not None and not opened.closed:
                await chain.let_go(opened)  # the client left before the first event was passed on
        yield Failure(error.code, error.sentence)

    def answer(ask: Ask) -> Events:
        events = answered(ask, relay := Relay(idle))
        return EventStream(events, relay.fast) if ask.output is None else events  # text of a required form is checked on its way

    return answer


class Broken(Unanswered):
    """The error in the Failure that ends an answer which broke off and which no target can continue. It is not raised."""

    sentence = "The model's answer broke off. Please try again."


LONG = 2048
"""Characters (about 512 tokens) from which a question without a chat stays at one target: no provider caches shorter prompts."""


def _held_by(ask: Ask) -> str:
    """Return the session by which a pool keeps a chat at one target (`Ask.session`); empty for a question that is load balanced.
    It is load balanced if it has no chat id, no assistant message, and fewer than LONG characters.
    """
    if ask.chat or any(message.role == "assistant" for message in ask.messages):
        return ask.session
    size = ask.size + sum(len(tool.description) + len(str(tool.parameters)) for tool in ask.tools)
    return ask.session if size >= LONG else ""


async def _relayed(opened: Opened, chain: Chain, watch: Watch, relay: Relay, idle: float) -> Events:
    """Stream the events of one target, joined to the text before, and close its stream at the end.
    Without a Finish at the end the answer broke off, or its text could not be joined; the attempt is recorded in each case.
    Tool calls are held until the event after them. If a token limit or content filter cut one of them off, none of them is passed on.
    """
    event: Event | None = opened.first
    transcript = relay.transcript
    calls: list[ToolCall] = []
    try:
        while event is not None:
            if calls and type(event) is not ToolCall:
                for call in _released(calls, event, transcript, opened):
                    yield call
            if type(event) is Text or type(event) is Thought:
                opened.said.append(event.text)
                seen = transcript.see(event) if type(event) is Text else event
                if seen is not None:
                    # The words after these may take the fast path, unless the transcript holds some back.
                    relay.opened = opened if transcript.joined else None
                    yield seen
                    relay.opened = None  # the generator runs again
            elif type(event) is Finish:
                if not transcript.joined and (rest := transcript.rest()) is not None:
                    yield rest
                yield chain.finished(opened, event)
                return
            elif type(event) is ToolCall:
                calls.append(event)
            else:
                if type(event) is ToolInput:
                    opened.said.append(event.part)
                yield event
            try:
                event = await _following(opened, watch, idle)
            except TargetError as error:
                chain.broke(opened, error.outcome, transcript, error.used)
                break
        else:
            chain.broke(opened, "cut", transcript)
        for call in _released(calls, None, transcript, opened):
            yield call
    except Diverged:
        chain.attempts.append(opened.ended("diverged", said=len(transcript.text)))
    finally:
        await chain.let_go(opened)


async def _following(opened: Opened, watch: Watch, idle: float) -> Event | None:
    """Return the next event, or None at the end. Raises TargetSilent after `idle` seconds, or if a wait on the fast path was too long."""
    if watch.overdue:
        watch.overdue = False
        raise TargetSilent(opened.candidate.name, "timeout_idle")
    watch.wait(idle)
    try:
        return await opened.events.__anext__()
    except StopAsyncIteration:
        return None
    except asyncio.CancelledError:
        if watch.late():
            raise TargetSilent(opened.candidate.name, "timeout_idle") from None
        raise
    finally:
        watch.waiting = False


def _released(calls: list[ToolCall], event: Event | None, transcript: Transcript, opened: Opened) -> list[ToolCall]:
    """Return the held calls, empty the list, and record them in the transcript. None of them is returned if the event, which follows them,
    ends the answer at a limit that cut one off: half a call is not run, and not asked for again, since the same limit would cut it off.
    """
    released = [*calls]
    calls.clear()
    if isinstance(event, Finish) and event.reason in CUT_SHORT and any(call.malformed is not None for call in released):
        fields = {"target": opened.candidate.name, "calls": [call.name for call in released]}
        log.info("calls cut off at the limit are left out", extra={"fields": fields})
        return []
    transcript.called = transcript.called or bool(released)
    return released
