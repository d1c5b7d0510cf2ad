"""A fake server for many deployments, asked by this router or by LiteLLM's own: each fails or answers as the question says.

A question is JSON: `faults` maps a deployment's label to its fault (a status, or `long`); any other deployment answers with its label.
The label is the first part of the URL's path. The server records the labels that each question reached, in order.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.support.provider import text
from tests.support.upstream import Anthropic

TOO_LONG = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."


def question(number: int, faults: Mapping[str, int | str]) -> str:
    """Return the text of a question in which these deployments fail."""
    return json.dumps({"id": number, "faults": faults})


class Cast:
    """The fake server. `asked`: number of a question → the labels of the deployments that received it, in order."""

    def __init__(self) -> None:
        self.asked: dict[int, list[str]] = {}
        self.base = ""

    def order(self, number: int) -> list[str]:
        """Return the labels that a question reached, each once, by first arrival."""
        return list(dict.fromkeys(self.asked.get(number, [])))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, then close the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length"))
        body = json.loads(await reader.readexactly(length))
        path = head.split()[1]
        label = path.split("/")[1]
        asked = json.loads(_text(body["messages"][-1]["content"]))
        self.asked.setdefault(asked["id"], []).append(label)
        fault = asked["faults"].get(label)
        claude = "/v1/messages" in path
        if fault is None:
            frames = Anthropic().text([label]).frames if claude else text(label)
            answer = b"".join(frames) if body.get("stream") else json.dumps(_complete(label, claude=claude)).encode()
            kind = "text/event-stream" if body.get("stream") else "application/json"
            writer.write(_response(200, kind, answer))
        else:
            status, code, message = (400, "context_length_exceeded", TOO_LONG) if fault == "long" else (int(fault), "error", "no")
            if claude and fault == "long":
                message = "prompt is too long: 9000 tokens > 8192 maximum"
            told = {"type": "error", "error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
            writer.write(_response(status, "application/json", json.dumps(told).encode()))
        await writer.drain()
        writer.close()


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _complete(label: str, *, claude: bool) -> dict[str, Any]:
    if claude:
        usage = {"input_tokens": 1, "output_tokens": 1}
        content = [{"type": "text", "text": label}]
        return {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": content,
            "stop_reason": "end_turn",
            "usage": usage,
        }
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": label}}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def _response(status: int, kind: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def cast() -> AsyncGenerator[Cast, None]:
    """Run the fake server on loopback until the end of the block, and yield it."""
    made = Cast()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=1 << 20)
    made.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()
