"""Drills: configuration as tested code.

    - name: chat survives OpenAI
      given: {gpt: [503, 503], claude: ok}
      ask: {model: chat-model, text: hi}
      expect: {served_by: claude, within: 3s}

A drill runs on a generation as in production: its pipelines, its failover, its policies. Only the targets are simulated, and time does
not pass: the loop's clock jumps to the next timer. Every drill begins with closed circuit breakers and no statistics of its
targets. Optional targets that lack a variable are simulated like the others.
"""

import asyncio
import random
from array import array
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from functools import cache, partial
from itertools import groupby
from typing import cast

from router.attempt import LET_GO, Attempt
from router.chat import Ask, CacheControl, File, Message
from router.config.declaration import Declaration, TargetConfig
from router.config.drills import Drill
from router.config.values import Fault
from router.embed import Embed, EmbedCall, Split, Vector
from router.errors import Complaint, ContentFiltered, ContextTooLong, Misfit, Place, RouterError, TargetDown, TargetError, TimedOut
from router.events import Answer, Event, Events, Failure, Finish, Order, Start, Text, Usage
from router.generation import Carryover, Compiled, Ground, build
from router.steps.session import session
from router.targets import Connections, Learned, Target, facts_of, lane_of, open_target, refusal
from router.toolbox import load
from router.usage import tokens_in
from router.value import Mutable, Value, replace

WORDS = "A drill shows before the fault does what becomes of an answer when a target breaks off in the middle of it."
PACE = 0.05
"""Seconds between two words of a simulated answer."""
FOREVER = 86_400.0
"""Seconds that a silent target sends nothing."""
PAST_THE_CACHE = CacheControl(max_age=0.0, store=False)
"""Bypass the cache: a drill tests targets, and each of its questions is asked."""
PICTURE = File("image/png", "data:image/png;base64,iVBORw0KGgo=")
CHARACTERS = 4
"""Characters per token in a long run of one letter."""

PLAYED: dict[str, Callable[[str], TargetError]] = {
    "down": lambda name: TargetDown(name, "connection"),
    "too_long": lambda name: ContextTooLong(name, "context_too_long"),
    "filtered": lambda name: ContentFiltered(name, "content_filter"),
}
"""Fault → function that makes its error, for faults that are only an error."""


class Drilled(Value, frozen=True):
    """The result of a drill.

    place: the drill's position in its file; None if unknown
    faults: differences from the expectation, as sentences; empty if it passed
    tried: the attempts at the last question, each as `target outcome`
    seconds: virtual seconds that the answer to the last question took
    """

    name: str
    place: Place | None
    faults: tuple[str, ...]
    tried: tuple[str, ...]
    seconds: float

    def complaint(self, file: str) -> Complaint:
        """Return a failed drill as a complaint, at its place, or at line 1 of `file` if that is unknown."""
        tried = f" (tried: {', '.join(self.tried)})" if self.tried else ""
        return Complaint(self.place or Place(file, 1, 1), f"the drill `{self.name}` fails: {'; '.join(self.faults)}{tried}")


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            # Cancelled timers are dropped only after this: a jump to one of them would wait for the next in real time.
            timers = cast("list[asyncio.TimerHandle]", self._scheduled)  # type: ignore[attr-defined]
            due = [timer.when() for timer in timers if not timer.cancelled()]
            self._now = max(self._now, min(due, default=0.0))
        super()._run_once()  # type: ignore[misc]


def drilled(declaration: Declaration, names: Sequence[str] = ()) -> list[Drilled]:
    """Run the drills of a configuration, or only those named, on an event loop of its own. Return the result of each, in their order.

    Names that no drill has are ignored. Raises ConfigError if the configuration cannot be built.
    """
    chosen = [drill for drill in declaration.routes.drills if not names or drill.name in names]
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_all(declaration, chosen))


class _Outcome(Mutable):
    """The outcome of one question of a drill. `error`: the code of its error, empty if it was answered; `seconds`: of virtual time."""

    events: list[Event]
    error: str = ""
    tried: tuple[Attempt, ...] = ()
    seconds: float = 0.0

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Text))


