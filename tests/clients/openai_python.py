"""The `openai` package for Python, 2.x or 3.x: runs a case and reports what a program that uses the package would have.

It runs in the Python environment in which the package is installed. Cases and reports have the form of those of openai.mjs.
"""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import openai

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather for a city.",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}
Saw = dict[str, Any]

# A deed takes the client as Any: its overloads are for arguments that are written out, and these come in a line of JSON.


def _send(client: Any, asked: dict[str, Any], deed: dict[str, Any], case: dict[str, Any], saw: Saw) -> None:
    """Ask with stream=True, read the chunks one by one, and put the result into the report."""
    usage = {"stream_options": {"include_usage": True}} if deed.get("usage") else {}
    stream = client.chat.completions.create(**asked, **usage, stream=True)
    message: dict[str, Any] = {"role": "assistant", "content": "", "thought": "", "tool_calls": []}
    asked["messages"].append(message)
    with stream:
        for chunk in stream:
            if chunk.usage:
                saw["usage"] = _counted(chunk.usage)
            if not chunk.choices:
                continue
            choice = chunk.choices[0]
            message["content"] += choice.delta.content or ""
            message["thought"] += getattr(choice.delta, "reasoning_content", None) or getattr(choice.delta, "reasoning", None) or ""
            for said in choice.delta.tool_calls or ():
                if said.index == len(message["tool_calls"]):
                    message["tool_calls"].append({"id": said.id, "type": "function", "function": {"name": "", "arguments": ""}})
                function = message["tool_calls"][said.index]["function"]
                function["name"] += said.function.name or ""
                function["arguments"] += said.function.arguments or ""
            if choice.finish_reason:
                saw["finish"] = choice.finish_reason
            if deed.get("stop") and deed["stop"] in message["content"]:
                saw["events"].append("aborted")
                break


def _stream(client: Any, asked: dict[str, Any], deed: dict[str, Any], case: dict[str, Any], saw: Saw) -> None:
    """Ask with the package's `.stream()` helper, and put the result into the report."""
    usage = {"stream_options": {"include_usage": True}} if deed.get("usage") else {}
    with client.chat.completions.stream(**asked, **usage) as stream:
        completion = stream.get_final_completion()
    asked["messages"].append(completion.choices[0].message.model_dump())
    saw["finish"] = completion.choices[0].finish_reason
    if deed.get("usage"):
        saw["usage"] = _counted(completion.usage)


def _complete(client: Any, asked: dict[str, Any], deed: dict[str, Any], case: dict[str, Any], saw: Saw) -> None:
    """Ask with stream=False, and put the result into the report."""
    completion = client.chat.completions.create(**asked)
    asked["messages"].append(completion.choices[0].message.model_dump())
    saw["finish"] = completion.choices[0].finish_reason
    saw["usage"] = _counted(completion.usage)
    saw["events"].append(completion.object)


def _run_tools(client: Any, asked: dict[str, Any], deed: dict[str, Any], case: dict[str, Any], saw: Saw) -> None:
    """Run the tools in the program and ask again until an answer has no calls; the package has no helper for it."""
    asked["tools"] = [WEATHER]
    while True:
        with client.chat.completions.stream(**asked) as stream:
            choice = stream.get_final_completion().choices[0]
        saw["finish"] = choice.finish_reason
        message = choice.message.model_dump(include={"role", "content", "tool_calls"}, exclude_none=True)
        for call in message.get("tool_calls", ()):
            call["function"].pop("parsed_arguments", None)
        asked["messages"].append(message)
        if not choice.message.tool_calls:
            return
        for call in choice.message.tool_calls:
            saw["events"].append(f"tool {call.function.name}")
            asked["messages"].append({"role": "tool", "tool_call_id": call.id, "content": case["tools"][call.function.name]})


