"""The Anthropic lane: requests to the Messages API, and its answers.

An answer is a list of blocks: text, thinking and tool_use. Of tools that Anthropic runs itself, only search results are read.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import msgspec

from router.chat import AUTO, Ask, Call, File, Json, JsonObject, Message, ReasoningState, Result, issued_by
from router.config.declaration import TargetConfig
from router.errors import Misfit, TargetDown
from router.events import Answer, Events, Start
from router.params import Params
from router.targets import decoding, http, shown
from router.targets.address import endpoint_of
from router.targets.connections import Connections
from router.targets.conversation import fitted
from router.targets.counts import Apart, Lasting, ServerTools
from router.targets.facts import Facts
from router.targets.fit import NEEDS, Fitted, check_answerable, fit, uncarried
from router.targets.http import Prepared
from router.targets.inband import ErrorData, error_in
from router.targets.learned import Learned, Pupil
from router.targets.options import options_of
from router.targets.prompt_cache import CONTROL, is_long, mark_turns, marked
from router.targets.providers import CLAUDE
from router.targets.reasoning import BLOCKS, INTERLEAVED, Blocks, blocks, keeps_thinking
from router.targets.resolved_facts import facts_of
from router.targets.speech import Speech
from router.targets.structured import structured
from router.targets.subset import CLAUDE as CLAUDE_SCHEMAS
from router.targets.text_filters import UNBOUND

BASE = "https://api.anthropic.com"
VERSION = "2023-06-01"
MAX_TOKENS = 8192
"""Default limit of an answer in tokens, or the model's maximum if that is lower: Anthropic requires a limit."""
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16_384, "xhigh": 32_768, "max": 32_768}
"""reasoning_effort → thinking budget in tokens; `none` has no budget."""


CHOICES: dict[str, Json] = {"none": {"type": "none"}, "required": {"type": "any"}}


EVENTS = frozenset({"ping", *(f"{of}_{at}" for of in ("message", "content_block") for at in ("start", "delta", "stop"))})
"""Types of the events of a stream. One of another type may be an error."""


class Delta(msgspec.Struct):
    """A change to a content block or to the message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    citation: Any = None


class Block(msgspec.Struct):
    """A content block: its start in a stream, or all of it in a complete message."""

    type: str = ""
    id: str = ""
    name: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    input: Any = None
    citations: list[Any] | None = None
    content: Any = None


class Details(msgspec.Struct):
    """The details of `output_tokens`."""

    thinking_tokens: int | None = None


class Counted(msgspec.Struct):
    """Token counts of a message so far, some of them perhaps missing. `input_tokens` has no tokens of the prompt cache."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation: Lasting | None = None
    output_tokens_details: Details | None = None
    server_tool_use: ServerTools | None = None

    def asked(self) -> int:
        """Return all input tokens, cached ones included."""
        return (self.input_tokens or 0) + (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)

    def over(self, before: "Counted") -> "Counted":
        """Return these counts, with missing ones filled in from the earlier counts `before`.

        Zero output tokens, or zeros for all input, count as missing: relays, vLLM and Z.ai send them.
        If the input tokens are unchanged or missing, the larger count of each cache stays. Otherwise a new cache count holds, even 0.
        """
        again = not self.asked() or self.input_tokens in (None, before.input_tokens)

        def newest(now: int | None, then: int | None) -> int | None:
            return max(now or 0, then or 0) if again else then if now is None else now

        return Counted(
            before.input_tokens if self.input_tokens is None or not self.asked() else self.input_tokens,
            newest(self.cache_creation_input_tokens, before.cache_creation_input_tokens),
            newest(self.cache_read_input_tokens, before.cache_read_input_tokens),
            self.output_tokens or before.output_tokens,
            self.cache_creation or before.cache_creation,
            self.output_tokens_details or before.output_tokens_details,
            self.server_tool_use or before.server_tool_use,
        )

    def tell(self, speech: Speech) -> None:
        """Call `speech.usage` with these counts, cache tokens added to the input."""
        speech.usage(
            self.asked(),
            self.output_tokens or 0,
            cached=self.cache_read_input_tokens or 0,
            cache_write=self.cache_creation_input_tokens or 0,
            reasoning=(self.output_tokens_details.thinking_tokens if self.output_tokens_details else 0) or 0,
            cache_write_1h=(self.cache_creation.ephemeral_1h_input_tokens if self.cache_creation else 0) or 0,
            apart=Apart(searches=self.server_tool_use.web_search_requests) if self.server_tool_use else None,
        )


