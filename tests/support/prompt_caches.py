"""Fake providers on loopback that cache prompts as Anthropic, OpenAI and Google do, refuse what these refuse, and count cached tokens.

Time is the fake's own: a prompt is cached for five minutes of it. One server serves all accounts: the first path segment is the kind of
provider, the key is the account. A question `tools 3` is answered by three calls of `get_weather`, then by text.

A prompt is a list of blocks: tools, system prompt, conversation. A token is four bytes.

* Anthropic: a mark (`cache_control`) caches everything up to its block. A later prompt reads the longest cached beginning at one of its own
  marks or at most 20 blocks before one. At most four marks; none on a thought or blank text; shorter prompts than the minimum are not
cached.
* OpenAI: a prompt is cached on the machine that read it, in steps of 128 tokens, from 1,024 tokens on. The machine is chosen by the
  prompt's beginning and `prompt_cache_key`; without the key each request goes to the next machine.
* Gemini: as OpenAI with one machine, from 2,048 tokens on.

Source: the guides to prompt caching of Anthropic, OpenAI and Google.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from tests.support.provider import DONE, chunk, frame, read_request, response_head

Body = dict[str, Any]
KEPT_S = 300.0
LOOK_BACK = 20
MACHINES = 8
PIECE = 128
MINIMUM = {"openai": 1024, "gemini": 2048}
"""Provider → tokens from which on a prompt is cached."""
TOOLS = re.compile(r"tools (\d+)")
CHAT = re.compile(r"chat-\d+")
TURN = re.compile(r"turn (\d+)")
ANSWER = "The weather is fine there, as it was all week, and it will stay so until the end of the month, or so they say."


def tokens(text: str) -> int:
    """Return the tokens of a text: its bytes / 4, rounded up."""
    return -(-len(text.encode()) // 4)


@dataclass(frozen=True)
class Block:
    """A piece of a prompt. `text`: its content as the model sees it; `marked`: whether the prompt up to here is to be cached."""

    text: str
    marked: bool = False

    @property
    def tokens(self) -> int:
        """The tokens of its text."""
        return tokens(self.text)


class Refused(Exception):
    """Raised for a request that the provider refuses, with the provider's error text."""


@dataclass
class Served:
    """One answered request, with tokens as the provider counts them.

    account: the key
    chat: the id of its chat, found in its text
    read: tokens read from the cache
    written: tokens written to the cache
    common: tokens of the longest beginning shared with a prompt of the same chat within five minutes, to any account
    minimum: tokens from which on a prompt is cached
    reported: whether the usage was sent
    """

    kind: str
    account: str
    chat: str
    body: Body
    headers: Mapping[str, str]
    prompt: int
    read: int
    written: int
    common: int
    minimum: int
    output: int = 0
    reported: bool = False

    @property
    def turn(self) -> int:
        """The number of its question, found in its text."""
        return int(TURN.findall(json.dumps(seen(self.body)))[-1])

    @property
    def eligible(self) -> bool:
        """True if a cache hit was possible with all prompts of the chat sent to the same account."""
        return self.common >= self.minimum

    @property
    def hit(self) -> bool:
        """True if the request read all of the common beginning from the cache, except at most 128 tokens."""
        return self.read >= self.common - PIECE


@dataclass
class Account:
    """The cached prompts of one account: digest of a beginning → time of expiry."""

    marks: dict[str, float] = field(default_factory=dict[str, float])
    machines: list[dict[str, float]] = field(default_factory=lambda: [{} for _ in range(MACHINES)])
    turn: int = 0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_marks(inner) for key, inner in cast("Body", value).items() if key != "cache_control"}
    if isinstance(value, list):
        return [_without_marks(inner) for inner in cast("list[Any]", value)]
    return value


def _block(value: Body, before: str = "") -> Block:
    marked = "cache_control" in value
    if marked and value["cache_control"] != {"type": "ephemeral"}:
        raise Refused("cache_control: Input should be 'ephemeral'")
    if marked and (value.get("type") in ("thinking", "redacted_thinking") or not str(value.get("text", "x")).strip()):
        raise Refused("cache_control cannot be set for empty text blocks, or for thinking blocks")
    return Block(before + json.dumps(_without_marks(value)), marked)


