"""A fault on request: the provider of one request is broken, to see what follows.

    429      it refuses: too many requests
    cut      it breaks off after its first words
    stall    it says nothing more after its first words
    garbage  it says what is no answer after its first words

The target that is asked first fails so at each try of the request. What is known of it (breaker, load, budget of second tries) is
neither looked at nor changed: other requests do not notice. Who may ask for a fault is for the server to say.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import replace

from router.chat import Ask, FileSort, InducedFault
from router.errors import TargetDown
from router.events import Answer, Events, Finish, Text
from router.failover.candidate import Candidate, new_health

FIRST_WORDS = 12
"""Characters that are said before an answer breaks: enough to see that it began, and few enough to see that it was not whole."""
FOREVER = 86_400.0
"""Seconds of a stall: whoever waits gives up before."""
OUTCOMES = {"cut": "cut", "garbage": "malformed", "429": "status_429"}


def broken(candidates: Sequence[Candidate], fault: InducedFault, shows: Collection[FileSort]) -> list[Candidate]:
    """The candidates; the first of them that would be asked fails so."""
    first = next((one for one in candidates if not one.left_alone and not one.lacks(shows)), None)
    return [_faulty(one, fault) if one is first else one for one in candidates]


def _faulty(candidate: Candidate, fault: InducedFault) -> Candidate:
    own = new_health(clock=candidate.health.clock)
    return replace(candidate, answer=_answer(candidate.name, candidate.answer, fault), health=own)


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
