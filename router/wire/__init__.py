"""Wires: the formats in which an answer's events are written to a client, one module each, and the table of them by name."""

from router.wire import ag_ui, ai_gateway, anthropic, data_stream, line, openai, responses, text, text_completion, ui_message_stream
from router.wire.shape import Answered, Heading, Refusal, Wire, answered, compact

__all__ = ["WIRES", "Answered", "Heading", "Refusal", "Wire", "answered", "compact"]

WIRES: dict[str, Wire] = {
    wire.name: wire
    for wire in (
        line.WIRE,
        data_stream.WIRE,
        ui_message_stream.WIRE,
        openai.WIRE,
        anthropic.WIRE,
        responses.WIRE,
        text_completion.WIRE,
        ag_ui.WIRE,
        ai_gateway.WIRE,
        text.WIRE,
    )
}
