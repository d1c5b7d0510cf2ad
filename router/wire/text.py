"""The wire `text`: plain text without frames, tools, reasoning and errors.
If an answer fails in mid-stream, the connection is closed early: a clean end would look like a complete answer.
"""

from router.events import Event, Text
from router.wire.shape import Wire, utf8


def encode(event: Event) -> bytes:
    """Return the text of a Text event in UTF-8; b"" for every other event."""
    return utf8(event.text) if isinstance(event, Text) else b""


PLAIN = "text/plain; charset=utf-8"
WIRE = Wire(
    name="text",
    content_type=PLAIN,
    encoder=lambda _: encode,
    complete=lambda answer: utf8(answer.text),
    refusal=lambda why: utf8(why.sentence),
    body_type=PLAIN,
    failure="reset",
)