async def _all(declaration: Declaration, drills: Sequence[Drill]) -> list[Drilled]:
    results = list[Drilled]()
    unbroken: dict[str, str] = {}
    """Route and question → the text of the answer without any fault."""
    connections, tools = Connections(), cache(load)  # a file of tools is run once, however many drills there are

    @contextmanager
    def staged(alone: Declaration, given: Mapping[str, Sequence[Fault]]) -> Generator[Compiled]:
        ground = Ground(_opener(given), asyncio.get_running_loop().time, partial(random.Random, 0), tools, _splitter(given))
        generation = build(alone, Carryover(connections), ground)
        try:
            yield next(iter(generation.routes.values()))
        finally:
            generation.discard()

    for drill in drills:
        alone = _alone(declaration, drill)
        name = f"{next(iter(alone.routes.routes))} {replace(drill.ask, times=1, every=None)}"  # the target may depend on all of it
        if name not in unbroken:
            with staged(alone, {}) as route:
                unbroken[name] = (await _ask(route, drill)).text
        given = {str(target): (faults,) if isinstance(faults, Fault) else faults for target, faults in drill.given.items()}
        with staged(alone, given) as route:
            results.append(await _run(route, drill, unbroken[name]))
    return results


def _alone(declaration: Declaration, drill: Drill) -> Declaration:
    """Return a declaration, with a digest of its own, of only the drilled route and its pipeline, tools and targets, optional ones too."""
    all_of_it = declaration.routes
    name = next((name for name, route in all_of_it.routes.items() if drill.ask.model in (name, *route.aliases)), drill.ask.model)
    # The seed of chance decides which target of a pool comes first, not the words of the question.
    route = replace(all_of_it.routes[name], affinity="off")
    server = replace(all_of_it.server, redis=None)  # a drill shares nothing with replicas
    routes = replace(all_of_it, server=server, routes={name: route}, targets={one: all_of_it.targets[one] for one in route.names})
    pipelines = {name: declaration.pipelines[name] for name in (str(route.pipeline),) if route.kind == "chat"}
    tools = {one.use: declaration.tools[one.use] for one in route.tool_sets}
    digest = f"{declaration.digest}_drilled"
    return replace(declaration, digest=digest, routes=routes, pipelines=pipelines, tools=tools, skipped={})


async def _run(route: Compiled, drill: Drill, unbroken: str) -> Drilled:
    came = _Outcome([])
    for number in range(drill.ask.times):
        if number and drill.ask.every:
            await asyncio.sleep(drill.ask.every)
        came = await _ask(route, drill)
    return Drilled(drill.name, drill.name.place, tuple(_faults(drill, came, unbroken)), _tries(came.tried), round(came.seconds, 3))


def _opener(given: Mapping[str, Sequence[Fault]]) -> Callable[[str, TargetConfig, float, Connections, Learned], Target]:
    """Return a replacement for `open_target` whose targets give simulated answers. `given`: target → its faults; all others answer."""

    def opened(name: str, declared: TargetConfig, connect: float, connections: Connections, learned: Learned) -> Target:
        try:
            real = open_target(name, declared, connect, connections, learned)
        except Misfit:  # it lacks what an optional target may lack
            real = Target(name, lane_of(declared)[0], str(declared.model), _played(name, "", ()), facts_of(declared), learned)
        return replace(real, answer=_played(name, real.model, given.get(name) or (Fault("ok"),)), ready=None, warm=None, at=None)

    return opened


def _splitter(given: Mapping[str, Sequence[Fault]]) -> Callable[[str, TargetConfig, float, Connections], Split]:
    """Return a function that gives a target's Split, with one simulated call per question. `given`: target → its faults."""

    def split(name: str, _declared: TargetConfig, _connect: float, _connections: Connections) -> Split:
        call = _embedded(name, given.get(name) or (Fault("ok"),))
        return lambda embed: [EmbedCall(partial(call, embed), lambda: 1)]

    return split


class _Faults:
    """The faults of one simulated target, attempt by attempt; the last one is repeated."""

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        self._name, self._left = name, [fault for fault in faults for _ in range(fault.times or 1)]

    async def next(self) -> Fault:
        """Return the next attempt's fault after its delay (FOREVER for `silent`). Raises TargetError if the fault allows no answer."""
        fault = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        await asyncio.sleep(fault.after)
        if fault.status is not None:
            raise refusal(self._name, fault.status, headers={} if fault.retry is None else {"retry-after": str(fault.retry)})
        if fault.what in PLAYED:
            raise PLAYED[fault.what](self._name)
        if fault.what == "silent":
            await asyncio.sleep(FOREVER)
        return fault


