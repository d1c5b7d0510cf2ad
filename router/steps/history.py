"""The pipeline step `history`: keep only the last messages of a long conversation.

    - history: {keep: 40}

System messages stay and do not count. The kept messages begin with a user's: no tool result is left
without its call (providers refuse that), and no answer without its question.

Messages are dropped several at a time. The history then begins at the same message for some turns, and the provider reads that
beginning from its prompt cache. With another beginning each turn, every question of a long chat would miss that cache.
"""

from router.chat import Message
from router.errors import Misfit
from router.events import Step
from router.value import replace

SHARE = 4
"""Divisor of `keep`: a fourth of it is dropped at a time, so that about one turn in five of a long chat misses the prompt cache."""


def history(keep: int) -> Step:
    """Keep only the last messages of the conversation, at most `keep`. The latest user message and what follows it always stay.

    keep: the most messages that stay, at least 1; system messages are not counted
    """
    if keep < 1:
        raise Misfit("keep must be at least 1", "keep")
    at_a_time = max(1, keep // SHARE)

    return lambda answer: (
        lambda ask: answer(ask if len(ask.messages) <= keep else replace(ask, messages=shortened(ask.messages, keep, at_a_time)))
    )


def shortened(messages: tuple[Message, ...], keep: int, cut: int = 1) -> tuple[Message, ...]:
    """Return the system messages, and at most the last `keep` others, beginning with a user message; all unchanged if no more are there.

    Messages are dropped in multiples of `cut`, and then up to the next user message. If no user message follows, the latest one and
    everything after it are kept, even if they are more than `keep`.
    """
    spoken = [index for index, message in enumerate(messages) if message.role != "system"]
    if len(spoken) <= keep:
        return messages
    asked = [index for index in spoken if messages[index].role == "user"]
    dropped = -(-(len(spoken) - keep) // cut) * cut
    begin = spoken[dropped]
    # From the first question inside the window; where there is none (a long tool round), from the latest one before it.
    begin = next((index for index in asked if index >= begin), asked[-1] if asked else begin)
    return type(messages)(message for index, message in enumerate(messages) if index >= begin or message.role == "system")