def claude_blocks(body: Body) -> list[Block]:
    """Return the blocks of an Anthropic prompt; Refused for a misplaced mark. Thinking and tool choice are part of every message block."""
    made = [_block(tool) for tool in body.get("tools", ())]
    system = body.get("system", [])
    made += [_block(one) for one in ([{"type": "text", "text": system}] if isinstance(system, str) else system)]
    manner = json.dumps([body.get("thinking"), body.get("tool_choice")])
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        made += [_block(one, f"{manner}{message['role']}") for one in blocks]
    if sum(one.marked for one in made) > 4:
        raise Refused(f"A maximum of 4 blocks with cache_control may be provided. Found {sum(one.marked for one in made)}.")
    return made


def chat_blocks(body: Body) -> list[Block]:
    """Return the blocks of a prompt of chat completions or of Gemini's API."""
    if "contents" in body:
        system = _either(body, "systemInstruction", "system_instruction")
        return [Block(json.dumps(one)) for one in ([*body.get("tools", ())], system, *body["contents"])]
    return [Block(json.dumps(one)) for one in (*body.get("tools", ()), *body["messages"])]


def _either(table: Body, *names: str) -> Any:
    """Return the value under the first of these names that is present, else None; Google accepts camelCase and snake_case."""
    return next((table[name] for name in names if name in table), None)


def seen(body: Body) -> list[str]:
    """Return the tool names, texts, calls and results of a prompt in order, in one form for all APIs."""
    if "contents" in body:
        said = ["get_weather"] if body.get("tools") else []
        contents: list[Body] = [_either(body, "systemInstruction", "system_instruction") or {"parts": []}, *body["contents"]]
        parts: list[Body] = []
        for content in contents:
            parts += content["parts"]
        return [*said, *(text for part in parts for text in _part(part))]
    said = [one.get("function", one)["name"] for one in body.get("tools", ())]
    said += _texts(body.get("system"))
    for message in body["messages"]:
        for call in message.get("tool_calls") or ():
            said.append(call["function"]["name"] + json.dumps(json.loads(call["function"]["arguments"]), sort_keys=True))
        said[len(said) - len(message.get("tool_calls") or ()) : len(said) - len(message.get("tool_calls") or ())] = _texts(
            message["content"]
        )
    return said


def _part(part: Body) -> list[str]:
    """Return the text, call or result of a part of Gemini's API, as a list of at most one text."""
    if (call := _either(part, "functionCall", "function_call")) is not None:
        return [call["name"] + json.dumps(call["args"], sort_keys=True)]
    if (result := _either(part, "functionResponse", "function_response")) is not None:
        return ["".join(map(str, result["response"].values()))]
    return [part["text"]] if part.get("text") else []


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    made: list[str] = []
    for one in cast("list[Body]", content or []):
        match one:
            case {"type": "tool_use"}:
                made.append(one["name"] + json.dumps(one["input"], sort_keys=True))
            case {"type": "tool_result"}:
                made += _texts(one["content"])
            case {"text": str(text)}:
                made.append(text)
            case _:
                made.append(json.dumps(one))
    return made