class Whole(msgspec.Struct):
    """A message: complete, or its start in a stream."""

    content: list[Block] | None = None
    stop_reason: str | None = None
    usage: Counted | None = None
    model: Any = None


class Frame(msgspec.Struct):
    """The data of one event of the stream."""

    type: str = ""
    index: int = 0
    message: Whole | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Counted | None = None
    error: Any = None


FRAME = msgspec.json.Decoder(Frame)
WHOLE = msgspec.json.Decoder(Whole)


def serves(declared: TargetConfig) -> bool:
    """Return whether this lane serves a target: its model begins with `anthropic/`, and `via` is not set."""
    return declared.via is None and str(declared.model).startswith("anthropic/")


def answer(
    name: str,
    declared: TargetConfig,
    connect: float,
    connections: Connections,
    learned: Learned | None = None,
    *,
    facts: Facts | None = None,
) -> Answer:
    """Return the function that asks a declared target. Raises Misfit if it has neither a key nor an `api_base`, or an invalid address.

    `connect`: seconds a connection may take. `learned`: lessons from earlier refusals. `facts`: looked up if None.
    """
    if declared.api_key is None and declared.api_base is None:
        raise Misfit("anthropic/ needs a key: write `api_key: ${ANTHROPIC_API_KEY}`", "model")
    headers = {"anthropic-version": VERSION, "anthropic-beta": INTERLEAVED}
    if declared.api_key:
        headers["x-api-key"] = declared.api_key.value
    options = options_of(declared, "messages")
    headers = options.beside(headers)
    endpoint = connections.endpoint(endpoint_of(str(declared.api_base or BASE), "/messages", within="/v1"), headers, connect)
    facts, learned = facts or facts_of(declared), learned or Learned()
    model = str(declared.model).partition("/")[2]
    start = Start(name, str(declared.model))
    issuer = issued_by(name, str(declared.model))

    def spoken(ask: Ask) -> Events:
        params = ask.params.over(declared.params)
        ask = fitted(ask, CLAUDE, name)

        def prepare(known: Facts) -> Prepared:
            check_answerable(name, known, ask, params)
            form = structured(ask, known, CLAUDE_SCHEMAS)
            body, omitted = request(form.ask, params, known, model, issuer)
            if form.schema is not None:
                config = cast("JsonObject", body.get("output_config", {}))
                body["output_config"] = {**config, "format": {"type": "json_schema", "schema": form.schema}}
            within = (*((CONTROL,) if known.marks_from else ()), *form.sent)
            omitted = (*omitted, *uncarried(known, ask), *options.over(params))
            return Prepared(
                endpoint,
                body,
                lambda speech: MessageReader(name, speech),
                omitted,
                fit(known, params).without_blank_stops().bounds(known) if params.stop else UNBOUND,
                api="messages",
                options=options,
                within=within,
                output=form.way,
            )

        return http.answered(start, issuer, connections, Pupil(name, facts, learned), prepare)

    return spoken


def request(ask: Ask, params: Params, facts: Facts, model: str, issuer: str = "") -> tuple[dict[str, Json], tuple[str, ...]]:
    """Return the request body for a question, and the names of the omitted parameters.

    params: the question's parameters, those of the target included
    model: the model's name without its provider
    issuer: the target whose reasoning states are sent back, unless the model is not to think
    """
    thinks = may_think(ask, facts, issuer)
    fitted = fit(facts if thinks else replace(facts, thinking="none", always_thinks=False), params)
    limit = fitted.max_tokens or min(MAX_TOKENS, facts.max_output or MAX_TOKENS)
    system = "\n\n".join(message.text for message in ask.messages if message.role == "system" and message.text)
    made: dict[str, Json] = {"model": model, "stream": True, "max_tokens": limit}
    keeps = facts.marks_from > 0 and is_long(ask, facts.marks_from)
    if system:
        made["system"] = [marked({"type": "text", "text": system})] if keeps else system
    if ask.tools:
        tools: list[Json] = [{"name": one.name, "description": one.description, "input_schema": one.parameters} for one in ask.tools]
        made["tools"] = [*tools[:-1], marked(tools[-1])] if keeps else tools
        if ask.choice != AUTO and (facts.forced_tools or ask.choice.kind == "none"):
            made["tool_choice"] = CHOICES.get(ask.choice.kind, {"type": "tool", "name": ask.choice.name})
    if stops := fitted.without_blank_stops().stop:
        made["stop_sequences"] = list(stops)  # it refuses those of white space only (BerriAI/litellm#3286)
    made |= {name: value for name, value in fitted.hints.items() if name not in NEEDS}
    if ask.tools and fitted.hints.get("parallel_tool_calls") is False and ask.choice.kind != "none":
        choice = cast("dict[str, Json]", made.get("tool_choice", {"type": "auto"}))
        made["tool_choice"] = {**choice, "disable_parallel_tool_use": True}
    if thinks:
        made |= _thinking(facts, fitted, limit)
    thinking_asked = made.get("thinking")
    # A model that is not to think refuses its own thoughts.
    recalls = facts.thinking == "adaptive" if thinking_asked is None else thinking_asked != {"type": "disabled"}
    conversation = turns(ask, issuer if recalls and facts.recalls else None)
    made["messages"] = mark_turns(conversation) if keeps else conversation
    return made, fitted.omitted


