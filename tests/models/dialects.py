"""The provider APIs that the fake models speak: how a request is read and how a streamed answer is written.

The text of a question selects its answer: `rounds 2 calls 3` is answered by two rounds of three tool calls each, then by text. Reasoning
state contains the name of the model that issued it (`of <model>`), so a test finds it in any request to another model.
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
    """The current turn: the last question, the assistant messages with calls since, and the partial answer to continue (`said`)."""

    question: str
    rounds: Sequence[Body]
    said: str = ""

    @property
    def wanted(self) -> int:
        """Return how many tool calls the next round must have; 0 if the model must answer with text."""
        if "Call get_weather" in self.question:  # as a rehearsal asks
            return 0 if self.rounds else 2 if "both" in self.question else 1
        found = WANTED.search(self.question)
        return int(found[2]) if found and len(self.rounds) < int(found[1]) else 0


@dataclass(frozen=True)
class State:
    """The reasoning of one model call.

    owner: the name of the model; at: the number of the round, from 0
    text: the readable thought
    seal: its opaque part, used as a signature or as encrypted content
    """

    owner: str
    at: int

    @property
    def text(self) -> str:
        """The readable thought, which names the round and the model."""
        return f"Thought {self.at} of {self.owner}."

    @property
    def seal(self) -> str:
        """The opaque part (signature or encrypted content), which names the round and the model."""
        return f"seal{self.at} of {self.owner}!"


@dataclass(frozen=True)
class Saying:
    """The content of one answer: text or tool calls, with or without reasoning. `shown`: whether the readable thought is sent."""

    words: str = ""
    calls: Sequence[tuple[str, str]] = ()
    """The tool calls: (id, arguments as JSON)."""
    state: State | None = None
    shown: bool = True


class Dialect(Protocol):
    """One provider API, as a fake model reads its requests and writes its answers."""

    @property
    def path(self) -> str:
        """The end of the request path by which this API is recognised."""
        ...

    def turn(self, body: Body) -> Turn:
        """Return the turn that the request asks: question, earlier tool rounds, and text to continue."""
        ...

    def stops(self, body: Body) -> Sequence[str]:
        """Return the stop sequences of the request."""
        ...

    def frames(self, saying: Saying) -> Iterator[bytes]:
        """Yield the SSE frames of a streamed answer with this content."""
        ...

    def calls(self, call: Body) -> Iterator[Body]:
        """Yield the tool calls of one earlier round as the request repeats them."""
        ...

    def states(self, message: Body, body: Body) -> Any:
        """Return the reasoning state that one earlier round brings back, in the API's own form; empty or None if there is none."""
        ...

    def issued(self, state: State, *, shown: bool) -> Any:
        """Return a reasoning state in the form in which the API issued it."""
        ...

    def given(self, body: Body, name: str) -> Any:
        """Return the request's value of a parameter, looked up by its OpenAI name; None if absent."""
        ...

    def adding(self, body: Body, name: str, value: Any) -> Body:
        """Return a copy of the request with one more parameter, given by its OpenAI name."""
        ...


def objects(value: Any) -> list[Body]:
    """Return the dicts in a list; an empty list if the value is not a list."""
    return [one for one in cast("list[Body]", value) if isinstance(one, dict)] if isinstance(value, list) else []


def inner(body: Body, name: str) -> Body:
    """Return the nested object of this name; an empty dict if there is none."""
    return cast("Body", body.get(name) or {})


