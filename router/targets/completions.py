"""An Ask as a chat-completions request of OpenAI's API: messages, tools and parameters. LiteLLM takes the same form."""

import json
import re
from collections.abc import Callable, Container

from router.chat import Ask, File, Json, Message, ToolSpec
from router.targets.facts import Facts

SPEAKER = re.compile(r"[^\s<|\\/>]{1,64}")
"""Pattern of a message's `name` that OpenAI accepts."""
Amend = Callable[[Message, dict[str, Json]], None]
"""Function that adds to an assistant message of the request what a provider wants, such as the reasoning before its calls."""


def messages(ask: Ask, amend: Amend | None = None, carries: Container[str] = ()) -> list[dict[str, Json]]:
    """Return the messages of the request; each tool result becomes a message of its own.
    amend: called with each assistant message and its form in the request, which it may change
    carries: names of optional fields that the provider takes, such as `messages.name`
    """
    made: list[dict[str, Json]] = []
    for message in ask.messages:
        parts = message.parts
        if message.role == "tool":
            made.extend({"role": "tool", "tool_call_id": one.call_id, "content": one.text} for one in message.results)
            continue
        if len(parts) == 1 and isinstance(text := parts[0], str) and not message.name:
            made.append({"role": message.role, "content": text})
        else:
            made.append(_message(message, carries))
        if amend is not None and message.role == "assistant":
            amend(message, made[-1])
    return made


def _message(message: Message, carries: Container[str]) -> dict[str, Json]:
    made: dict[str, Json] = {"role": message.role, "content": message.text}
    if "messages.name" in carries and SPEAKER.fullmatch(message.name):
        made["name"] = message.name
    if any(isinstance(part, File) for part in message.parts):
        made["content"] = [_part(part, carries) for part in message.parts if isinstance(part, str | File)]
    if message.calls:
        made["content"] = message.text or None
        functions: list[Json] = [{"name": one.name, "arguments": json.dumps(one.arguments, ensure_ascii=False)} for one in message.calls]
        made["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": function} for call, function in zip(message.calls, functions, strict=True)
        ]
    return made


def _part(part: str | File, carries: Container[str]) -> dict[str, Json]:
    match part:
        case str():
            return {"type": "text", "text": part}
        case File(kind, url) if kind.startswith("image/"):
            detail = {"detail": part.detail} if part.detail and "image_url.detail" in carries else {}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        case File() if part.sort == "audio":
            # Mistral takes the data alone (docs.mistral.ai, chat with audio).
            audio: Json = part.encoded if "input_audio.bare" in carries else {"data": part.encoded, "format": part.audio_format}
            return {"type": "input_audio", "input_audio": audio}
        case File(_, url, name):
            return {"type": "file", "file": {"file_data": url, "filename": name or "document.pdf"}}


def choice(ask: Ask) -> Json:
    """Return the request's `tool_choice`: a word such as `required`, or an object that names a tool. None for auto, which is not sent."""
    if ask.choice.kind == "named":
        return {"type": "function", "function": {"name": ask.choice.name}}
    return None if ask.choice.kind == "auto" else ask.choice.kind


def tool(spec: ToolSpec, carries: Container[str] = ()) -> dict[str, Json]:
    """Return a tool in the form of OpenAI's API; with `strict` only if `function.strict` is in `carries`."""
    strict = {"strict": True} if spec.strict and "function.strict" in carries else {}
    return {"type": "function", "function": {"name": spec.name, "description": spec.description, "parameters": spec.parameters, **strict}}


def tools(ask: Ask, facts: Facts) -> dict[str, Json]:
    """Return the request's fields for the question's tools: `tools`, and `tool_choice` if the model takes the question's choice."""
    made: dict[str, Json] = {"tools": [tool(spec, facts.carries) for spec in ask.tools]}
    if (chosen := choice(ask)) is not None and (facts.forced_tools or chosen == "none"):
        made["tool_choice"] = chosen
    return made


def parameter(name: str, value: Json) -> Json:
    """Return a parameter's value in the form of OpenAI's API: `prediction` is wrapped in an object, any other value is unchanged."""
    return {"type": "content", "content": value} if name == "prediction" else value
