"""Keep the last few messages.

    - history: {keep: 40}

System messages stay and do not count. What is kept begins with a user's message, so that no tool result stands
there without its call (providers refuse that) and no answer without its question.
"""

from router.chat import Message
from router.errors import Misfit
from router.events import Answer, Step


def history(keep: int) -> Step:
    """Keep the last few messages.

    keep: how many, system messages not counted
    """
    if keep < 1:
        raise Misfit("keep must be at least 1", "keep")

    def step(answer: Answer) -> Answer:
        return lambda ask: answer(ask.with_messages(*shortened(ask.messages, keep)))

    return step


def shortened(messages: tuple[Message, ...], keep: int) -> tuple[Message, ...]:
    """The system messages and the last `keep` others; the latest user's message always stays."""
    spoken = [index for index, message in enumerate(messages) if message.role != "system"]
    if len(spoken) <= keep:
        return messages
    asked = [index for index in spoken if messages[index].role == "user"]
    begin = spoken[-keep]
    # From the first question inside the window; where there is none (a long tool round), from the latest one before it.
    begin = next((index for index in asked if index >= begin), asked[-1] if asked else begin)
    return tuple(message for index, message in enumerate(messages) if index >= begin or message.role == "system")
