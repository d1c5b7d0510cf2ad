"""The wire `text-completion`: OpenAI's legacy completions, as server-sent events of one text chunk each, then [DONE].

    data: {"id":"cmpl-…","object":"text_completion",…,"choices":[{"text":"Hello","index":0,"logprobs":null,"finish_reason":null}]}
    data: {…,"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}]}
    data: [DONE]

Only text and finish reason are written: there is no form for reasoning, tools, sources and files. `model` is the configured model of the
target that answered first. Each prompt has its choice, one after the other: the Finish of one ends its choice, that of the last ends the
answer. With `echo` a text begins with its prompt. Source: OpenAI's reference of the completions API.
"""

from collections.abc import Sequence
from typing import cast

from router.chat import Json
from router.events import Event, Failure, Finish, Produced, Reason, Source, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.wire.frames import DONE, KEEP_ALIVE, frame
from router.wire.openai import REASONS, Chunks, counted, error
from router.wire.shape import Answered, Heading, Wire, body, broken_off, encoded, utf8

QUESTION = "prompt"
"""The field with the question in this API."""
NOT_YET = b"null"
"""The `finish_reason` of every chunk of a choice but its last."""


class _TextChunks(Chunks):
    """An encoder of one answer. It holds the model that chunks name, the index of the choice, its echo, and the usage so far."""

    _kind, _prefix = "text_completion", "cmpl-"

    def __init__(self, heading: Heading) -> None:
        super().__init__(heading)
        self._name(heading.model)
        self._index = 0
        self._echo = echo(heading, 0)
        self._used: Usage | None = None

    def _name(self, model: str) -> None:
        super()._name(model)
        self._before = self._head + b'{"text":'

    def encode(self, event: Event) -> bytes:
        match event:
            case Text(text):
                return self._piece(text)
            case Thought() | ToolInput() | ToolCall() | ToolResult() | Source() | Produced():
                return b""
            case Finish(reason, usage):
                return self._ended(reason, usage)
            case Failure():
                return utf8(frame(error(broken_off(self._heading, event), QUESTION)) + DONE)
            case _:
                return super().encode(event)

    def _piece(self, text: str, reason: bytes = NOT_YET) -> bytes:
        said, self._echo = encoded(self._echo + text), ""
        about = self._before, said, self._index, reason, self._usage
        return b'%b%b,"index":%d,"logprobs":null,"finish_reason":%b}]%b}\n\n' % about

    def _ended(self, reason: Reason, usage: Usage | None) -> bytes:
        made = self._piece("", b'"%b"' % REASONS[reason].encode())
        self._used = total(self._used, usage)
        self._index += 1
        if self._index >= cast("int", self._heading.asked.get("prompts", 1)):  # each prompt of the request has a choice
            return made + self._last(self._used)
        self._echo = echo(self._heading, self._index)
        return made


def echo(heading: Heading, index: int) -> str:
    """Return the beginning of the choice at `index`: its prompt if the client asked for an echo, else an empty text."""
    texts = cast("Sequence[str]", heading.asked.get("echo", ()))
    return texts[index] if texts else ""


def total(one: Usage | None, other: Usage | None) -> Usage | None:
    """Return the sum of two usages; if only one is known, that one; None if neither is."""
    return one + other if one and other else one or other


def complete(answer: Answered) -> bytes:
    """Return the body of an answer that is not streamed: a JSON text_completion, with one choice for each Finish."""
    choices: list[Json] = []
    said: list[str] = []
    used: Usage | None = None
    for event in answer.events:
        if isinstance(event, Text):
            said.append(event.text)
        elif isinstance(event, Finish):
            text = echo(answer.heading, len(choices)) + "".join(said)
            reason = REASONS[event.reason]
            choices.append({"text": text, "index": len(choices), "logprobs": None, "finish_reason": reason})
            used = total(used, event.usage)
            said.clear()
    made = {"id": f"cmpl-{answer.heading.message_id}", "object": "text_completion", "created": answer.heading.created}
    return body({**made, "model": answer.model, "choices": choices, "usage": counted(used)})


WIRE = Wire(
    name="text-completion",
    encoder=lambda heading: _TextChunks(heading).encode,
    complete=complete,
    refusal=lambda why: body(error(why, QUESTION)),
    keep_alive=KEEP_ALIVE,
)
