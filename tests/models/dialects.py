"""The APIs that the fake models speak: how a request says things, and how an answer, with reasoning where the model thinks.

A question chooses its answer: `rounds 2 calls 3` is answered by two rounds of three calls each, then by words. Reasoning state names the
model that issued it (`of <model>`), so that state that strays is found in any request.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from router.failover.rescue import WISH
from tests.support.provider import DONE, chunk, frame, usage

ANSWER = "The quick brown fox jumps over the lazy dog, and the dog sleeps on until the evening comes."
CITIES = ("Beijing", "Paris", "Lima", "Oslo")
Body = dict[str, Any]
WANTED = re.compile(r"rounds (\d) calls (\d)")


@dataclass(frozen=True)
class Turn:
    """What a request asks: the last question, the assistant's messages with calls since then, and the words that it should go on from."""

    question: str
    rounds: Sequence[Body]
    said: str = ""

    @property
    def wanted(self) -> int:
        """Calls of the next round; 0 where it is time for words."""
        if "Call get_weather" in self.question:  # as a rehearsal asks
            return 0 if self.rounds else 2 if "both" in self.question else 1
        found = WANTED.search(self.question)
        return int(found[2]) if found and len(self.rounds) < int(found[1]) else 0


@dataclass(frozen=True)
class State:
    """The reasoning of one model call.

    text: as the model writes it
    seal: what makes it opaque: a signature, or an encrypted content
    """

    owner: str
    at: int

    @property
    def text(self) -> str:
        """What it thinks."""
        return f"Thought {self.at} of {self.owner}."

    @property
    def seal(self) -> str:
        """Its signature."""
        return f"seal{self.at} of {self.owner}!"


@dataclass(frozen=True)
class Saying:
    """What an answer says: words or calls, after a thought or none. `shown`: whether the thought may be read."""

    words: str = ""
    calls: Sequence[tuple[str, str]] = ()
    """Id and arguments."""
    state: State | None = None
    shown: bool = True


class Dialect(Protocol):
    """One API."""

    @property
    def path(self) -> str:
        """How the paths of its requests end."""
        ...

    def turn(self, body: Body) -> Turn:
        """What is asked."""
        ...

    def stops(self, body: Body) -> Sequence[str]:
        """The texts that end the answer."""
        ...

    def frames(self, saying: Saying) -> Iterator[bytes]:
        """The answer."""
        ...

    def calls(self, call: Body) -> Iterator[Body]:
        """The calls of one round, as the request repeats them."""
        ...

    def states(self, message: Body, body: Body) -> Any:
        """The reasoning state that a round brings back, in the API's own form; nothing where it brings none."""
        ...

    def issued(self, state: State, *, shown: bool) -> Any:
        """The same as it was issued."""
        ...

    def given(self, body: Body, name: str) -> Any:
        """A parameter by OpenAI's name, as the request has it; None where it has none."""
        ...

    def adding(self, body: Body, name: str, value: Any) -> Body:
        """The request with one more parameter."""
        ...


def objects(value: Any) -> list[Body]:
    """The objects of a list; none where it is something else."""
    return [one for one in cast("list[Body]", value) if isinstance(one, dict)] if isinstance(value, list) else []


def inner(body: Body, name: str) -> Body:
    """An object within; an empty one where there is none."""
    return cast("Body", body.get(name) or {})


