"""The wire `text`: plain text without frames, tools, reasoning and errors.

If an answer fails in mid-stream, the connection is closed early: a clean end would look like a complete answer.
"""

from router.events import Event, Text
from router.wire.shape import Answered, Encode, Heading, Refusal, Wire, utf8


def encoder(_: Heading) -> Encode:
    """Return the encoder of one answer: a Text event → its text in UTF-8; b"" for every other event."""

    def encode(event: Event) -> bytes:
        return utf8(event.text) if isinstance(event, Text) else b""

    return encode


def complete(answer: Answered) -> bytes:
    """Return the body of an answer that is not streamed: its text."""
    return utf8(answer.text)


def refusal(why: Refusal) -> bytes:
    """Return the body for an error before the first event: its sentence alone."""
    return utf8(why.sentence)


WIRE = Wire(
    name="text",
    content_type="text/plain; charset=utf-8",
    encoder=encoder,
    complete=complete,
    refusal=refusal,
    body_type="text/plain; charset=utf-8",
    failure="reset",
)
