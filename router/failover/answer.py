"""The answer of several targets as one stream, from the first that starts and those that continue it; `chain.py` has their order."""

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import aclosing

from router.chat import Ask, FileSort
from router.errors import RouterError, TargetError, Unanswered
from router.events import CUT_SHORT, Answer, Event, Events, EventStream, Failure, Finish, Text, Thought, ToolCall, ToolInput
from router.failover.attempt import Opened
from router.failover.candidate import Candidate, Pool
from router.failover.chain import Chain, FailureRules, ranked
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
    chance = chance or random.Random()  # noqa: S311 - the order of a pool is no secret
    only = pools[0].members if len(pools) == 1 and not chosen else None

    def order_of(ask: Ask, shows: frozenset[FileSort]) -> Sequence[Candidate]:
        if only is not None and ask.held is None and ask.fault is None:
            return only
        order = in_line
        if chosen or ask.held is not None:
            session, taken = _held_by(ask), set[str]()
            asked = pools if ask.held is None else [kept for pool in pools if (kept := pool.among(ask.held, taken)).members]
            order = [candidate for pool in asked for candidate in pool.order(chance, session)]
        return ranked(order, ask, shows)

    def answer(ask: Ask) -> Events:
        chain, relay = Chain(order_of, policy, hedge, ask, chance), Relay(policy.timeout.idle)
        if ask.output is not None:
            return _formed(chain, relay, Form(ask.output, tools=bool(ask.tools) and ask.choice.kind != "none"))
        return EventStream(_relayed(chain, relay), relay.fast)

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


async def _relayed(chain: Chain, relay: Relay, alone: Opened | None = None) -> Events:
    """Stream the answer of the first target that starts and of those that continue it, each joined to the text before.
    Without a Finish at its end a target's answer broke off, or its text could not be joined; the attempt is recorded in each case.
    Tool calls are held until the event after them. If a token limit or content filter cut one of them off, none of them is passed on.
    alone: an open stream, to relay nothing but its events
    """
    transcript, opened = relay.transcript, alone
    try:
        if opened is None:
            relay.watch = watch_here()
            opened = await chain.open(relay.watch)
            if opened is None:
                raise chain.verdict()
            yield replace(opened.start, attempts=tuple(chain.attempts), meter=None)
        watch = relay.watch
        while opened is not None:
            event: Event | None = opened.first
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
                    event = await _following(opened, chain, transcript, watch)
                for call in _released(calls, None, transcript, opened):
                    yield call
            except Diverged:
                chain.attempts.append(opened.ended("diverged", said=len(transcript.text)))
            if alone is not None:
                return
            if transcript.called:
                # The calls are complete, only the end was lost: they can be run.
                yield Finish("tool-calls", chain.total(None))
                return
            await chain.let_go(opened)
            opened = await chain.rescue(opened.candidate, transcript, watch)
        yield Failure(Broken.code, Broken.sentence)
    finally:
        if alone is None:
            relay.watch.close()
        if opened is not None:
            await chain.let_go(opened)


async def _formed(chain: Chain, relay: Relay, form: Form) -> Events:
    """Stream an answer with a required form. A target whose text is not of that form corrects it."""
    error: type[RouterError] = Broken
    relay.watch = watch = watch_here()
    opened = None
    try:
        opened = await chain.open(watch)
        if opened is None:
            raise chain.verdict()
        yield replace(opened.start, attempts=tuple(chain.attempts), meter=None)
        while opened is not None:
            async with aclosing(form.over(_relayed(chain, relay, opened), opened.start)) as events:
                async for event in events:
                    yield event
                    if isinstance(event, Finish):
                        return
            if relay.transcript.called:
                yield Finish("tool-calls", chain.total(None))  # only the end was lost
                return
            opened, error = await chain.formed(opened, form, relay.transcript, watch), form.error or Broken
    finally:
        watch.close()
        if opened is not None:
            await chain.let_go(opened)  # the client left before the first event was passed on
    yield Failure(error.code, error.sentence)


async def _following(opened: Opened, chain: Chain, transcript: Transcript, watch: Watch) -> Event | None:
    """Return the next event. None if the stream broke off or was silent for too long, also on the fast path: that is then recorded."""
    if watch.overdue:
        watch.overdue = False
        chain.broke(opened, "timeout_idle", transcript)
        return None
    watch.wait(chain.policy.timeout.idle)
    try:
        return await opened.events.__anext__()
    except StopAsyncIteration:
        chain.broke(opened, "cut", transcript)
    except TargetError as error:
        chain.broke(opened, error.outcome, transcript, error.used)
    except asyncio.CancelledError:
        if not watch.late():
            raise
        chain.broke(opened, "timeout_idle", transcript)
    finally:
        watch.waiting = False
    return None


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