def texts(content: Any) -> str:
    """The text of a message's content."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in objects(content))


def thirds(text: str) -> list[str]:
    """The text in pieces."""
    size = max(1, len(text) // 3)
    return [text[at : at + size] for at in range(0, len(text), size)]


def _turn(messages: Sequence[Body], called: str) -> Turn:
    """The turn of a list of messages. `called`: the field that holds calls."""
    said = ""
    if texts(messages[-1].get("content")).endswith(WISH):
        said, messages = texts(messages[-2].get("content")), messages[:-2]
    elif messages[-1]["role"] == "assistant" and not messages[-1].get(called):
        said, messages = texts(messages[-1].get("content")), messages[:-1]
    asked = max((at for at, one in enumerate(messages) if one["role"] == "user"), default=0)
    return Turn(texts(messages[asked].get("content")), [one for one in messages[asked:] if one.get(called)], said)


@dataclass(frozen=True)
class Completions:
    """OpenAI's chat completions. `thoughts`: the field of the reasoning; `names`: parameters that the provider calls otherwise."""

    thoughts: str = "reasoning_content"
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    path: str = "/chat/completions"

    def turn(self, body: Body) -> Turn:
        """See Dialect."""
        return _turn(body["messages"], "tool_calls")

    def stops(self, body: Body) -> Sequence[str]:
        """See Dialect."""
        return body.get("stop") or ()

    def frames(self, saying: Saying) -> Iterator[bytes]:
        """See Dialect."""
        yield chunk({"role": "assistant", "content": ""})
        yield from (chunk(delta) for delta in self._thinking(saying.state))
        yield from (chunk({"content": piece}) for piece in thirds(saying.words))
        for index, (call_id, arguments) in enumerate(saying.calls):
            signed = self._extra(saying.state) if index == 0 and saying.state is not None and self.thoughts == "extra_content" else {}
            head = {"index": index, "id": call_id, "type": "function", "function": {"name": "get_weather", "arguments": ""}, **signed}
            yield chunk({"tool_calls": [head]})
            yield from (chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}) for part in thirds(arguments))
        yield chunk({}, "tool_calls" if saying.calls else "stop")
        yield usage()
        yield DONE

    @staticmethod
    def _extra(state: State) -> Body:
        return {"extra_content": {"google": {"thought_signature": state.seal}}}

    def _thinking(self, state: State | None) -> Iterator[Body]:
        if state is None:
            return
        match self.thoughts:
            case "reasoning_details":
                detail = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
                for piece in thirds(state.text):
                    yield {"reasoning": piece, "reasoning_details": [{**detail, "text": piece}]}
                yield {"reasoning_details": [{**detail, "signature": state.seal}]}
            case "extra_content" | "":
                return
            case name:
                yield from ({name: piece} for piece in thirds(state.text))

    def calls(self, call: Body) -> Iterator[Body]:
        """See Dialect."""
        yield from call["tool_calls"]

    def states(self, message: Body, body: Body) -> Any:
        """See Dialect."""
        if self.thoughts == "extra_content":
            return message["tool_calls"][0].get("extra_content")
        return message.get(self.thoughts)

    def issued(self, state: State, *, shown: bool) -> Any:
        """See Dialect."""
        match self.thoughts:
            case "extra_content":
                return self._extra(state)["extra_content"]
            case "reasoning_details":
                told = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
                return [{**told, "text": state.text, "signature": state.seal}]
            case _:
                return state.text

    def given(self, body: Body, name: str) -> Any:
        """See Dialect."""
        if name == "max_tokens":
            return body.get("max_tokens", body.get("max_completion_tokens"))
        if name == "reasoning_effort" and "thinking" in body:
            return body["thinking"]  # as LiteLLM tells DeepSeek
        return body.get(self.names.get(name, name))

    def adding(self, body: Body, name: str, value: Any) -> Body:
        """See Dialect."""
        return {**body, self.names.get(name, name): value}


