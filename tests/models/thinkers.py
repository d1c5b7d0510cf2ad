"""Fake models that think before each tool call and require their reasoning back.

Each refuses a request that breaks its provider's rule, with the provider's error text; most refuse unknown fields of an assistant message.
A model calls the tool `look` once in each of `rounds` rounds, then answers `Done.`. Its thoughts contain its own name, so that a test finds
them in requests to other models.
"""

import copy
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support import google
from tests.support.provider import DONE, Provider, Reply, chunk, error, frame, usage

ANSWER = "Done."
PLAIN = frozenset({"role", "content", "tool_calls", "name"})
"""Fields of an assistant message that every OpenAI-compatible server knows."""
CALL = frozenset({"id", "type", "function", "index"})


class Thinker(Provider):
    """A fake model that calls a tool in `rounds` rounds, then answers with text.

    `refused`: its error texts; `asked`: how many requests it answered; `whole`: whether it answers without streaming.
    """

    model = "openai/thinker"
    prefix = "v1"
    fields: frozenset[str] = frozenset()
    """Fields of an assistant message that this model knows besides `PLAIN`."""
    call_fields: frozenset[str] = frozenset()
    call_id = "call_0"
    """The id of all its calls; empty if each call has its own id."""

    def __init__(self, name: str, *, rounds: int = 3, whole: bool = False) -> None:
        super().__init__(())
        self.name = name
        self.rounds = rounds
        self.via = ""
        """The lane through which the router asks the model; empty for the direct lane."""
        self.whole = whole
        self.refused: list[str] = []
        self.asked = 0
        self.faults: dict[int, Reply] = {}
        """Number of a request, from 1 → the reply that it gets in place of the normal one."""
        self._ids = itertools.count()

    def target(self, **more: str) -> str:
        """Return the model's line for the targets of routes.yaml."""
        fields = {"model": self.model, "api_base": self.base, "api_key": "sk-test", **({"via": self.via} if self.via else {}), **more}
        return f"{self.name}: {{{', '.join(f'{name}: {json.dumps(value)}' for name, value in fields.items())}}}\n"

    def canary(self, count: int) -> str:
        """Return the unique text that the model thinks in round `count`."""
        return f"thought-{count}-of-{self.name}"

    def reply(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Return the staged fault, the refusal of a request that breaks a rule, or the model's answer."""
        if (fault := self.faults.pop(len(self.requests), None)) is not None:
            return fault
        if (why := self.objection(headers, body)) is not None:
            self.refused.append(json.loads(why.body or b"{}")["error"]["message"])
            return why
        self.asked += 1
        return self.answer(headers, body)

    def new_id(self) -> str:
        """Return the id of the next tool call."""
        return self.call_id or f"call_{self.name}_{next(self._ids)}"

    def objection(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Reply | None:
        """Return the refusal of a request; None if it is accepted."""
        raise NotImplementedError

    def answer(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Reply:
        """Return the answer to an accepted request."""
        raise NotImplementedError


class Completions(Thinker):
    """A model on OpenAI's chat completions API."""

    def objection(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Reply | None:
        """Return the refusal for the first assistant message with unknown fields or wrong reasoning; None if there is none."""
        del headers
        for index, message in enumerate(body["messages"]):
            if message["role"] != "assistant":
                continue
            calls: list[dict[str, Any]] = message.get("tool_calls") or []
            foreign = [*(set(message) - PLAIN - self.fields), *(name for call in calls for name in set(call) - CALL - self.call_fields)]
            if foreign:
                return error(422, f"extra_forbidden: messages.{index}.assistant.{foreign[0]}: Extra inputs are not permitted")
            if (why := self.objection_to(index, message, body)) is not None:
                return why
        return None

    def objection_to(self, index: int, message: Mapping[str, Any], body: Mapping[str, Any]) -> Reply | None:
        """Return the refusal for one assistant message; None if it is accepted."""
        del index, message, body
        return None

    def answer(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Reply:
        """Return the next round's tool call, or the final text after `rounds` rounds or without tools."""
        del headers
        messages = body["messages"]
        asked = max((at for at, one in enumerate(messages) if one["role"] == "user"), default=-1)
        count = sum(1 for one in messages[asked + 1 :] if one.get("tool_calls")) + 1
        if not body.get("tools") or count > self.rounds:
            return self.said([{"role": "assistant", "content": ANSWER}], "stop")
        return self.said(self.thinks(count, self.new_id()), "tool_calls")

    def thinks(self, count: int, call_id: str) -> list[dict[str, Any]]:
        """Return the deltas of a round: its thought, if the model writes one, and its call."""
        return [{"role": "assistant", "content": ""}, *self.called(count, call_id)]

    def called(self, count: int, call_id: str) -> list[dict[str, Any]]:
        """Return the deltas of a round's tool call."""
        arguments = json.dumps({"at": count})
        head = {"index": 0, "id": call_id, "type": "function", "function": {"name": "look", "arguments": ""}}
        return [{"tool_calls": [head]}, {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}]

    def said(self, deltas: Sequence[dict[str, Any]], finish: str) -> Reply:
        """Return these deltas as a stream, or merged into one JSON body."""
        if not self.whole:
            return Reply((*(chunk(delta) for delta in deltas), chunk({}, finish), usage(), DONE))
        message: dict[str, Any] = {}
        for delta in deltas:
            _merge(message, copy.deepcopy(delta))
        counted = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return Reply(body=json.dumps({"id": "c1", "object": "chat.completion", "choices": [choice], "usage": counted}).encode())


def _merge(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for piece in value:
                known = message.setdefault("tool_calls", [])
                if piece["index"] >= len(known):
                    known.append(piece)
                else:
                    known[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
        elif name in ("content", "reasoning_content", "reasoning") and isinstance(message.get(name), str):
            message[name] += value or ""
        elif name == "reasoning_details" and name in message:
            message[name][-1]["text"] += value[0].get("text") or ""
            message[name][-1] |= {key: one for key, one in value[0].items() if key not in ("text", "type", "index")}
        else:
            message[name] = value


class Strict(Completions):
    """A Mistral model, which refuses unknown fields and does not think."""

    model = "mistral/mistral-medium-latest"
    call_id = ""

    def new_id(self) -> str:
        """Return an id of nine letters and digits."""
        return f"m{next(self._ids):08d}"


class DeepSeek(Completions):
    """DeepSeek in thinking mode: with tools each assistant message must have its reasoning.

    https://api-docs.deepseek.com/guides/thinking_mode
    """

    model = "deepseek/deepseek-v4-pro"
    fields = frozenset({"reasoning_content"})
    missing = "The `reasoning_content` in the thinking mode must be passed back to the API."

    def __init__(self, name: str, *, rounds: int = 3, whole: bool = False) -> None:
        super().__init__(name, rounds=rounds, whole=whole)
        self.issued: set[str] = set()
        """The thoughts that the model wrote."""
        self.returned: list[str] = []
        """The thoughts that came back in requests."""

    def objection_to(self, index: int, message: Mapping[str, Any], body: Mapping[str, Any]) -> Reply | None:
        """Return the refusal if `reasoning_content` is missing in a request with tools, or was altered beside calls; None otherwise."""
        told = message.get("reasoning_content")
        if not isinstance(told, str) and body.get("tools"):
            return error(400, self.missing, "invalid_request_error")
        if message.get("tool_calls") and isinstance(told, str):
            if told.strip() and told not in self.issued:
                return error(400, f"messages[{index}]: the reasoning_content was altered", "invalid_request_error")
            self.returned.append(told)
        return None

    def thinks(self, count: int, call_id: str) -> list[dict[str, Any]]:
        """Return the deltas of a round: a thought in two pieces, then the call."""
        thought = f"I should look: 看 😀 {self.canary(count)}"
        self.issued.add(thought)
        return [
            {"role": "assistant", "content": None},
            *({"reasoning_content": piece} for piece in (thought[:9], thought[9:])),
            *self.called(count, call_id),
        ]


class Kimi(DeepSeek):
    """Kimi: an assistant message with calls must have reasoning that is not empty (theopenco/llmgateway#2093)."""

    model = "moonshot/kimi-k2.6"

    def objection_to(self, index: int, message: Mapping[str, Any], body: Mapping[str, Any]) -> Reply | None:
        """Return the refusal if a message with calls lacks its `reasoning_content` or has it altered; None otherwise."""
        if not message.get("tool_calls"):
            return None
        if not message.get("reasoning_content"):
            return error(
                400,
                f"thinking is enabled but reasoning_content is missing in assistant tool call message at index {index}",
                "invalid_request_error",
            )
        return super().objection_to(index, message, body)


class Gemini(Completions):
    """Gemini on OpenAI's chat completions: two parallel calls, of which only the first has a thought signature.

    https://ai.google.dev/gemini-api/docs/thought-signatures
    """

    model = "openai/gemini-3-pro-preview"
    call_fields = frozenset({"extra_content"})
    call_id = ""
    stand_in = "skip_thought_signature_validator"

    def __init__(self, name: str, *, rounds: int = 3, whole: bool = False) -> None:
        super().__init__(name, rounds=rounds, whole=whole)
        self.issued: dict[str, str] = {}
        """Call id → the signature issued with the call."""
        self.returned: list[str] = []

    def objection_to(self, index: int, message: Mapping[str, Any], body: Mapping[str, Any]) -> Reply | None:
        """Return the refusal if the first call lacks its signature or any call has a wrong one; None otherwise."""
        del body
        for place, call in enumerate(message.get("tool_calls") or []):
            signature: str | None = None
            match call.get("extra_content"):
                case {"google": {"thought_signature": str(told)}}:
                    signature = told
                case _:
                    pass
            if signature is None and place == 0:
                return error(
                    400,
                    f"Function call is missing a thought_signature in functionCall parts. Additional data, function call "
                    f"`default_api:{call['function']['name']}`, position {index}.",
                    "INVALID_ARGUMENT",
                )
            if signature not in (None, self.stand_in, *self.issued.values()):
                return error(400, "Thought signature is not valid.", "INVALID_ARGUMENT")
            if signature is not None:
                self.returned.append(signature)
        return None

    def called(self, count: int, call_id: str) -> list[dict[str, Any]]:
        """Return the deltas of two calls, each in one piece, of which the first is signed."""
        self.issued[call_id] = self.canary(count)
        signed = {"extra_content": {"google": {"thought_signature": self.canary(count)}}}
        function = {"name": "look", "arguments": json.dumps({"at": count})}
        first = {"index": 0, "id": call_id, "type": "function", "function": function, **signed}
        return [{"tool_calls": [first]}, {"tool_calls": [{**first, "index": 1, "id": self.new_id(), "extra_content": None}]}]


class OpenRouter(Completions):
    """Gemini behind OpenRouter: `reasoning_details` are streamed in pieces and must return unaltered (openrouter.ai/docs)."""

    model = "openrouter/google/gemini-3-pro"
    fields = frozenset({"reasoning", "reasoning_details"})

    def __init__(self, name: str, *, rounds: int = 3, whole: bool = False) -> None:
        super().__init__(name, rounds=rounds, whole=whole)
        self.issued: list[list[dict[str, Any]]] = []
        self.returned: list[list[dict[str, Any]]] = []

    def objection_to(self, index: int, message: Mapping[str, Any], body: Mapping[str, Any]) -> Reply | None:
        """Return the refusal if a message with calls has altered `reasoning_details`; None otherwise."""
        del body
        if not message.get("tool_calls") or not self.issued:
            return None
        details = message.get("reasoning_details")
        if details is not None and details not in self.issued:
            return error(400, f"Provider returned error: messages.{index}: Corrupted thought signature.")
        if details is not None:
            self.returned.append(details)
        return None

    def thinks(self, count: int, call_id: str) -> list[dict[str, Any]]:
        """Return the deltas of a round: the thought in pieces, its signature and encrypted part, then the call."""
        text = {"type": "reasoning.text", "index": 0, "format": "google-gemini-v1"}
        thought = f"Looking at {self.canary(count)}"
        signature = f"sig-{self.canary(count)}"
        sealed = {
            "type": "reasoning.encrypted",
            "index": 1,
            "id": call_id,
            "format": "google-gemini-v1",
            "data": f"sealed-{self.canary(count)}",
        }
        self.issued.append([{**text, "text": thought, "signature": signature}, sealed])
        if self.whole:
            return [
                {"role": "assistant", "content": "", "reasoning": thought, "reasoning_details": self.issued[-1]},
                *self.called(count, call_id),
            ]
        pieces = [{**text, "text": thought[:7]}, {**text, "text": thought[7:]}]
        said = [{"role": "assistant", "content": "", "reasoning": piece["text"], "reasoning_details": [piece]} for piece in pieces]
        return [*said, {"reasoning_details": [{**text, "text": "", "signature": signature}, sealed]}, *self.called(count, call_id)]


class Claude(Thinker):
    """Claude: thinking blocks must return with their signatures, unaltered and in order.

    Claude thinks between its calls only with the beta header for interleaved thinking, or adaptively.
    `hides`: its thoughts have no text, and redacted blocks are added.
    """

    model = "anthropic/claude-sonnet-4-5"

    def __init__(self, name: str, *, rounds: int = 3, whole: bool = False, hides: bool = False) -> None:
        super().__init__(name, rounds=rounds, whole=whole)
        self.hides = hides
        self.issued: dict[str, list[dict[str, Any]]] = {}
        """Call id → the thinking blocks issued before the call."""
        self.thought: list[int] = []
        """The numbers of the rounds in which the model thought."""

    def target(self, **more: str) -> str:
        """Return the model's line for routes.yaml, with an address that lacks `/v1`."""
        return super().target(**{"api_base": self.base.removesuffix("/v1"), **more})

    def objection(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Reply | None:
        """Return the refusal for the first rule of Anthropic that the request breaks; None if it breaks none."""
        del headers
        thinking = body.get("thinking") or {"type": "disabled"}
        messages = body["messages"]
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            blocks = [block for block in message["content"] if block["type"] in ("thinking", "redacted_thinking")]
            known = [block for call in message["content"] if call["type"] == "tool_use" for block in self.issued.get(call["id"], [])]
            if blocks and blocks != known:
                return _refused(f"messages.{index}.content.0: Invalid `signature` in `thinking` block")
            if index == len(messages) - 1 and blocks and thinking["type"] == "disabled":
                return _refused(
                    f"messages.{index}.content.0.type: When thinking is disabled, an `assistant` message in the final position cannot contain `thinking`."
                )
        turn = self._turn(messages)
        if thinking["type"] == "enabled" and turn and turn[-1]["content"][0]["type"] not in ("thinking", "redacted_thinking"):
            return _refused(
                f"messages.{messages.index(turn[-1])}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is "
                "enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
            )
        return None

    @staticmethod
    def _turn(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the assistant messages with tool calls since the user's last text."""
        asked = max(
            at for at, one in enumerate(messages) if one["role"] == "user" and any(part["type"] != "tool_result" for part in one["content"])
        )
        return [
            one
            for one in messages[asked + 1 :]
            if one["role"] == "assistant" and any(part["type"] == "tool_use" for part in one["content"])
        ]

    def answer(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Reply:
        """Return the next round's tool call, after thinking blocks if Claude thinks in that round, or the final text."""
        count = len(self._turn(body["messages"])) + 1
        thinking = (body.get("thinking") or {"type": "disabled"})["type"]
        interleaved = thinking == "adaptive" or "interleaved-thinking" in headers.get("anthropic-beta", "")
        if not body.get("tools") or count > self.rounds:
            return self.said([{"type": "text", "text": ANSWER}], "end_turn")
        call_id = f"toolu_{self.name}_{next(self._ids)}"
        blocks: list[dict[str, Any]] = []
        if thinking != "disabled" and (count == 1 or interleaved):
            self.thought.append(count)
            blocks = [
                {
                    "type": "thinking",
                    "thinking": "" if self.hides else f"Hm: {self.canary(count)}",
                    "signature": f"sig-{self.canary(count)}",
                }
            ]
            if self.hides:
                blocks.append({"type": "redacted_thinking", "data": f"sealed-{self.canary(count)}"})
        self.issued[call_id] = blocks
        call = {"type": "tool_use", "id": call_id, "name": "look", "input": {"at": count}}
        return self.said([*blocks, {"type": "text", "text": "Let me look. "}, call], "tool_use")

    def said(self, blocks: Sequence[dict[str, Any]], reason: str) -> Reply:
        """Return these content blocks as a stream or as one message."""
        counted = {"input_tokens": 11, "output_tokens": 3}
        if self.whole:
            made = {"type": "message", "role": "assistant", "content": blocks, "stop_reason": reason, "usage": counted}
            return Reply(body=json.dumps(made).encode())
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {"usage": counted}}]
        for index, block in enumerate(blocks):
            start, deltas = _streamed(block)
            events.append({"type": "content_block_start", "index": index, "content_block": start})
            events += ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
            events.append({"type": "content_block_stop", "index": index})
        events.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}})
        return Reply([*(b"event: %s\n%s" % (event["type"].encode(), frame(event)) for event in (*events, {"type": "message_stop"}))])


def _streamed(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the opening form of a content block and the deltas that follow it."""
    match block["type"]:
        case "thinking":
            thought, signature = block["thinking"], block["signature"]
            thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in (thought[:5], thought[5:]) if piece]
            return {"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, {"type": "signature_delta", "signature": signature}]
        case "tool_use":
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        case "text":
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": block["text"]}]
        case _:
            return dict(block), []


class Google(Thinker):
    """Gemini on Google's own API: the first call of each content must have its unaltered signature or Google's placeholder.

    Requests that LiteLLM sends are checked for signatures only.
    """

    model = "gemini/gemini-3-pro-preview"

    def __init__(self, name: str, *, rounds: int = 3, whole: bool = False) -> None:
        super().__init__(name, rounds=rounds, whole=whole)
        self.issued: dict[str, str] = {}
        """Signature → the arguments of the call that it was issued with."""

    def target(self, **more: str) -> str:
        """Return the model's line for routes.yaml, with an address that names the model."""
        return super().target(**{"api_base": f"{self.base.removesuffix('/v1')}/v1beta/models/gemini-3-pro-preview", **more})

    def objection(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Reply | None:
        """Return the refusal for the first rule of Google that the request breaks; None if it breaks none."""
        why = None if self.via else google.objection(headers, headers[":path"], body, signs=True, thinks="level")
        if why is not None:
            return error(why[0], why[1], "INVALID_ARGUMENT")
        for index, content in enumerate(body["contents"]):
            calls = [part for part in content["parts"] if _calls(part)]
            signed = calls[0].get("thoughtSignature") if calls else None
            if calls and signed != google.UNSIGNED and (signed is None or self.issued.get(signed) != json.dumps(_called(calls[0]))):
                return error(
                    400, f"Function call is missing a thought_signature in functionCall parts, position {index}.", "INVALID_ARGUMENT"
                )
        return None

    def answer(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Reply:
        """Return the next round's signed call, or the final text."""
        del headers
        contents = body["contents"] if self.via else google.turn_of(body["contents"])
        count = sum(any(map(_calls, content["parts"])) for content in contents) + 1
        parts: list[dict[str, Any]] = [{"text": f"Hm: {count}", "thought": True}, {"text": ANSWER}]
        if body.get("tools") and count <= self.rounds:
            signature = f"sig-{self.canary(count)}"
            self.issued[signature] = json.dumps({"at": count})
            parts = [{"text": "Let me look. "}, {"functionCall": {"name": "look", "args": {"at": count}}, "thoughtSignature": signature}]
        return self.said(parts)

    def said(self, parts: Sequence[dict[str, Any]]) -> Reply:
        """Return these parts as a stream or as one response."""
        counted = {"promptTokenCount": 11, "candidatesTokenCount": 3, "totalTokenCount": 14}
        ended = {"finishReason": "STOP", "index": 0}
        if self.whole:
            candidate = {"content": {"role": "model", "parts": parts}, **ended}
            return Reply(body=json.dumps({"candidates": [candidate], "usageMetadata": counted}).encode())
        frames = [frame({"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}]}) for part in parts]
        return Reply((*frames, frame({"candidates": [ended], "usageMetadata": counted})))


class Responder(Thinker):
    """An OpenAI model that answers on the Responses API alone, and refuses every chat completion.

    It refuses a call that it issued if the call's own reasoning item is not directly before it, and reasoning that it did not issue.
    """

    model = "openai/gpt-5.6"

    def __init__(self, name: str, *, rounds: int = 3, whole: bool = False) -> None:
        super().__init__(name, rounds=rounds, whole=whole)
        self.issued: dict[str, dict[str, Any]] = {}
        """Call id → the reasoning item issued before the call."""

    def objection(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Reply | None:
        """Return the refusal for the first rule of the Responses API that the request breaks; None if it breaks none."""
        del headers
        if "input" not in body:
            return error(
                400, "Function tools with reasoning_effort are not supported in /v1/chat/completions. Please use /v1/responses instead."
            )
        known = [item["encrypted_content"] for item in self.issued.values()]
        items: list[dict[str, Any]] = [{}, *body["input"]]
        for before, item in itertools.pairwise(items):
            if item.get("type") == "reasoning" and item.get("encrypted_content") not in known:
                return error(400, f"The encrypted content for item {item.get('id')} could not be verified.", "invalid_request_error")
            if item.get("type") == "function_call" and (wanted := self.issued.get(item["call_id"])) and before != wanted:
                return error(
                    400,
                    f"Item of type 'function_call' was provided without its required 'reasoning' item: '{wanted['id']}'.",
                    "invalid_request_error",
                )
        return None

    def answer(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Reply:
        """Return the next round's reasoning item and call, or the final text."""
        del headers
        asked = max(at for at, item in enumerate(body["input"]) if item.get("role") == "user")
        count = sum(item.get("type") == "function_call" for item in body["input"][asked + 1 :]) + 1
        if not body.get("tools") or count > self.rounds:
            text: dict[str, Any] = {"type": "output_text", "text": ANSWER, "annotations": []}
            return self.said([{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}])
        call_id = f"call_{self.name}_{next(self._ids)}"
        thought: dict[str, Any] = {"type": "reasoning", "id": f"rs_{call_id}", "summary": []}
        thought["encrypted_content"] = f"sealed-{self.canary(count)}"
        self.issued[call_id] = thought
        arguments = json.dumps({"at": count})
        call = {
            "type": "function_call",
            "id": f"fc_{call_id}",
            "call_id": call_id,
            "name": "look",
            "arguments": arguments,
            "status": "completed",
        }
        return self.said([thought, call])

    def said(self, items: Sequence[dict[str, Any]]) -> Reply:
        """Return these items as a stream or as one response."""
        counted = {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14}
        whole = {"id": "resp_1", "object": "response", "status": "completed", "output": items, "usage": counted}
        if self.whole:
            return Reply(body=json.dumps(whole).encode())
        events: list[dict[str, Any]] = [{"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}}]
        for index, item in enumerate(items):
            events.append({"type": "response.output_item.added", "output_index": index, "item": {**item, "arguments": "", "content": []}})
            if item["type"] == "function_call":
                events.append({"type": "response.function_call_arguments.delta", "output_index": index, "delta": item["arguments"]})
            elif item["type"] == "message":
                events.append({"type": "response.output_text.delta", "output_index": index, "content_index": 0, "delta": ANSWER})
            events.append({"type": "response.output_item.done", "output_index": index, "item": item})
        events.append({"type": "response.completed", "response": whole})
        return Reply([b"event: %s\n%s" % (event["type"].encode(), frame(event)) for event in events])


def _calls(part: Mapping[str, Any]) -> bool:
    """Return whether a part is a function call, in either spelling of Google's API."""
    return "functionCall" in part or "function_call" in part


def _called(part: Mapping[str, Any]) -> Any:
    """Return the arguments of a function call part."""
    call = part.get("functionCall") or part["function_call"]
    return call["args"]


def _refused(message: str) -> Reply:
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    return Reply(status=400, body=json.dumps(body).encode())


THINKERS: dict[str, type[Thinker]] = {
    "claude": Claude,
    "deepseek": DeepSeek,
    "kimi": Kimi,
    "gemini": Gemini,
    "google": Google,
    "openrouter": OpenRouter,
    "responses": Responder,
}
