"""Fault injection for one request: its first target fails on purpose, to show what follows.

    429      the target refuses: too many requests
    cut      the answer breaks off after its first words
    stall    the answer stops after its first words, until a timeout
    garbage  the answer is malformed after its first words

The fault happens at each try of that target within the request. The target's breaker, load and retry budget are neither used nor changed,
so other requests are not affected. The server decides who may ask for a fault.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import aclosing

from router.chat import Ask, FileSort, InducedFault
from router.errors import TargetDown
from router.events import Answer, Events, Finish, Text
from router.failover.candidate import Candidate, TargetHealth
from router.value import replace

FIRST_WORDS = 12
"""Characters that are sent before a fault: enough to see that the answer began, and few enough to see that it is not complete."""
FOREVER = 86_400.0
"""Seconds of a stall, longer than any idle timeout."""
OUTCOMES = {"cut": "cut", "garbage": "malformed", "429": "status_429"}


def broken(candidates: Sequence[Candidate], fault: InducedFault, shows: Collection[FileSort]) -> list[Candidate]:
    """Return the candidates, with the fault in the first one that would be asked; unchanged if none would be.
    shows: the sorts of files in the question, by which targets are passed over
    """
    first = next((one for one in candidates if not one.left_alone and not one.lacks(shows)), None)
    if first is None:
        return [*candidates]
    faulty = replace(first, answer=_answer(first.name, first.answer, fault), health=TargetHealth(clock=first.health.clock))
    return [faulty if one is first else one for one in candidates]


def _answer(name: str, answer: Answer, fault: InducedFault) -> Answer:
    async def faulty(ask: Ask) -> Events:
        if fault == "429":
            raise TargetDown(name, OUTCOMES[fault])
        said = 0
        async with aclosing(answer(ask)) as events:
            async for event in events:
                if said and (said >= FIRST_WORDS or isinstance(event, Finish)):
                    break
                if isinstance(event, Text):
                    said += len(event.text)
                yield event
                if isinstance(event, Finish):  # it only called tools
                    return
        if fault == "stall":
            await asyncio.sleep(FOREVER)
        raise TargetDown(name, OUTCOMES[fault])

    return faulty
