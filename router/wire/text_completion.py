"""The wire `text-completion`: OpenAI's legacy completions, as server-sent events of one text chunk each, then [DONE].

    data: {"id":"cmpl-…","object":"text_completion",…,"choices":[{"text":"Hello","index":0,"logprobs":null,"finish_reason":null}]}
    data: {…,"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}]}
    data: [DONE]

Only text and finish reason are written: there is no form for reasoning, tools, sources and files. `model` is the configured model of the
target that answered first. Each prompt has its choice, one after the other: the Finish of one ends its choice, that of the last ends the
answer. With `echo` a text begins with its prompt. Source: OpenAI's reference of the completions API.
"""

from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import cast

from router.chat import Json
from router.events import Event, Failure, Finish, Produced, Source, Start, Text, Thought, ToolCall, ToolResult, Usage
from router.wire.frames import KEEP_ALIVE, unwritten
from router.wire.openai import DONE, REASONS, counted, error
from router.wire.shape import Answered, Encode, Heading, Refusal, Wire, compact, utf8

NOT_YET = "null"
"""The `finish_reason` of every chunk of a choice but its last."""


def encoder(heading: Heading) -> Encode:
    """Return the encoder of one answer: event → text_completion chunks; b"" for an event that is not written."""
    return _TextChunks(heading).encode


class _TextChunks:
    """An encoder of one answer. It holds the model that chunks name, the index of the choice, its echo, and the usage so far."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._usage = ',"usage":null' if heading.wants_usage else ""
        self._index = 0
        self._echo = echo(heading, 0)
        self._used: Usage | None = None
        self._named = False
        self._name(heading.model)

    def _name(self, model: str) -> None:
        """Set the model that the next chunks name: the requested id at first, then the model of the first target that answered."""
        self._head = f'data: {compact(_common(self._heading, model))[:-1]},"choices":['
        self._before = f'{self._head}{{"text":'

    def encode(self, event: Event) -> bytes:
        match event:
            case Text(text):
                return utf8(self._chunk(text))
            case Start(model=model):
                if not self._named:
                    self._named = True
                    self._name(model)
                return b""
            case Thought() | ToolCall() | ToolResult() | Source() | Produced():
                return b""
            case Finish(reason, usage):
                return self._finish(reason, usage)
            case Failure(code, public):
                sentence = f"{public} (request {self._heading.request_id})"
                return refusal(Refusal(500, code, sentence, self._heading.request_id)).join((b"data: ", b"\n\n")) + DONE
            case _:
                return unwritten(event)

    def _chunk(self, text: str, reason: str = NOT_YET) -> str:
        said, self._echo = self._echo + text, ""
        return (
            f'{self._before}{encode_basestring(said)},"index":{self._index},"logprobs":null,"finish_reason":{reason}}}]{self._usage}}}\n\n'
        )

    def _finish(self, reason: str, usage: Usage | None) -> bytes:
        made = self._chunk("", f'"{REASONS[reason]}"')
        self._used = total(self._used, usage)
        self._index += 1
        if self._index < prompts(self._heading):
            self._echo = echo(self._heading, self._index)
            return utf8(made)
        if self._heading.wants_usage:
            made += f'{self._head}],"usage":{compact(counted(self._used))}}}\n\n'
        return utf8(made) + DONE


def prompts(heading: Heading) -> int:
    """Return the number of prompts in the request, each of which gets a choice; 1 if the request was of another API."""
    return cast("int", heading.asked.get("prompts", 1))


def echo(heading: Heading, index: int) -> str:
    """Return the beginning of the choice at `index`: its prompt if the client asked for an echo, else an empty text."""
    texts = cast("Sequence[str]", heading.asked.get("echo", ()))
    return texts[index] if texts else ""


def total(one: Usage | None, other: Usage | None) -> Usage | None:
    """Return the sum of two usages; if only one is known, that one; None if neither is."""
    return one + other if one and other else one or other


def complete(answer: Answered) -> bytes:
    """Return the body of an answer that is not streamed: a JSON text_completion, with one choice for each Finish."""
    head = answer.heading
    choices: list[Json] = []
    said: list[str] = []
    used: Usage | None = None
    for event in answer.events:
        if isinstance(event, Text):
            said.append(event.text)
        elif isinstance(event, Finish):
            index = len(choices)
            text = echo(head, index) + "".join(said)
            choices.append({"text": text, "index": index, "logprobs": None, "finish_reason": REASONS[event.reason]})
            used = total(used, event.usage)
            said.clear()
    made: dict[str, Json] = {**_common(head, answer.model), "choices": choices, "usage": counted(used)}
    return utf8(compact(made))


def refusal(why: Refusal) -> bytes:
    """Return the body for an error before the first event, in OpenAI's form."""
    return utf8(compact(error(why, "prompt")))


def _common(heading: Heading, model: str) -> dict[str, Json]:
    return {"id": f"cmpl-{heading.message_id}", "object": "text_completion", "created": heading.created, "model": model}


WIRE = Wire(
    name="text-completion", content_type="text/event-stream", encoder=encoder, complete=complete, refusal=refusal, keep_alive=KEEP_ALIVE
)
