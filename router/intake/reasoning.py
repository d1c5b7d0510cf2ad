"""Reading the reasoning state that a client sends back with tool calls, in the forms of the OpenAI API and of the AI SDKs.

    reasoning_content, reasoning           a text beside tool_calls
    reasoning_details                      OpenRouter's list beside tool_calls
    tool_calls[].extra_content             Gemini's signature of one call
    a part of type reasoning               AI SDK: its text, and the signature in its providerMetadata (or, AI SDK 4, its details)

The client may have changed it: its issuer is empty, and it is sent only to targets that accept that form.
"""

from collections.abc import Iterator, Sequence
from typing import cast

from router.chat import Call, Json, Part, ReasoningState, deeper, mended, repaired
from router.errors import BadAsk
from router.intake.fields import Fields, listing, mapping

MAX_DETAILS = 256
"""The most entries of one `reasoning_details`."""
MAX_DEPTH = 16
"""The most levels of nesting in reasoning state from a client."""


def of_message(fields: Fields, path: str) -> Iterator[ReasoningState]:
    """Yield the reasoning state in an OpenAI message's own fields; that in its tool calls is read by `of_call`. BadAsk if malformed."""
    content, thought = fields.get("reasoning_content"), fields.get("reasoning")
    if content is not None and not isinstance(content, str):
        raise BadAsk(f"{path}.reasoning_content: a text is needed.")
    if stated := content or (thought if isinstance(thought, str) else ""):  # what else is called so says how it thought, not what
        yield ReasoningState("", {"reasoning_content": repaired(stated)})
    if (details := fields.get("reasoning_details")) is None:
        return
    listed = listing(details)
    if listed is None or len(listed) > MAX_DETAILS or any(mapping(one) is None for one in listed) or deeper(details, MAX_DEPTH):
        bounds = f"a list of at most {MAX_DETAILS} objects is needed, nested no deeper than {MAX_DEPTH} levels."
        raise BadAsk(f"{path}.reasoning_details: {bounds}")
    if listed:
        yield ReasoningState("", {"reasoning_details": mended(listed)})


def of_call(fields: Fields, path: str, call: Call) -> Iterator[ReasoningState]:
    """Yield the reasoning state in a tool call of an OpenAI message, if it has any. BadAsk if it is malformed."""
    if (extra := fields.get("extra_content")) is not None:
        if mapping(extra) is None or deeper(extra, MAX_DEPTH):
            raise BadAsk(f"{path}.extra_content: an object is needed, nested no deeper than {MAX_DEPTH} levels.")
        yield ReasoningState("", {"extra_content": mended(extra)}, call.call_id)


def of_part(part: Fields) -> Iterator[ReasoningState]:
    """Yield the state in a `reasoning` part of the AI SDKs: its text, and what Anthropic signed or redacted. Malformed state is skipped."""
    held = part.get("text") if part.get("text") is not None else part.get("reasoning")
    thought = repaired(held) if isinstance(held, str) else ""
    if thought:
        yield ReasoningState("", {"reasoning_content": thought})
    stated = mapping((mapping(part.get("providerMetadata")) or {}).get("anthropic")) or {}
    yield from signed(thought, stated.get("signature"))
    yield from redacted(stated.get("redactedData"))
    for one in (listing(part.get("details")) or ())[:MAX_DETAILS]:
        match one:
            case {"type": "text", "text": text, "signature": signature}:
                yield from signed(text, signature)
            case {"type": "redacted", "data": data}:
                yield from redacted(data)
            case _:
                pass


def of_tool(part: Fields, call_id: str) -> Iterator[ReasoningState]:
    """Yield Gemini's signature of one call, as the AI SDK stores it in `callProviderMetadata`; nothing if there is none."""
    stated = mapping((mapping(part.get("callProviderMetadata")) or {}).get("google")) or {}
    if isinstance(signature := stated.get("thoughtSignature"), str) and signature:
        yield ReasoningState("", {"extra_content": {"google": {"thought_signature": repaired(signature)}}}, call_id)


def signed(thought: Json, signature: Json) -> Iterator[ReasoningState]:
    """Yield Anthropic's thinking with its signature; nothing if one of them is no text, or there is no signature."""
    if isinstance(thought, str) and isinstance(signature, str) and signature:
        yield ReasoningState("", {"type": "thinking", "thinking": repaired(thought), "signature": repaired(signature)})


def redacted(data: Json) -> Iterator[ReasoningState]:
    """Yield Anthropic's redacted thinking; nothing if its data are empty or no text."""
    if isinstance(data, str) and data:
        yield ReasoningState("", {"type": "redacted_thinking", "data": repaired(data)})


def settled(spoken: Sequence[Part]) -> Sequence[Part]:
    """Return the parts of one model call with its reasoning right before its first call; without a call, reasoning is dropped.

    Texts of reasoning are joined into one. Other reasoning state records in `after` how many characters of text follow it.
    """
    plain = [part for part in spoken if not isinstance(part, ReasoningState)]
    states = [part for part in spoken if isinstance(part, ReasoningState)]
    first = next((index for index, part in enumerate(plain) if isinstance(part, Call)), None)
    if first is None or not states:
        return plain
    texts = [cast("str", state.value["reasoning_content"]) for state in states if "reasoning_content" in state.value]
    made: list[Part] = [ReasoningState("", {"reasoning_content": "".join(texts)})] if texts else []
    after = sum(len(part) for part in plain if isinstance(part, str))
    for part in spoken:
        if isinstance(part, str):
            after -= len(part)
        elif isinstance(part, ReasoningState) and "reasoning_content" not in part.value:
            made.append(ReasoningState("", part.value, part.call_id, after))
    return [*plain[:first], *made, *plain[first:]]