def _models(client: Any, asked: dict[str, Any], deed: dict[str, Any], case: dict[str, Any], saw: Saw) -> None:
    saw["events"] += [f"{model.object} {model.id}" for model in client.models.list()]


def _embed(client: Any, asked: dict[str, Any], deed: dict[str, Any], case: dict[str, Any], saw: Saw) -> None:
    """Ask for embeddings; without an `encoding_format` the package asks for base64 and decodes it."""
    wanted = {name: deed[name] for name in ("dimensions", "encoding_format") if name in deed}
    made = client.embeddings.create(model=asked["model"], input=deed["texts"], **wanted)
    saw["vectors"] = [list(one.embedding) for one in made.data]
    saw["usage"] = {"input": made.usage.prompt_tokens, "output": 0, "total": made.usage.total_tokens}


DEEDS: dict[str, Callable[[Any, dict[str, Any], dict[str, Any], dict[str, Any], Saw], None]] = {
    "send": _send,
    "stream": _stream,
    "complete": _complete,
    "run-tools": _run_tools,
    "models": _models,
    "embed": _embed,
}


def run(root: openai.OpenAI, case: dict[str, Any]) -> Saw:
    """Run one case and return the report. `root`: a client whose connections are reused."""
    client = root.with_options(base_url=case["base"] + case.get("path", "/v1"))
    messages: list[dict[str, Any]] = []
    saw: Saw = {"messages": [], "finish": None, "error": None, "events": [], "status": "ready"}
    for deed in case["deeds"]:
        if "text" in deed:
            messages.append({"role": "user", "content": _content(deed)})
        asked: dict[str, Any] = {"model": case["model"], "messages": messages, **({"tools": [WEATHER]} if deed.get("tools") else {})}
        try:
            DEEDS[deed["do"]](client, asked, deed, case, saw)
        except Exception as error:  # noqa: BLE001  # what a client raises is what is observed here
            saw["status"], saw["error"] = "error", _failure(error)
            break
    saw["messages"] = [_normal(message) for message in messages]
    return saw


def _content(deed: dict[str, Any]) -> object:
    if "files" not in deed:
        return deed["text"]
    return [{"type": "text", "text": deed["text"]}, *({"type": "image_url", "image_url": {"url": file["url"]}} for file in deed["files"])]


def _normal(message: dict[str, Any]) -> dict[str, Any]:
    role, said = message["role"], message.get("content")
    if role == "tool":
        return {"role": role, "parts": [["result", message["tool_call_id"], said]]}
    parts: list[list[Any]] = []
    if thoughts := message.get("thought") or message.get("reasoning_content"):
        parts.append(["thought", thoughts])
    if isinstance(said, str) and said:
        parts.append(["text", said])
    elif isinstance(said, list):
        pieces = cast("list[dict[str, Any]]", said)
        parts += [["text", one["text"]] if one["type"] == "text" else ["file", "image", one["image_url"]["url"]] for one in pieces]
    for call in message.get("tool_calls") or ():
        parts.append(["call", call["function"]["name"], json.loads(call["function"]["arguments"]), "open"])
    return {"role": role, "parts": parts}


def _counted(usage: Any) -> dict[str, int]:
    return {"input": usage.prompt_tokens, "output": usage.completion_tokens, "total": usage.total_tokens}


def _failure(error: Exception) -> dict[str, Any]:
    body: object = getattr(error, "body", None)
    told = cast("dict[str, Any]", body).get("message") if isinstance(body, dict) else None
    return {
        "kind": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "code": getattr(error, "code", None),
        "message": told or str(error),
        "request": getattr(error, "request_id", None),
    }


@contextmanager
def opened() -> Generator[Callable[[dict[str, Any]], Saw]]:
    """Yield the function that runs a case. All cases share one client, since creating one takes 35 ms."""
    with openai.OpenAI(base_url="http://127.0.0.1", api_key="sk-client", max_retries=0, timeout=240) as root:
        yield lambda case: run(root, case)