class Messages:
    """Anthropic's API."""

    path = "/messages"

    def turn(self, body: Body) -> Turn:
        """See Dialect."""
        messages = [_flat(one) for one in body["messages"]]
        return _turn(messages, "calls")

    def stops(self, body: Body) -> Sequence[str]:
        """See Dialect."""
        return body.get("stop_sequences") or ()

    def frames(self, saying: Saying) -> Iterator[bytes]:
        """See Dialect."""
        yield self._frame("message_start", message={"model": "fake", "usage": {"input_tokens": 11, "output_tokens": 1}})
        index = 0
        for block in self.issued(saying.state, shown=saying.shown) if saying.state else ():
            if block["type"] == "redacted_thinking":
                yield self._frame("content_block_start", index=index, content_block=block)
            else:
                opened: Body = {"type": "thinking", "thinking": "", "signature": ""}
                yield self._frame("content_block_start", index=index, content_block=opened)
                for piece in thirds(block["thinking"]) if block["thinking"] else ():
                    yield self._delta(index, {"type": "thinking_delta", "thinking": piece})
                # In one piece, as Anthropic's guide to streaming has it.
                yield self._delta(index, {"type": "signature_delta", "signature": block["signature"]})
            yield self._frame("content_block_stop", index=index)
            index += 1
        if saying.words:
            yield self._frame("content_block_start", index=index, content_block={"type": "text", "text": ""})
            yield from (self._delta(index, {"type": "text_delta", "text": piece}) for piece in thirds(saying.words))
            yield self._frame("content_block_stop", index=index)
        for at, (call_id, arguments) in enumerate(saying.calls, index):
            opened: Body = {"type": "tool_use", "id": call_id, "name": "get_weather", "input": {}}
            yield self._frame("content_block_start", index=at, content_block=opened)
            yield from (self._delta(at, {"type": "input_json_delta", "partial_json": part}) for part in thirds(arguments))
            yield self._frame("content_block_stop", index=at)
        reason = "tool_use" if saying.calls else "end_turn"
        yield self._frame("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 3})
        yield self._frame("message_stop")

    @staticmethod
    def _frame(kind: str, **more: Any) -> bytes:
        return f"event: {kind}\n".encode() + frame({"type": kind, **more})

    def _delta(self, index: int, delta: Body) -> bytes:
        return self._frame("content_block_delta", index=index, delta=delta)

    def calls(self, call: Body) -> Iterator[Body]:
        """See Dialect."""
        yield from call["calls"]

    def states(self, message: Body, body: Body) -> Any:
        """See Dialect."""
        return message["thoughts"]

    def issued(self, state: State, *, shown: bool) -> Any:
        """A thought that may be read, one that may not (redacted), one whose text is left out: by turns."""
        if state.at % 3 == 1:
            return [{"type": "redacted_thinking", "data": state.seal}]
        text = state.text if shown and state.at % 3 == 0 else ""
        return [{"type": "thinking", "thinking": text, "signature": state.seal}]

    def given(self, body: Body, name: str) -> Any:
        """An effort is an output_config, or a budget."""
        match name:
            case "stop":
                return body.get("stop_sequences")
            case "reasoning_effort":
                return body.get("output_config") or inner(body, "thinking").get("budget_tokens")
            case _:
                return body.get(name)

    def adding(self, body: Body, name: str, value: Any) -> Body:
        """See Dialect."""
        match name:
            case "stop":
                return {**body, "stop_sequences": value}
            case "reasoning_effort":
                return {**body, "output_config": {"effort": value}}
            case _:
                return {**body, name: value}


def _flat(message: Body) -> Body:
    """A message of Anthropic's, its kinds of blocks apart."""
    blocks = [{"type": "text", "text": content}] if isinstance(content := message["content"], str) else content
    kinds = {kind: [one for one in blocks if one["type"] == kind] for kind in ("text", "tool_use", "tool_result")}
    thoughts = [one for one in blocks if one["type"] in ("thinking", "redacted_thinking")]
    role = "tool" if kinds["tool_result"] and not kinds["text"] else message["role"]
    return {"role": role, "content": kinds["text"][-1:], "calls": kinds["tool_use"], "thoughts": thoughts}


class Responses:
    """OpenAI's Responses API."""

    path = "/responses"

    def turn(self, body: Body) -> Turn:
        """Items since the last question, those of one round together."""
        items = objects(body["input"])
        asked = max(at for at, one in enumerate(items) if one.get("role") == "user" and texts(one["content"]) != WISH)
        rounds: list[Body] = []
        said = ""
        for at, item in enumerate(items[asked:], asked):
            if item.get("role") == "assistant":
                said = texts(item["content"])
            elif item.get("type") in ("reasoning", "function_call"):
                if items[at - 1].get("type") not in ("reasoning", "function_call"):
                    rounds.append({"reasoning": [], "calls": []})
                rounds[-1]["reasoning" if item["type"] == "reasoning" else "calls"].append(item)
        return Turn(texts(items[asked]["content"]), [one for one in rounds if one["calls"]], said)

    def stops(self, body: Body) -> Sequence[str]:
        """See Dialect."""
        return ()

    def frames(self, saying: Saying) -> Iterator[bytes]:
        """See Dialect."""
        yield self._frame("created", response={"model": "fake", "status": "in_progress", "output": []})
        index = 0
        if saying.state is not None:
            item = self.issued(saying.state, shown=saying.shown)[0]
            yield self._frame("output_item.added", output_index=0, item={"type": "reasoning", "id": item["id"], "summary": []})
            if saying.shown:
                for piece in thirds(saying.state.text):
                    yield self._frame("reasoning_summary_text.delta", output_index=0, summary_index=0, delta=piece)
            yield self._frame("output_item.done", output_index=0, item=item)
            index = 1
        if saying.words:
            message: Body = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
            yield self._frame("output_item.added", output_index=index, item=message)
            yield from (self._frame("output_text.delta", output_index=index, delta=piece) for piece in thirds(saying.words))
            yield self._frame("output_item.done", output_index=index, item=message)
        for at, (call_id, arguments) in enumerate(saying.calls, index):
            call = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": "get_weather"}
            yield self._frame("output_item.added", output_index=at, item={**call, "arguments": ""})
            yield from (self._frame("function_call_arguments.delta", output_index=at, delta=part) for part in thirds(arguments))
            yield self._frame("output_item.done", output_index=at, item={**call, "arguments": arguments})
        counts = {"input_tokens": 11, "output_tokens": 3}
        yield self._frame("completed", response={"model": "fake", "status": "completed", "usage": counts})

    @staticmethod
    def _frame(kind: str, **more: Any) -> bytes:
        return f"event: response.{kind}\n".encode() + frame({"type": f"response.{kind}", **more})

    def calls(self, call: Body) -> Iterator[Body]:
        """See Dialect."""
        yield from ({"id": one["call_id"], **one} for one in call["calls"])

    def states(self, message: Body, body: Body) -> Any:
        """See Dialect."""
        return message["reasoning"]

    def issued(self, state: State, *, shown: bool) -> Any:
        """See Dialect."""
        summary = [{"type": "summary_text", "text": state.text}] if shown else []
        return [{"type": "reasoning", "id": f"rs_{state.at}", "summary": summary, "encrypted_content": state.seal}]

    def given(self, body: Body, name: str) -> Any:
        """See Dialect."""
        match name:
            case "reasoning_effort":
                return inner(body, "reasoning").get("effort")
            case "max_tokens":
                return body.get("max_output_tokens")
            case _:
                return body.get(name)

    def adding(self, body: Body, name: str, value: Any) -> Body:
        """See Dialect."""
        if name == "reasoning_effort":
            return {**body, "reasoning": {**inner(body, "reasoning"), "effort": value}}
        return {**body, name: value}


NATIVE = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "stop": "stopSequences",
    "max_tokens": "maxOutputTokens",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "reasoning_effort": "thinkingConfig",
}


