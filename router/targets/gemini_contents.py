"""A conversation in Gemini's form: contents with alternating roles, each a list of parts.

A call or a text may have a signature (`thoughtSignature`) beside it. Signatures are reasoning state, and are sent back to the target
that issued them. From Gemini 3 on the first call of each content needs one; a call of another model gets Google's placeholder.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures; https://ai.google.dev/api/caching#Content.
"""

import mimetypes
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from router.chat import Ask, Call, File, Json, JsonObject, Message, Result

SIGNATURE = "thoughtSignature"
AUDIO = {"wav": "audio/wav", "mp3": "audio/mp3", "aac": "audio/aac", "ogg": "audio/ogg", "flac": "audio/flac", "aiff": "audio/aiff"}
"""Format → the media type under which Google takes it (https://ai.google.dev/gemini-api/docs/audio)."""
UNSIGNED = "skip_thought_signature_validator"
"""Placeholder for the signature of a call that another model made."""


def contents(ask: Ask, issuer: str, *, signs: bool = False, ids: bool = True) -> list[Json]:
    """Return the conversation as Gemini's list of contents, without system messages. Tool results are user contents, in the order of calls.
    issuer: the target whose reasoning states are sent back
    signs: true if the first call of a message gets the placeholder when it has no signature
    ids: true if calls and results have ids
    """
    made: list[tuple[str, list[Json]]] = []
    called: Sequence[Call] = ()
    given: list[Result] = []
    for message in ask.messages:
        if message.role == "tool":
            given += message.results
            continue
        _turn(made, "user", _responses(given, called, ids=ids))
        given.clear()
        if message.role == "assistant":
            called = message.calls
            _turn(made, "model", _model_parts(message, issuer, signs=signs, ids=ids))
        elif message.role == "user":
            _turn(made, "user", [_part(part) for part in message.parts if isinstance(part, str | File)])
    _turn(made, "user", _responses(given, called, ids=ids))
    return [{"role": role, "parts": parts} for role, parts in made]


def _turn(made: list[tuple[str, list[Json]]], role: str, parts: list[Json]) -> None:
    """Add a content to `made`, or extend its last one if that has the same role. No parts add nothing."""
    if parts and made and made[-1][0] == role:
        made[-1][1].extend(parts)
    elif parts:
        made.append((role, parts))


def _responses(results: Sequence[Result], calls: Sequence[Call], *, ids: bool) -> list[Json]:
    """Return tool results as function responses, in the order of `calls`, by which Google matches them if they have no ids."""
    order = {call.call_id: at for at, call in enumerate(calls)}
    names = {call.call_id: call.name for call in calls}
    made: list[Json] = []
    for result in sorted(results, key=lambda one: order.get(one.call_id, len(order))):
        name = names.get(result.call_id) or result.name
        stated: dict[str, Json] = {"id": result.call_id} if ids else {}
        given = result.value if isinstance(result.value, Mapping) else {"result": result.value}  # Google takes only objects
        made.append({"functionResponse": {**stated, "name": name, "response": {"error": result.text} if result.is_error else given}})
    return made


def _model_parts(message: Message, issuer: str, *, signs: bool, ids: bool) -> list[Json]:
    """Return the parts of an assistant message, with signatures at the places where they came if it has calls; else without signatures.
    issuer: the target whose reasoning states are sent back; if it issued none, those from the client are
    signs: true if the first call gets the placeholder UNSIGNED when it has no signature
    ids: true if calls have ids
    """
    states = message.states(issuer) if message.calls else ()
    signatures = {state.call_id: signed for state in states if state.call_id and (signed := _signature(state.value))}
    marks = [state for state in states if not state.call_id and _signature(state.value)]
    left = len(message.text)
    """Characters of text still to come."""
    made: list[Json] = []
    for part in message.parts:
        if isinstance(part, str):
            while part and marks and left - len(part) <= marks[0].after < left:
                before = left - marks[0].after
                made.append(_marked(marks.pop(0).value, part[:before]))
                part, left = part[before:], left - before  # noqa: PLW2901 - what is left of it
            if part:
                made.append({"text": part})
            left -= len(part)
        elif isinstance(part, Call):
            made += [_marked(state.value, "") for state in marks]
            marks.clear()
            stated: dict[str, Json] = {"id": part.call_id} if ids else {}
            call: dict[str, Json] = {"functionCall": {**stated, "name": part.name, "args": part.arguments}}
            signature = signatures.get(part.call_id) or (UNSIGNED if signs else None)
            made.append({**call, SIGNATURE: signature} if signature else call)
            signs = False  # the calls after the first need none
    return made


def _marked(value: JsonObject, text: str) -> Json:
    """Return a part with the signature of a reasoning state: the signed thought if the state is one, otherwise the text."""
    thought: dict[str, Json] = {"text": value.get("text", ""), "thought": True} if value.get("thought") is True else {"text": text}
    return {**thought, SIGNATURE: _signature(value)}


def _signature(value: JsonObject) -> str | None:
    """Return the signature in a reasoning state, in this API's form or in that of Google's OpenAI-compatible API; None if there is none."""
    if isinstance(signed := value.get(SIGNATURE), str):
        return signed
    match value.get("extra_content"):
        case {"google": {"thought_signature": str(stated)}}:
            return stated
        case _:
            return None


def _part(part: str | File) -> Json:
    """Return a text or a file as a Gemini part: a file as its data, or as the URL that Google fetches."""
    if isinstance(part, str):
        return {"text": part}
    if part.remote:  # without a media type if neither the client nor the URL's path gives one
        kind = mimetypes.guess_type(urlsplit(part.url).path)[0] if part.kind.endswith("/*") else part.kind
        return {"fileData": {**({"mimeType": kind} if kind else {}), "fileUri": part.url}}
    kind = AUDIO.get(part.audio_format, part.kind) if part.sort == "audio" else part.kind
    return {"inlineData": {"mimeType": kind, "data": part.encoded}}