def _embedded(name: str, given: Sequence[Fault]) -> Callable[[Embed], Awaitable[tuple[Sequence[Vector], Usage | None]]]:
    faults = _Faults(name, given)

    async def embedded(embed: Embed) -> tuple[Sequence[Vector], Usage | None]:
        fault = await faults.next()
        if fault.what == "stall":
            await asyncio.sleep(fault.lasts or FOREVER)
        if fault.what in ("cut", "empty"):
            raise TargetDown(name, "cut" if fault.what == "cut" else "malformed")
        return [array("d", [1.0]) for _ in embed.inputs], Usage(1)

    return embedded


def _played(name: str, model: str, given: Sequence[Fault]) -> Answer:
    faults = _Faults(name, given)

    async def played(ask: Ask) -> Events:
        fault = await faults.next()
        yield Start(name, model)
        words = [] if fault.what == "empty" else _rest(ask).split(" ")
        for number, word in enumerate(words):
            if number == len(words) // 2 and fault.what in ("cut", "stall"):
                if fault.what == "stall":
                    await asyncio.sleep(fault.lasts or FOREVER)
                if fault.lasts is None:
                    raise TargetDown(name, "cut")
            yield Text(word if number == len(words) - 1 else f"{word} ")
            await asyncio.sleep(PACE)
        yield Finish("stop", Usage(1, len(words)))

    return played


def _rest(ask: Ask) -> str:
    """Return the simulated words that are left to say: all, or those after the beginning that another target said."""
    said = next((message.text for message in reversed(ask.messages) if message.role == "assistant"), "")
    return WORDS.removeprefix(said).lstrip() if said and WORDS.startswith(said) else WORDS


async def _ask(route: Compiled, drill: Drill) -> _Outcome:
    """Ask the drill's question once, or for the embedding of its text, and return the outcome."""
    clock = asyncio.get_running_loop().time
    began, total, came, order = clock(), route.declared.timeout.total, _Outcome([]), Order()
    embed = Embed(model=route.name, inputs=(drill.ask.text,), until=began + total)
    missing = (drill.ask.tokens or 0) - tokens_in(drill.ask.text)
    said = drill.ask.text + " " * (missing > 0) + "x" * (CHARACTERS * missing)
    asked = (Message("user", (said, *([PICTURE] if drill.ask.image else []))),)
    here = drill.ask.circumstances
    ask = Ask(model=route.name, messages=asked, until=began + total, cache=PAST_THE_CACHE, circumstances=here)
    try:
        async with asyncio.timeout(total):
            if route.embed is not None:
                await route.embed(embed)
            else:
                async with aclosing(session()(route.answer)(ask)) as events:
                    async for event in events:
                        came.events.append(order.see(event))
                order.end()
    except TimeoutError:
        came.error = TimedOut.code
    except RouterError as error:
        came.error = error.code
    came.tried = (*embed.trail.attempts, *(one for one in ask.trail.attempts if one.outcome != LET_GO))
    if came.events and isinstance(last := came.events[-1], Failure):
        came.error = last.code
    came.seconds = clock() - began
    return came


def _faults(drill: Drill, came: _Outcome, unbroken: str) -> list[str]:
    """Return the differences between outcome and expectation, as sentences. `unbroken`: the text of the answer without faults."""
    expect, found = drill.expect, list[str]()

    def compare(words: str, expected: object, got: object) -> None:
        if expected is not None and expected != got:
            found.append(f"{words} {expected} was expected, it was {got}")

    if came.error != (expect.fails or ""):
        found.append(f"it ended with {came.error or 'an answer'}" + (f", {expect.fails} was expected" if expect.fails else ""))
    elif not came.error and came.text != unbroken:
        found.append(f"the answer is not whole: {came.text!r}")
    compare("served by", expect.served_by, came.tried[-1].target if came.tried else "nobody")
    compare("tried", expect.tried and list(expect.tried), list(_tries(came.tried)))
    compare("events", expect.events and list(expect.events), [kind for kind, _ in groupby(type(event).__name__ for event in came.events)])
    compare("finish", expect.finish, came.events[-1].reason if came.events and isinstance(came.events[-1], Finish) else "none")
    if expect.within is not None and came.seconds > expect.within.most:
        found.append(f"it took {came.seconds:.2f} s, {expect.within.most:g} s were expected at most")
    if expect.within is not None and came.seconds < expect.within.least:
        found.append(f"it took {came.seconds:.2f} s, {expect.within.least:g} s were expected at least")
    return found


def _tries(tried: Sequence[Attempt]) -> tuple[str, ...]:
    return tuple(f"{attempt.target} {attempt.outcome}" for attempt in tried)
