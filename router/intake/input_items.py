"""The input items of a response in pages, as OpenAI's `GET /v1/responses/{id}/input_items` lists them.

An item that came without an id gets one made of the response's id and the item's position, so it is the same each time.
"""

import json
from collections.abc import Sequence
from typing import cast
from urllib.parse import parse_qs

from router.chat import Json, JsonObject
from router.errors import BadAsk
from router.intake.fields import mapping
from router.wire import compact
from router.wire.shape import utf8

KNOWN = frozenset({"limit", "order", "after", "include", "include[]"})
MAX_LIMIT = 100
USUAL_LIMIT = 20
PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "mcp_call": "mcp", "reasoning": "rs"}
"""Type of an item → the prefix of its id."""


def page(asked: bytes, response: str, query: bytes) -> bytes:
    """Return the page of a response's input items (JSON) that a query selects: by default the last USUAL_LIMIT, the newest first.

    query: limit, order and after; BadAsk names an invalid or unknown parameter
    """
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    if unknown := sorted(given.keys() - KNOWN):
        raise BadAsk(f"{unknown[0]}: this is not served here; limit, order and after are.")
    limit, order, after = (given.get(name, [usual])[0] for name, usual in (("limit", str(USUAL_LIMIT)), ("order", "desc"), ("after", "")))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and 1 <= int(limit) <= MAX_LIMIT):
        raise BadAsk(f"limit: a number from 1 to {MAX_LIMIT} is needed.")
    if order not in ("asc", "desc"):
        raise BadAsk("order: asc or desc is needed.")
    items = [_shown(item, response, index) for index, item in enumerate(cast("Sequence[Json]", json.loads(asked)))]
    if order == "desc":
        items.reverse()
    if after:
        places = [index for index, item in enumerate(items) if item["id"] == after]
        if not places:
            raise BadAsk("after: the id of an item of this response is needed.")
        items = items[places[0] + 1 :]
    listed = items[: int(limit)]
    ends = {"first_id": listed[0]["id"] if listed else None, "last_id": listed[-1]["id"] if listed else None}
    return utf8(compact({"object": "list", "data": [*listed], **ends, "has_more": len(items) > len(listed)}))


def _shown(item: Json, response: str, index: int) -> JsonObject:
    """Return an item with its type and id; a message also with parts instead of a plain text, and a status."""
    fields = dict(mapping(item) or {})
    kind = str(fields.get("type") or "message")
    if not isinstance(fields.get("id"), str):
        fields["id"] = f"{PREFIXES.get(kind, 'item')}_{response.removeprefix('resp_')}_i{index}"
    if kind == "message":
        said = fields.get("content")
        if isinstance(said, str):
            own: JsonObject = {"type": "output_text", "annotations": [], "logprobs": []}
            fields["content"] = [{**(own if fields.get("role") == "assistant" else {"type": "input_text"}), "text": said}]
        fields.setdefault("status", "completed")
    return {**fields, "type": kind}
