"""The answer of several targets as one stream, from the first that starts and those that continue it; `chain.py` has their order."""

import logging
import random
from collections.abc import Sequence

from router.chat import Ask
from router.errors import NoTarget, RouterError, TargetError, Unanswered
from router.events import CUT_SHORT, Answer, Event, Events, EventStream, Failure, Finish, Text, Thought, ToolCall, ToolInput
from router.failover.attempt import Opened, following
from router.failover.candidate import Candidate, Pool
from router.failover.chain import Chain, FailureRules
from router.failover.form import Form
from router.failover.hedge import Hedge
from router.failover.relay import Relay
from router.failover.rescue import Diverged, Transcript
from router.failover.watch import Watch
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

    async def answered(ask: Ask, relay: Relay) -> Events:
        if chosen or ask.held is not None:
            session = _held_by(ask)
            taken = set[str]()
            asked = pools if ask.held is None else [kept for pool in pools if (kept := pool.among(ask.held, taken)).members]
            order = [candidate for pool in asked for candidate in pool.order(chance, session)]
        else:
            order = in_line
        if not order:
            raise NoTarget
        chain = Chain(order, policy, hedge, ask, chance)
        relay.watch = watch = Watch()
        transcript, opened = relay.transcript, None
        error: type[RouterError] = Broken
        try:
            opened = await chain.open(watch)
            if opened is None:
                raise chain.verdict()
            yield replace(opened.start, attempts=tuple(chain.attempts), meter=None)
            form = None if ask.output is None else Form(ask.output, tools=bool(ask.tools) and ask.choice.kind != "none")
            while opened is not None:
                of_target = _relayed(opened, chain, transcript, watch, relay)
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
        events = answered(ask, relay := Relay(policy.timeout.idle))
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


async def _relayed(opened: Opened, chain: Chain, transcript: Transcript, watch: Watch, relay: Relay) -> Events:
    """Stream the events of one target, joined to the text before, and close its stream at the end.
    Without a Finish at the end the answer broke off, or its text could not be joined; the attempt is recorded in each case.
    Tool calls are held until the event after them. If a token limit or content filter cut one of them off, none of them is passed on.
    """
    event: Event | None = opened.first
    calls: list[ToolCall] = []
    try:
        while event is not None:
            if isinstance(event, ToolCall):
                calls.append(event)
            else:
                match event:
                    case Text(piece) | Thought(piece) | ToolInput(_, _, piece):
                        opened.said.append(piece)
                    case _:
                        pass
                if calls:
                    # Half a call is not run, and not asked for again: the same limit would cut it off again.
                    at_limit = isinstance(event, Finish) and event.reason in CUT_SHORT
                    if at_limit and any(call.malformed is not None for call in calls):
                        fields = {"target": opened.candidate.name, "calls": [call.name for call in calls]}
                        log.info("calls cut off at the limit are left out", extra={"fields": fields})
                        calls.clear()
                    for call in _released(calls, transcript):
                        yield call
                if isinstance(event, Finish):
                    if not transcript.joined and (rest := transcript.rest()) is not None:
                        yield rest
                    yield chain.finished(opened, event)
                    return
                if (seen := transcript.see(event)) is not None:
                    relay.gives(seen, opened, held=bool(calls))
                    yield seen
                    relay.opened = None  # the generator runs again
            try:
                event = await following(opened.events, watch, chain.timeout.idle, opened.candidate.name, "timeout_idle")
            except TargetError as error:
                chain.broke(opened, error.outcome, transcript, error.used)
                break
        else:
            chain.broke(opened, "cut", transcript)
        for call in _released(calls, transcript):
            yield call
    except Diverged:
        chain.note(opened.ended("diverged", said=len(transcript.text)))
    finally:
        await chain.let_go(opened)


def _released(calls: list[ToolCall], transcript: Transcript) -> list[ToolCall]:
    """Return the held calls, empty the list, and record them in the transcript."""
    released = list(calls)
    calls.clear()
    for call in released:
        transcript.see(call)
    return released