def may_think(ask: Ask, facts: Facts, issuer: str) -> bool:
    """Return whether the model may think about this question.

    False if it cannot think, or if the question forces a tool call and the model takes that.
    With a thinking budget, also False if its thoughts may not be sent back, or if those before the last tool calls are missing.
    Then it is False, too, if the last message is the assistant's.
    """
    if facts.thinking == "none" or (ask.choice.kind not in ("auto", "none") and facts.forced_tools):
        return False
    return facts.thinking == "adaptive" or (facts.recalls and keeps_thinking(ask, issuer))


def _thinking(facts: Facts, fitted: Fitted, limit: int) -> dict[str, Json]:
    """Return the body's fields for thinking, perhaps none; with a budget also `max_tokens`: the answer's `limit` plus the budget."""
    effort = fitted.effort
    if facts.thinking == "adaptive":
        if effort == "none":
            return {"thinking": {"type": "disabled"}}
        if effort is None and not facts.always_thinks:
            return {}
        adaptive: dict[str, Json] = {"thinking": {"type": "adaptive", "display": "summarized"}}
        return {**adaptive, "output_config": {"effort": effort}} if effort and facts.efforts else adaptive
    budget = BUDGETS.get(effort or "")
    return {"thinking": {"type": "enabled", "budget_tokens": budget}, "max_tokens": limit + budget} if budget else {}


def turns(ask: Ask, issuer: str | None = None) -> list[Json]:
    """Return the user and assistant messages by turns, neighbours of one role joined. Tool results are user turns.

    System and empty messages are left out. `issuer`: the target whose thoughts are sent back in messages with calls; None to send none.
    """
    made: list[tuple[str, list[Json]]] = []
    for message in ask.messages:
        side = "assistant" if message.role == "assistant" else "user"
        content = [] if message.role == "system" else _blocks(message, issuer)
        if not content:
            continue
        if made and made[-1][0] == side:
            made[-1][1].extend(content)
        else:
            made.append((side, content))
    return [{"role": side, "content": content} for side, content in made]


def _blocks(message: Message, issuer: str | None) -> list[Json]:
    thoughts = blocks(message, issuer) if message.calls and issuer is not None else []
    made: list[Json] = []
    left = len(message.text)
    """Characters of the message's text from here on."""
    for part in message.parts:
        match part:
            case ReasoningState():
                continue
            case str():
                while part and thoughts and not thoughts[0].call_id and left - len(part) < thoughts[0].after:
                    before = max(0, left - thoughts[0].after)
                    made += _text(part[:before])
                    part, left = part[before:], left - before  # noqa: PLW2901 - what is left of it
                    made.append(dict(thoughts.pop(0).value))
                made += _text(part)
                left -= len(part)
            case Call(call_id):
                while thoughts and thoughts[0].call_id in ("", call_id):
                    made.append(dict(thoughts.pop(0).value))
                made.append(_block(part))
            case _:
                made.append(_block(part))
    return made


def _text(part: str) -> list[Json]:
    """Return a list of one text block; empty for blank text, which Anthropic refuses."""
    return [{"type": "text", "text": part}] if part.strip() else []


def _block(part: File | Call | Result) -> Json:
    match part:
        case File(kind):
            return {"type": "image" if kind.startswith("image/") else "document", "source": _source(part)}
        case Call(call_id, name, arguments):
            return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
        case Result(call_id, _, _, is_error, files):
            content: Json = part.text
            if files:
                content = [*_text(part.text), *map(_block, files)]
            made: dict[str, Json] = {"type": "tool_result", "tool_use_id": call_id, "content": content}
            return {**made, "is_error": True} if is_error else made


