"""The wire `text`: the answer's text without any frames."""

from router.events import Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult
from router.wire import Refusal, answered, text
from tests.wire.readers import HEADING


def test_text_wire_writes_text_alone() -> None:
    """Text is sent as it is, and every other event as no bytes; a failure resets the connection, and there are no keep-alives."""
    encode = text.WIRE.encoder(HEADING)
    silent = [Start("a", "m"), Thought("Hm"), ToolInput("c", "t", "{"), ToolCall("c", "t", {}), ToolResult("c", "t", 1)]
    assert [encode(event) for event in [*silent, Finish("stop"), Failure("no_answer", "No.")]] == [b""] * 7
    assert encode(Text('你\n"😀')) == '你\n"😀'.encode()
    assert text.WIRE.failure == "reset"
    assert text.WIRE.keep_alive == b""


def test_text_wire_sends_unstreamed_answers_and_errors_as_text() -> None:
    """An unstreamed answer, even one that ended before it began, and an error message are sent as plain text."""
    assert text.WIRE.complete(answered(HEADING, [Start("a", "m"), Text("H"), Text("i"), Finish("stop")])) == b"Hi"
    assert text.WIRE.complete(answered(HEADING, [Finish("other")])) == b""
    assert text.WIRE.refusal(Refusal(404, "unknown_model", "No such model.", "r1")) == b"No such model."
    assert text.WIRE.body_type == "text/plain; charset=utf-8"
