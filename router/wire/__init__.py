"""Wires: the formats in which an answer's events are written to a client, one module each, and the table of them by name."""

from router.wire import ag_ui, ai_gateway, anthropic, data_stream, line, openai, responses, text, text_completion, ui_message_stream
from router.wire.shape import Answered, Heading, Refusal, Wire, answered, compact

__all__ = ["WIRES", "Answered", "Heading", "Refusal", "Wire", "answered", "compact"]

MODULES = line, data_stream, ui_message_stream, openai, anthropic, responses, text_completion, ag_ui, ai_gateway, text
WIRES: dict[str, Wire] = {module.WIRE.name: module.WIRE for module in MODULES}
