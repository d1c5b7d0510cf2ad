"""Requests for a stored OpenAI response: retrieve, stream, cancel, delete, list its input items."""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qs

from router.answering.exchange import Exchange
from router.answering.kept import KeptAnswers
from router.answering.recording import Key
from router.answering.reply import Streamed
from router.errors import BadAsk, UnknownAddress
from router.intake import Intake, Request
from router.value import replace
from router.wire import compact, responses

Part = Literal["response", "cancel", "input_items"]
"""Part of a stored response that a path names: the response itself, its cancellation, or its input items."""
METHODS: Mapping[Part, tuple[str, ...]] = {"response": ("GET", "DELETE"), "cancel": ("POST",), "input_items": ("GET",)}
COMPACTION = (
    "POST /v1/responses/compact is not served: what it returns is encrypted by one provider, and no other can read it. "
    "Shorten the conversation yourself, or have a model summarise it, and send that as input."
)


def check_address(part: Part, method: str, name: str) -> None:
    """Raise UnknownAddress if this part of a response is not served with this method. The id `compact` gets an explanation."""
    if method not in METHODS[part]:
        raise UnknownAddress(sentence=COMPACTION if (part, name) == ("response", "compact") else "")


async def answer(part: Part, exchange: Exchange, key: Key, kept: KeptAnswers, intake: Intake) -> None:
    """Retrieve, stream, cancel or delete a stored response of this caller, or list its input items, as `part` and the method say.

    The errors of `KeptAnswers.response`; BadAsk for an invalid query; Undeleted if Redis is away at a deletion.
    """
    request, reply, generation = exchange.request, exchange.reply, exchange.generation
    entry, name = reply.entry, key[1]
    recording = await kept.response(key, generation)
    entry.route = recording.entry.route
    reply.resumed = recording.heading.request_id if request.method == "GET" else ""
    entry.outcome = "resumed"
    if part == "input_items":
        items = await kept.items(key, recording, generation)
        await reply.complete(200, await intake.input_items(items, name, request.query))
        return
    if request.method == "DELETE":
        await kept.delete(key, generation)
        entry.outcome = "deleted"
        await reply.complete(200, compact({"id": name, "object": "response", "deleted": True}).encode())
        return
    if part == "cancel":
        entry.outcome = "stop_asked"
        await kept.cancel(key, recording, generation)
    elif (after := _after(request)) is not None:
        entry.stream = True
        sink = Streamed(reply, replace(recording.heading, after=after), generation.server.keep_alive)
        await exchange.cancel_if_left()
        await recording.write_to(sink)
        return
    await reply.complete(200, responses.standing(recording.heading, recording.since(0)[1]))


def _after(request: Request) -> int | None:
    """Return `starting_after` (the number of the last event that the client has) of a request for a stream; -1 if it is not given.

    None if no stream is requested. BadAsk if a parameter is invalid, or `starting_after` comes without `stream=true`.
    """
    query = parse_qs(request.query.decode("latin-1"))
    if "message.output_text.logprobs" in (*query.get("include", ()), *query.get("include[]", ())):
        raise BadAsk("include: message.output_text.logprobs is not served here.")
    stream, after = query.get("stream", ["false"])[0], query.get("starting_after", [""])[0]
    if stream not in ("true", "false"):
        raise BadAsk("stream: true or false is needed.")
    if after and not (after.isascii() and after.isdigit() and len(after) < 10):
        raise BadAsk("starting_after: the number of an event is needed.")
    if stream == "false":
        if after:
            raise BadAsk("starting_after: this needs stream=true.")
        return None
    return int(after) if after else -1