def _source(file: File) -> Json:
    """Return a file's `source` in a content block: base64 data, or the URL that the provider fetches."""
    if file.remote:
        return {"type": "url", "url": file.url}
    head, _, data = file.url.partition(",")
    if not head.lower().endswith(";base64"):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return {"type": "base64", "media_type": file.kind, "data": data}


class MessageReader:
    """Parser of one message, streamed or complete, which feeds a Speech (the assembler of the answer's events)."""

    def __init__(self, name: str, speech: Speech) -> None:
        self._name = name
        self._speech = speech
        self._own: set[int] = set()
        """Indexes of the blocks that are calls of the question's tools, not of tools that Anthropic runs itself."""
        self._counted = Counted()
        self._thoughts = Blocks(speech)

    def frames(self, found: Sequence[bytes]) -> bool:
        """Read the data of frames up to the end of the answer; return whether more may follow. Raises as `frame` does."""
        return all(map(self.frame, found))

    def frame(self, data: bytes) -> bool:
        """Read the data of one frame; return False if it ends the answer. Raises TargetError for an error; skips an unreadable frame."""
        frame = decoding.decoded(data, FRAME)
        odd = frame is None or frame.type not in EVENTS or frame.error is not None
        if (odd or isinstance(data, ErrorData)) and (error := error_in(self._name, data)) is not None:
            raise error
        if frame is None:
            return True
        if frame.type == "message_stop":
            self._speech.done()
            return False
        if frame.message is not None:
            self._speech.called(frame.message.model)
        counted = frame.usage or (frame.message.usage if frame.message else None)
        if counted is not None:
            self._counted = counted.over(self._counted)
            self._counted.tell(self._speech)
        if not self._speech.finished:
            self._see(frame)
        return True

    def _see(self, frame: Frame) -> None:
        block, delta, speech = frame.content_block, frame.delta, self._speech
        if block is not None and frame.type == "content_block_start":
            if block.type == "tool_use":
                self._own.add(frame.index)
            self._begun(frame.index, block)
        elif delta is not None:
            if delta.stop_reason:
                self._thoughts.close()
                speech.finish(delta.stop_reason)
            elif delta.type == "text_delta" and delta.text:
                speech.text(delta.text)
            elif delta.type == "thinking_delta" and delta.thinking:
                self._thoughts.thinking(delta.thinking)
                speech.thought(delta.thinking)
            elif delta.type == "signature_delta" and delta.signature:
                self._thoughts.thinking(signature=delta.signature)
            elif delta.type == "input_json_delta" and delta.partial_json and frame.index in self._own:
                speech.call(frame.index, "", "", delta.partial_json)
            elif delta.type == "citations_delta":
                speech.source(shown.citation(delta.citation))

    def complete(self, body: bytes) -> None:
        """Read a complete message that came instead of a stream. Raises TargetError if the body is an error or not a message."""
        complete = decoding.decoded(body, WHOLE)
        if complete is None or complete.content is None:
            raise error_in(self._name, body) or TargetDown(self._name, "malformed")
        self._speech.called(complete.model)
        for index, block in enumerate(complete.content):
            self._begun(index, block)
        self._thoughts.close()
        if complete.usage is not None:
            complete.usage.tell(self._speech)
        if complete.stop_reason:
            self._speech.finish(complete.stop_reason)

    def _begun(self, index: int, block: Block) -> None:
        """Read a content block, complete or its start, and end the thinking block before it. Blocks of unknown types are skipped."""
        speech = self._speech
        self._thoughts.close()
        if block.type == BLOCKS[0]:
            self._thoughts.thinking(block.thinking or "", block.signature)
            if block.thinking:
                speech.thought(block.thinking)
        elif block.type == BLOCKS[1] and block.data:
            self._thoughts.redacted(block.data)
        elif block.type == "text" and block.text:
            speech.text(block.text)
            for one in block.citations or ():
                speech.source(shown.citation(one))
        elif block.type == "web_search_tool_result":
            for one in shown.searched({"type": block.type, "content": block.content}):
                speech.source(one)
        elif block.type == "tool_use":
            given = block.input  # some gateways give a text of JSON
            written = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False) if given else ""
            speech.call(index, block.id, block.name, written)
