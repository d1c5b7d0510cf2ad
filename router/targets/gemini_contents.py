"""A conversation in Gemini's form: contents with alternating roles, each a list of parts.

A call or a text may have a signature (`thoughtSignature`) beside it. Signatures are reasoning state, and are sent back to the target
that issued them. From Gemini 3 on the first call of each content needs one; a call of another model gets Google's placeholder.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures; https://ai.google.dev/api/caching#Content.
"""

import mimetypes
from collections.abc import Mapping, Sequence
from typing import cast
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
        made.append({"functionResponse": {**stated, "name": name, "response": _response(result)}})
    return made


def _response(result: Result) -> Json:
    """Return a tool's result as an object, as Google wants it: an error under `error`, a value other than an object under `result`."""
    if result.is_error:
        return {"error": result.text}
    return result.value if isinstance(result.value, Mapping) else {"result": result.value}


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
    first = True
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
            signature = signatures.get(part.call_id) or (UNSIGNED if first and signs else None)
            made.append(_call(part, signature, ids=ids))
            first = False
    return made


def _marked(value: JsonObject, text: str) -> Json:
    """Return a part with the signature of a reasoning state: the signed thought if the state is one, otherwise the text."""
    if value.get("thought") is True:
        return {"text": value.get("text", ""), "thought": True, SIGNATURE: _signature(value)}
    return {"text": text, SIGNATURE: _signature(value)}


def _call(call: Call, signature: str | None, *, ids: bool) -> Json:
    stated: dict[str, Json] = {"id": call.call_id} if ids else {}
    made: dict[str, Json] = {"functionCall": {**stated, "name": call.name, "args": call.arguments}}
    return {**made, SIGNATURE: signature} if signature else made


def _signature(value: JsonObject) -> str | None:
    """Return the signature in a reasoning state, in this API's form or in that of Google's OpenAI-compatible API; None if there is none."""
    if isinstance(signed := value.get(SIGNATURE), str):
        return signed
    extra = value.get("extra_content")
    google = cast("Mapping[str, Json]", extra).get("google") if isinstance(extra, Mapping) else None
    stated = cast("Mapping[str, Json]", google).get("thought_signature") if isinstance(google, Mapping) else None
    return stated if isinstance(stated, str) else None


def _part(part: str | File) -> Json:
    """Return a text or a file as a Gemini part: a file as its data, or as the URL that Google fetches."""
    if isinstance(part, str):
        return {"text": part}
    if part.remote:
        kind = _kind(part)
        return {"fileData": {**({"mimeType": kind} if kind else {}), "fileUri": part.url}}
    return {
        "inlineData": {"mimeType": AUDIO.get(part.audio_format, part.kind) if part.sort == "audio" else part.kind, "data": part.encoded}
    }


def _kind(file: File) -> str | None:
    """Return the media type of a file given by URL: the client's, or a guess from the URL's path; None if neither gives one."""
    if not file.kind.endswith("/*"):
        return file.kind
    return mimetypes.guess_type(urlsplit(file.url).path)[0]