def texts(content: Any) -> str:
    """Return the text of a message's content, its parts joined."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in objects(content))


def thirds(text: str) -> list[str]:
    """Split a text into pieces of a third of its length, rounded down."""
    size = max(1, len(text) // 3)
    return [text[at : at + size] for at in range(0, len(text), size)]


def _turn(messages: Sequence[Body], called: str) -> Turn:
    """Return the turn of a list of messages. `called`: the message field that holds tool calls."""
    said = ""
    if texts(messages[-1].get("content")).endswith(WISH):
        said, messages = texts(messages[-2].get("content")), messages[:-2]
    elif messages[-1]["role"] == "assistant" and not messages[-1].get(called):
        said, messages = texts(messages[-1].get("content")), messages[:-1]
    asked = max((at for at, one in enumerate(messages) if one["role"] == "user"), default=0)
    return Turn(texts(messages[asked].get("content")), [one for one in messages[asked:] if one.get(called)], said)


@dataclass(frozen=True)
class Completions:
    """OpenAI's chat completions. `thoughts`: the field that carries reasoning; `names`: OpenAI parameter name → this provider's name."""

    thoughts: str = "reasoning_content"
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    path: str = "/chat/completions"

    def turn(self, body: Body) -> Turn:
        """Return the turn that this chat-completions request asks: question, earlier tool rounds, and text to continue."""
        return _turn(body["messages"], "tool_calls")

    def stops(self, body: Body) -> Sequence[str]:
        """Return the stop sequences of this chat-completions request; empty if there are none."""
        return body.get("stop") or ()

    def frames(self, saying: Saying) -> Iterator[bytes]:
        """Yield the SSE frames of a streamed chat-completions answer, the closing frames included."""
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
        """Yield the tool calls of one earlier round as this chat-completions request repeats them."""
        yield from call["tool_calls"]

    def states(self, message: Body, body: Body) -> Any:
        """Return the reasoning state that one earlier round of this chat-completions request brings back; empty or None without any."""
        if self.thoughts == "extra_content":
            return message["tool_calls"][0].get("extra_content")
        return message.get(self.thoughts)

    def issued(self, state: State, *, shown: bool) -> Any:
        """Return the reasoning state in the form in which this chat-completions API issued it."""
        match self.thoughts:
            case "extra_content":
                return self._extra(state)["extra_content"]
            case "reasoning_details":
                told = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
                return [{**told, "text": state.text, "signature": state.seal}]
            case _:
                return state.text

    def given(self, body: Body, name: str) -> Any:
        """Return the request's value of a parameter, looked up by its OpenAI name; None if absent."""
        if name == "max_tokens":
            return body.get("max_tokens", body.get("max_completion_tokens"))
        if name == "reasoning_effort" and "thinking" in body:
            return body["thinking"]  # as LiteLLM tells DeepSeek
        return body.get(self.names.get(name, name))

    def adding(self, body: Body, name: str, value: Any) -> Body:
        """Return a copy of the chat-completions request with one more parameter, given by its OpenAI name."""
        return {**body, self.names.get(name, name): value}


class Messages:
    """Anthropic's Messages API."""

    path = "/messages"

    def turn(self, body: Body) -> Turn:
        """Return the turn that this Messages request asks: question, earlier tool rounds, and text to continue."""
        messages = [_flat(one) for one in body["messages"]]
        return _turn(messages, "calls")

    def stops(self, body: Body) -> Sequence[str]:
        """Return the stop sequences of this Messages request; empty if there are none."""
        return body.get("stop_sequences") or ()

    def frames(self, saying: Saying) -> Iterator[bytes]:
        """Yield the SSE frames of a streamed Messages answer, the closing frames included."""
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
        """Yield the tool calls of one earlier round as this Messages request repeats them."""
        yield from call["calls"]

    def states(self, message: Body, body: Body) -> Any:
        """Return the reasoning state that one earlier round of this Messages request brings back; empty or None if there is none."""
        return message["thoughts"]

    def issued(self, state: State, *, shown: bool) -> Any:
        """Return the thinking block of a state: redacted, with text, or with a signature only, by the round number and `shown`."""
        if state.at % 3 == 1:
            return [{"type": "redacted_thinking", "data": state.seal}]
        text = state.text if shown and state.at % 3 == 0 else ""
        return [{"type": "thinking", "thinking": text, "signature": state.seal}]

    def given(self, body: Body, name: str) -> Any:
        """Return the request's value of a parameter by its OpenAI name; an effort is read from `output_config` or the thinking budget."""
        match name:
            case "stop":
                return body.get("stop_sequences")
            case "reasoning_effort":
                return body.get("output_config") or inner(body, "thinking").get("budget_tokens")
            case _:
                return body.get(name)

    def adding(self, body: Body, name: str, value: Any) -> Body:
        """Return a copy of the Messages request with one more parameter, given by its OpenAI name."""
        match name:
            case "stop":
                return {**body, "stop_sequences": value}
            case "reasoning_effort":
                return {**body, "output_config": {"effort": value}}
            case _:
                return {**body, name: value}