@dataclass
class Caches:
    """The running server of the fake providers.

    now: its time, in seconds
    served: every answered request, in order
    refused: the error texts of refused requests
    minimum: model → tokens from which on Anthropic caches a prompt; 1,024 by default
    strict: field names that are refused, as by servers that do not know them
    faults: (chat, number of its model call) → the fault: `break` or `hold` in mid-answer, or `late`, which never starts
    """

    address: str = ""
    now: float = 0.0
    served: list[Served] = field(default_factory=list[Served])
    refused: list[str] = field(default_factory=list[str])
    minimum: Mapping[str, int] = field(default_factory=dict[str, int])
    strict: frozenset[str] = frozenset()
    faults: dict[tuple[str, int], Literal["break", "hold", "late"]] = field(
        default_factory=dict[tuple[str, int], Literal["break", "hold", "late"]]
    )
    accounts: dict[tuple[str, str], Account] = field(default_factory=dict[tuple[str, str], Account])
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when an answer with the fault `hold` has stopped."""
    _said: dict[str, list[tuple[float, list[str]]]] = field(default_factory=dict[str, list[tuple[float, list[str]]]])
    _open: dict[asyncio.Task[Any], asyncio.StreamWriter] = field(default_factory=dict[asyncio.Task[Any], asyncio.StreamWriter])

    def base(self, kind: str) -> str:
        """Return the `api_base` of a kind of provider: anthropic, openai or gemini."""
        return f"{self.address}/{kind}" + ("" if kind == "gemini" else "/v1")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            while (request := await read_request(reader)) is not None:
                headers, body = request
                if not await self._respond(headers, json.loads(body), reader, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            del self._open[task]

    async def close(self) -> None:
        """Abort all open connections."""
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _respond(self, headers: dict[str, str], body: Body, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        kind = headers[":path"].split("/")[1]
        try:
            served = self._read(kind, headers, body)
        except Refused as refused:
            self.refused.append(str(refused))
            error = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": str(refused)}}).encode()
            writer.write(response_head(400, {"content-type": "application/json", "content-length": str(len(error))}) + error)
            await writer.drain()
            return True
        self.served.append(served)
        fault = self.faults.get((served.chat, sum(one.chat == served.chat for one in self.served)))
        frames = list(_frames(kind, body, served))
        if fault == "late":
            served.output, served.reported = 0, False
            await reader.read(1)
            return False
        writer.write(response_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        if fault is not None:
            frames = frames[: len(frames) // 2]
            served.output, served.reported = served.output // 2, False
        for one in frames:
            writer.write(b"%x\r\n%s\r\n" % (len(one), one))
        if fault is None:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        if fault == "hold":
            self.held.set()
            await reader.read(1)
        elif fault == "break":
            writer.transport.abort()
        return fault is None

    def _read(self, kind: str, headers: Mapping[str, str], body: Body) -> Served:
        found = [name for name in self.strict if name in json.dumps(body)]
        if found:
            raise Refused(f"{found[0]}: Extra inputs are not permitted")
        account_key = (headers.get("x-api-key") or headers.get("x-goog-api-key") or headers.get("authorization", "")).removeprefix(
            "Bearer "
        )
        account = self.accounts.setdefault((kind, account_key), Account())
        minimum = self.minimum.get(body["model"], 1024) if kind == "anthropic" else MINIMUM[kind]
        blocks = claude_blocks(body) if kind == "anthropic" else chat_blocks(body)
        prompt = sum(one.tokens for one in blocks)
        read, written = self._marked(account, blocks, minimum) if kind == "anthropic" else self._automatic(account, blocks, body, minimum)
        said = seen(body)
        chat = next(iter(CHAT.findall(json.dumps(said))), "")
        common = max((_common(said, before) for when, before in self._said.get(chat, ()) if self.now - when < KEPT_S), default=0)
        self._said.setdefault(chat, []).append((self.now, said))
        return Served(kind, account_key, chat, body, headers, prompt, read, written, common, minimum)

    def _marked(self, account: Account, blocks: Sequence[Block], minimum: int) -> tuple[int, int]:
        """Cache a prompt by Anthropic's rules; return the tokens read and the tokens written."""
        sums, digests = list(_running(blocks)), [_digest("\0".join(one.text for one in blocks[: at + 1])) for at in range(len(blocks))]
        marks = [at for at, one in enumerate(blocks) if one.marked and sums[at] >= minimum]
        near = [at for mark in marks for at in range(mark, max(-1, mark - LOOK_BACK - 1), -1)]
        read = max((at for at in near if account.marks.get(digests[at], -1.0) > self.now), default=None)
        for at in (*marks, *([] if read is None else [read])):
            account.marks[digests[at]] = self.now + KEPT_S
        found = 0 if read is None else sums[read]
        return found, max(0, sums[marks[-1]] - found) if marks else 0

    def _automatic(self, account: Account, blocks: Sequence[Block], body: Body, minimum: int) -> tuple[int, int]:
        """Cache a prompt by OpenAI's and Google's rules; return the tokens read, and 0 written."""
        text = "\0".join(one.text for one in blocks)
        key = "" if "contents" in body else body.get("prompt_cache_key")
        if key is None:
            account.turn += 1
        place = account.turn if key is None else int(_digest(f"{key}{text[: 4 * 256]}"), 16)
        kept = account.machines[place % MACHINES]
        ends = range(minimum, tokens(text) + 1, PIECE)
        digests = [_digest(text[: 4 * end]) for end in ends]
        read = max((end for end, digest in zip(ends, digests, strict=True) if kept.get(digest, -1.0) > self.now), default=0)
        kept.update(dict.fromkeys(digests, self.now + KEPT_S))
        return read, 0


def _running(blocks: Sequence[Block]) -> Iterator[int]:
    total = 0
    for one in blocks:
        total += one.tokens
        yield total


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    total = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        total += tokens(left)
    return total


