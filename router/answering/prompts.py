"""Several prompts in one request: each is a question of its own, asked after the answer to the one before."""

from collections.abc import Sequence
from contextlib import aclosing

from router.chat import Ask, Message
from router.errors import BadAsk
from router.events import Answer, Beside, Events, EventStream, Finish
from router.wire import Wire, text_completion


def in_turn(answer: Answer, prompts: Sequence[Message]) -> Answer:
    """Return an Answer to all prompts: their answers in order, each with its Finish. The first Failure or error ends the whole.

    A Finish is held back until the next answer's first event. So a Finish that is the latest event is the end of the whole.
    """

    async def answered(ask: Ask, beside: Beside) -> Events:
        ended: Finish | None = None
        for prompt in prompts:
            async with aclosing(beside.over(answer(ask.with_messages(prompt)))) as events:
                async for event in events:
                    if ended is not None:
                        yield ended
                        ended = None
                    if isinstance(event, Finish):
                        ended = event
                    else:
                        yield event
            if ended is None:
                return
        if ended is not None:
            yield ended

    def fast(ask: Ask) -> Events:
        beside = Beside()
        return EventStream(answered(ask, beside), beside.fast)

    return fast


def check_choices(wire: Wire) -> None:
    """Raise BadAsk unless the wire is `text-completion`: no other can write an answer to each of several prompts."""
    if wire is not text_completion.WIRE:
        raise BadAsk(f"prompt: the dialect {wire.name} has one answer; several texts are answered in {text_completion.WIRE.name}.")