def _flat(message: Body) -> Body:
    """Split the content blocks of an Anthropic message into its last text, tool calls and thoughts, under the role that `_turn` expects."""
    blocks = [{"type": "text", "text": content}] if isinstance(content := message["content"], str) else content
    kinds = {kind: [one for one in blocks if one["type"] == kind] for kind in ("text", "tool_use", "tool_result")}
    thoughts = [one for one in blocks if one["type"] in ("thinking", "redacted_thinking")]
    role = "tool" if kinds["tool_result"] and not kinds["text"] else message["role"]
    return {"role": role, "content": kinds["text"][-1:], "calls": kinds["tool_use"], "thoughts": thoughts}


class Responses:
    """OpenAI's Responses API."""

    path = "/responses"

    def turn(self, body: Body) -> Turn:
        """Return the turn of a Responses request; the reasoning and call items of one round are grouped."""
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
        """Return no stop sequences: the Responses API has none."""
        return ()

    def frames(self, saying: Saying) -> Iterator[bytes]:
        """Yield the SSE frames of a streamed Responses answer, the closing frames included."""
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
        """Yield the tool calls of one earlier round as this Responses request repeats them."""
        yield from ({"id": one["call_id"], **one} for one in call["calls"])

    def states(self, message: Body, body: Body) -> Any:
        """Return the reasoning state that one earlier round of this Responses request brings back; empty or None if there is none."""
        return message["reasoning"]

    def issued(self, state: State, *, shown: bool) -> Any:
        """Return the reasoning state in the form in which this Responses API issued it."""
        summary = [{"type": "summary_text", "text": state.text}] if shown else []
        return [{"type": "reasoning", "id": f"rs_{state.at}", "summary": summary, "encrypted_content": state.seal}]

    def given(self, body: Body, name: str) -> Any:
        """Return the request's value of a parameter, looked up by its OpenAI name; None if absent."""
        match name:
            case "reasoning_effort":
                return inner(body, "reasoning").get("effort")
            case "max_tokens":
                return body.get("max_output_tokens")
            case _:
                return body.get(name)

    def adding(self, body: Body, name: str, value: Any) -> Body:
        """Return a copy of the Responses request with one more parameter, given by its OpenAI name."""
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
    """Google's own API (generateContent), as a fake model reads its requests and writes its streamed answers. Implements Dialect."""

    path = ":streamGenerateContent"

    def turn(self, body: Body) -> Turn:
        """Return the turn that this Gemini request asks: question, earlier tool rounds, and text to continue."""
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
        """Return the stop sequences of this Gemini request; empty if there are none."""
        return self.given(body, "stop") or ()

    def frames(self, saying: Saying) -> Iterator[bytes]:
        """Yield the SSE frames of a streamed Gemini answer, the closing frames included."""
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
        """Yield nothing: Gemini's calls have no ids."""
        return iter(())

    def states(self, message: Body, body: Body) -> Any:
        """Return the reasoning state that one earlier round of this Gemini request brings back; empty or None if there is none."""
        return _either(message["calls"][0], "thoughtSignature", "thought_signature")

    def issued(self, state: State, *, shown: bool) -> Any:
        """Return the reasoning state in the form in which this Gemini API issued it."""
        return state.seal

    def given(self, body: Body, name: str) -> Any:
        """Return the request's value of a parameter, looked up by its OpenAI name; None if absent."""
        config: Body = _either(body, "generationConfig", "generation_config") or {}
        name = NATIVE[name]
        return _either(config, name, re.sub("[A-Z]", lambda one: "_" + one[0].lower(), name))

    def adding(self, body: Body, name: str, value: Any) -> Body:
        """Return a copy of the Gemini request with one more parameter, given by its OpenAI name."""
        config: Body = _either(body, "generationConfig", "generation_config") or {}
        return {**body, "generationConfig": {**config, NATIVE[name]: value}}


def _either(table: Body, *names: str) -> Any:
    """Return the value under the first of these names that is present, else None; Google accepts camelCase and snake_case."""
    return next((table[name] for name in names if name in table), None)