def _asked(body: Body) -> tuple[int, str]:
    """Return the number of calls that the answer makes, and the partial answer to continue, if the last assistant message is one."""
    messages = body.get("messages") or [
        {
            "role": {"model": "assistant"}.get(one["role"], one["role"]),
            "content": [
                {"type": "tool_result", "content": ""} if _either(part, "functionResponse", "function_response") else {"text": "", **part}
                for part in one["parts"]
            ],
        }
        for one in body["contents"]
    ]
    last = messages[-1]
    content = last["content"]
    blocks = cast("list[Body]", content) if isinstance(content, list) else [{"type": "text", "text": content}]
    if last["role"] == "tool" or any(one.get("type") == "tool_result" for one in blocks):
        return 0, ""
    wanted = TOOLS.search(blocks[-1].get("text") or "") if body.get("tools") and last["role"] == "user" else None
    said = next((one for one in reversed(messages) if one["role"] == "assistant"), None)
    words = "".join(_texts(said["content"])).strip() if said is not None else ""
    begun = bool(words) and ANSWER.startswith(words) and words != ANSWER
    return (0, words) if begun else (int(wanted[1]) if wanted else 0, "")


def _frames(kind: str, body: Body, served: Served) -> Iterator[bytes]:
    """Yield the frames of the answer, with its token usage; set the request's `output` and `reported`."""
    calls, said = _asked(body)
    words = "" if calls else ANSWER.removeprefix(said).lstrip() if said else ANSWER
    at = len(body.get("messages") or body["contents"])
    made = [(f"call_{at}_{place}", json.dumps({"location": f"City {place} of {at}"})) for place in range(calls)]
    served.output, served.reported = tokens(words) + sum(tokens(arguments) for _, arguments in made), True
    pieces = re.findall(r"\S+ ?", words)
    yield from {"anthropic": _claude, "openai": _chat, "gemini": _gemini}[kind](served, pieces, made)


def _gemini(served: Served, pieces: Sequence[str], calls: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    counted = {
        "promptTokenCount": served.prompt,
        "cachedContentTokenCount": served.read,
        "candidatesTokenCount": served.output,
        "totalTokenCount": served.prompt + served.output,
    }

    def event(part: Body, **more: Any) -> bytes:
        candidate = {"content": {"role": "model", "parts": [part]}, "index": 0, **more}
        return frame({"candidates": [candidate], "usageMetadata": counted, "modelVersion": "fake"})

    yield from (event({"text": piece}) for piece in pieces)
    yield from (event({"functionCall": {"name": "get_weather", "args": json.loads(arguments)}}) for _, arguments in calls)
    yield event({"text": ""}, finishReason="STOP")


def _claude(served: Served, pieces: Sequence[str], calls: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    def event(name: str, **more: Any) -> bytes:
        return f"event: {name}\n".encode() + frame({"type": name, **more})

    counted = {
        "input_tokens": served.prompt - served.read - served.written,
        "cache_read_input_tokens": served.read,
        "cache_creation_input_tokens": served.written,
        "output_tokens": 1,
    }
    yield event("message_start", message={"model": "fake", "usage": counted})
    if pieces:
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield from (event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece}) for piece in pieces)
        yield event("content_block_stop", index=0)
    for place, (call_id, arguments) in enumerate(calls, 1):
        yield event(
            "content_block_start", index=place, content_block={"type": "tool_use", "id": call_id, "name": "get_weather", "input": {}}
        )
        yield event("content_block_delta", index=place, delta={"type": "input_json_delta", "partial_json": arguments})
        yield event("content_block_stop", index=place)
    yield event("message_delta", delta={"stop_reason": "tool_use" if calls else "end_turn"}, usage={"output_tokens": served.output})
    yield event("message_stop")


def _chat(served: Served, pieces: Sequence[str], calls: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    yield chunk({"role": "assistant", "content": ""})
    yield from (chunk({"content": piece}) for piece in pieces)
    for place, (call_id, arguments) in enumerate(calls):
        function = {"name": "get_weather", "arguments": arguments}
        yield chunk({"tool_calls": [{"index": place, "id": call_id, "type": "function", "function": function}]})
    yield chunk({}, "tool_calls" if calls else "stop")
    counted = {
        "prompt_tokens": served.prompt,
        "completion_tokens": served.output,
        "total_tokens": served.prompt + served.output,
        "prompt_tokens_details": {"cached_tokens": served.read},
    }
    yield frame({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": [], "usage": counted})
    yield DONE


@asynccontextmanager
async def caches(**more: Any) -> AsyncGenerator[Caches, None]:
    """Run the server on a free loopback port."""
    made = Caches(**more)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=1 << 24)
    made.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        await made.close()
