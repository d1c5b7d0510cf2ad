"""Reasoning that goes back to its provider with the calls that followed it, on the wire of chat completions.

Source: DeepSeek's guide to thinking mode; Moonshot's guide to thinking models; OpenRouter's guide to preserving reasoning blocks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from router.chat import Json, Message
from router.targets.completions import Recall
from router.targets.facts import Facts
from router.targets.fit import Fitted

ABSENT = " "
"""What stands for reasoning that nobody has: another target made the call. An empty text counts as none (hermes-agent#17341)."""
PIECES = ("text", "summary", "data", "signature")
"""Texts of one detail that come in pieces."""
FORMS = {
    "reasoning_content": ("reasoning_content", "reasoning"),
    "reasoning_details": ("reasoning_details", "reasoning", "reasoning_content"),
}
"""The field that a provider wants → the fields in which the reasoning may be known, the best first."""


def recall(issuer: str, facts: Facts, fitted: Fitted) -> Recall | None:
    """Adds to each assistant message with calls what its provider wants back; None where the provider wants nothing back."""
    if not facts.returns:
        return None
    wanted = facts.returns

    def remembered(message: Message) -> Mapping[str, Json]:
        states = [state.value for state in message.states(issuer) if not state.call_id]
        for form in FORMS[wanted]:
            for value in states:
                if value.get(form):
                    # A client, or another release of the same server, may call it otherwise.
                    return {wanted if wanted == "reasoning_content" else form: value[form]}
        return {wanted: ABSENT} if facts.insists and fitted.thinks else {}

    return remembered


def joined(pieces: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Details that came in pieces, each whole. Pieces of one detail follow each other, and bear its index and type."""
    made: list[dict[str, Any]] = []
    for piece in pieces:
        last = made[-1] if made else None
        if last is None or (last.get("index"), last.get("type")) != (piece.get("index"), piece.get("type")) or piece.get("index") is None:
            made.append(dict(piece))
            continue
        for name, value in piece.items():
            if name in PIECES and isinstance(value, str) and isinstance(last.get(name), str):
                last[name] += value
            elif value is not None:
                last[name] = value
    return [*made]
