"""A tool call whose arguments are incomplete: how its pieces are assembled, and the ToolCall that they become."""

import itertools
import json
from typing import Literal, cast

from router.chat import ESCAPED, Json, JsonObject, crowded, deeper, finite, mended, no_constant, repaired
from router.events import ToolCall
from router.value import Mutable, field

MAX_DEPTH = 100
"""Limit of nesting in a call's arguments: Python can read deeper JSON than it can write."""
MAX_VALUES = 50_000
"""Limit of JSON values in a call's arguments."""
MAX_LOOKS = 64
"""Limit of parses of one call's arguments to see if they are complete or restarted: each parse takes time for all of them."""


class OpenCall(Mutable):
    """A tool call whose arguments are still arriving. Held by a Speech.

    index: the provider's number of the call
    call_id: unique in the answer; made by the router if the provider sends none or repeats one
    parts: pieces of the arguments so far
    size: their characters, replaced ones included
    """

    index: int
    call_id: str
    name: str
    theirs: str = ""
    """The call's id as the provider sent it; empty if there was none."""
    parts: list[str] = field(default_factory=list[str])
    size: int = 0
    unsaid: str = ""
    """Arguments held back from events: an empty object that may be a placeholder."""
    over: bool = False
    """True once the arguments were complete and are repeated: the repetition becomes no events."""
    looks: int = 0
    """Parses of the arguments so far."""
    twin: "OpenCall | None" = None
    """An earlier call with the same id and name at another index, while the arguments so far are the beginning of its own."""

    @property
    def written(self) -> str:
        """Return the text of the arguments so far, as the provider sent it."""
        return "".join(self.parts)

    @property
    def repeats(self) -> bool:
        """Return whether this call is its twin once more; `twin` becomes None as soon as the arguments differ."""
        if self.twin is not None and not self.twin.written.startswith(self.written):
            self.twin = None
        return self.twin is not None


EMPTY = ("{}", "null")
"""Arguments that may be a placeholder for others, or mean that there are none."""
Follows = Literal["on", "again", "instead", "repeated", "another"]
"""Relation of a piece to a known call.

on: it continues the arguments, or nothing else is certain
repeated: all of the complete arguments once more, or an empty object after them, in this one piece, which is ignored
again: the complete arguments begin once more with this piece
instead: it replaces an empty object
another: it begins another call"""


def follows(known: OpenCall, call_id: str, name: str, part: str) -> Follows:
    """Return how a piece of arguments (`part`), with the id and name sent beside it, relates to a known call.
    Each parse of the known arguments is counted in `known.looks`. After MAX_LOOKS the result is `on`, unless the name differs.
    """
    if name and known.name and name != known.name:
        return "another"
    if not known.parts or not part.lstrip().startswith("{"):
        return "on"
    if not known.parts[-1].rstrip().endswith(("}", "null")) or known.looks >= MAX_LOOKS:
        return "on"
    known.looks += 1
    if (held := _arguments(known.written)) is None:
        return "on"
    new = _arguments(part)
    if held and new == {} and not name:
        return "repeated"  # an empty object says nothing about arguments that have come
    if not held and new != held and (new is None or not name):
        return "instead"
    if new == held and (call_id or not name):
        return "repeated"
    if name and (new is not None or not call_id):
        return "another"  # from a server that sends complete calls without ids or indexes
    return "again"


def goes_on(latest: OpenCall, name: str, part: str) -> bool:
    """Return whether a piece with an unknown id continues the latest call at its index: some servers make an id for each piece.
    It does if the name is the same or absent, and the arguments are incomplete, or the call has had no id yet.
    """
    if name not in ("", latest.name):
        return False
    if not latest.theirs and not name:
        return True
    if not part or (name and latest.parts and part.lstrip().startswith("{")):
        return False
    if not latest.parts or not latest.parts[-1].rstrip().endswith(("}", "null")):
        return True
    latest.looks += 1
    return latest.looks < MAX_LOOKS and _arguments(latest.written) is None


def called_by(pending: OpenCall) -> ToolCall:
    """Return the ToolCall of a call's pieces. Empty arguments become {}; of arguments that a server restarted, the last ones count.
    Arguments that are not an object, are invalid, or are nested too deeply become {}, with their text in `malformed`.
    """
    written = repaired(pending.written)
    # Some models write no arguments as an empty text.
    value: JsonObject | None = _arguments(written) if written.strip() else {}
    if value is None:
        value = _last(pending.parts)
    if value is None or deeper(cast("object", value), MAX_DEPTH):
        return ToolCall(pending.call_id, pending.name, {}, written)
    if ESCAPED.search(written):
        value = cast("JsonObject", mended(cast("Json", value)))
    return ToolCall(pending.call_id, pending.name, value)


def _arguments(written: str) -> JsonObject | None:
    """Parse the arguments as an object, `null` as an empty one; None if incomplete, invalid, no object, or more than MAX_VALUES values."""
    if crowded(written.encode("utf-8", "surrogatepass"), MAX_VALUES):
        return None
    try:
        value: object = json.loads(written, parse_float=finite, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return None
    return {} if value is None else cast("JsonObject", value) if isinstance(value, dict) else None


def _last(parts: list[str]) -> JsonObject | None:
    """Return the arguments after the last restart, for a call whose server began them anew, once or with each piece.
    None if they are incomplete, or if the text before a restart is not the beginning of the text after it.
    """
    starts = [at for at, part in enumerate(parts) if part.lstrip().startswith("{")]
    for at in reversed(starts[1:][-MAX_LOOKS:]):
        if (value := _arguments(rest := "".join(parts[at:]).strip())) is not None:
            begun = ["".join(parts[one:after]).strip() for one, after in itertools.pairwise(one for one in starts if one <= at)]
            return value if rest.startswith("".join(parts[:at]).strip()) or all(map(rest.startswith, begun)) else None
    return None
