"""The answer of several targets as one stream, from the first that starts and those that continue it; `chain.py` has their order."""

import asyncio
import logging
import random
from collections.abc import Sequence

from router.chat import Ask, FileSort
from router.errors import TargetError, Unanswered
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
        if ask.output is None:
            return EventStream(_relayed(chain, relay), relay.fast)
        form = Form(ask.output, tools=bool(ask.tools) and ask.choice.kind != "none")
        return form.over(_relayed(chain, relay, form))  # the text is checked on its way: it takes no fast path

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


async def _relayed(chain: Chain, relay: Relay, form: Form | None = None) -> Events:
    """Stream the answer of the first target that starts and of those that continue it, each joined to the text before.
    Without a Finish at its end a target's answer broke off, or its text could not be joined; the attempt is recorded in each case.
    Tool calls are held until the event after them. If a token limit or content filter cut one of them off, none of them is passed on.
    form: the required form, which reads these events (`Form.over`); after a Finish that it found wrong the answer goes on
    """
    transcript, opened = relay.transcript, None
    relay.watch = watch = watch_here()
    try:
        opened = await chain.open(watch)
        if opened is None:
            raise chain.verdict()
        yield replace(opened.start, attempts=tuple(chain.attempts), meter=None)
        while opened is not None:
            if form is not None:
                form.reads(opened.start)
            event: Event | None = opened.first
            calls: list[ToolCall] = []
            try:
                while event is not None:
                    if calls and type(event) is not ToolCall:
                        for call in _released(calls, event, transcript, opened):
                            yield call
                    if type(event) is Text or type(event) is Thought:
                        opened.said.append(event.text)
                        if (seen := transcript.see(event) if type(event) is Text else event) is not None:
                            # The words after these may take the fast path, unless the transcript holds some back.
                            relay.opened = opened if transcript.joined else None
                            yield seen
                            relay.opened = None  # the generator runs again
                    elif type(event) is Finish:
                        if not transcript.joined and (rest := transcript.rest()) is not None:
                            yield rest
                        yield chain.finished(opened, event)
                        if form is None or form.wrong is None:
                            return
                        break
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
            if transcript.called:
                # The calls are complete, only the end was lost: they can be run.
                await chain.let_go(opened)
                yield Finish("tool-calls", chain.total(None))
                return
            opened = await chain.another(opened, form, transcript, watch)
        error = Broken if form is None else form.error or Broken
        yield Failure(error.code, error.sentence)
    finally:
        watch.close()
        if opened is not None:
            await chain.let_go(opened)


async def _following(opened: Opened, chain: Chain, transcript: Transcript, watch: Watch) -> Event | None:
    """Return the next event. None if the stream broke off or was silent for too long, also on the fast path: that is then recorded."""
    outcome, used = "timeout_idle", None
    try:
        if not watch.overdue:
            watch.wait(chain.policy.timeout.idle)
            return await opened.events.__anext__()
        watch.overdue = False
    except StopAsyncIteration:
        outcome = "cut"
    except TargetError as error:
        outcome, used = error.outcome, error.used
    except asyncio.CancelledError:
        if not watch.late():
            raise
    finally:
        watch.waiting = False
    chain.broke(opened, outcome, transcript, used)
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