class Gemini:
    """Google's own API."""

    path = ":streamGenerateContent"

    def turn(self, body: Body) -> Turn:
        """See Dialect."""
        messages: list[Body] = []
        for content in body["contents"]:
            parts = content["parts"]
            calls = [one for one in parts if _either(one, "functionCall", "function_call")]
            results = [one for one in parts if _either(one, "functionResponse", "function_response")]
            said = [{"text": one["text"]} for one in parts if one.get("text") and not one.get("thought")]
            role = "assistant" if content["role"] == "model" else "tool" if results else "user"
            messages.append({"role": role, "content": said, "calls": calls})
        return _turn(messages, "calls")

    def stops(self, body: Body) -> Sequence[str]:
        """See Dialect."""
        return self.given(body, "stop") or ()

    def frames(self, saying: Saying) -> Iterator[bytes]:
        """See Dialect."""
        parts: list[Body] = []
        if saying.state is not None and saying.shown:
            parts.append({"text": saying.state.text, "thought": True})
        parts += [{"text": piece} for piece in thirds(saying.words) if saying.words]
        for index, (_, arguments) in enumerate(saying.calls):
            signed = {"thoughtSignature": saying.state.seal} if index == 0 and saying.state is not None else {}
            parts.append({"functionCall": {"name": "get_weather", "args": json.loads(arguments)}, **signed})
        yield from (self._frame({"content": {"role": "model", "parts": [part]}, "index": 0}) for part in parts)
        yield self._frame({"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0})

    @staticmethod
    def _frame(candidate: Body) -> bytes:
        counts = {"promptTokenCount": 11, "candidatesTokenCount": 3, "totalTokenCount": 14}
        return frame({"candidates": [candidate], "usageMetadata": counts, "modelVersion": "fake"})

    def calls(self, call: Body) -> Iterator[Body]:
        """It has no ids."""
        return iter(())

    def states(self, message: Body, body: Body) -> Any:
        """See Dialect."""
        return _either(message["calls"][0], "thoughtSignature", "thought_signature")

    def issued(self, state: State, *, shown: bool) -> Any:
        """See Dialect."""
        return state.seal

    def given(self, body: Body, name: str) -> Any:
        """See Dialect."""
        config: Body = _either(body, "generationConfig", "generation_config") or {}
        name = NATIVE[name]
        return _either(config, name, re.sub("[A-Z]", lambda one: "_" + one[0].lower(), name))

    def adding(self, body: Body, name: str, value: Any) -> Body:
        """See Dialect."""
        config: Body = _either(body, "generationConfig", "generation_config") or {}
        return {**body, "generationConfig": {**config, NATIVE[name]: value}}


def _either(table: Body, *names: str) -> Any:
    """Google takes both spellings."""
    return next((table[name] for name in names if name in table), None)
