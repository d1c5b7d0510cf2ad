"""The grammar of answers: which sequences of events are valid, and why the others are refused."""

import pytest

from router.events import (
    Approval,
    Disorder,
    Event,
    Failure,
    Finish,
    LateResult,
    Order,
    Produced,
    Source,
    Start,
    Text,
    Thought,
    ToolCall,
    ToolInput,
    ToolProgress,
    ToolResult,
    Usage,
)

START = Start("a", "m")
CALL = ToolCall("c1", "t", {})
RESULT = ToolResult("c1", "t", "ok")
STOP = Finish("stop")
FAILURE = Failure("no_answer", "Sorry.")

RIGHT: dict[str, list[Event]] = {
    "text": [START, Text("Hi"), STOP],
    "nothing but an end": [START, STOP],
    "what it cites and makes": [START, Source("https://a.org"), Text("Hi"), Produced("image/png", "AAAA"), STOP],
    "a thought first": [START, Thought("Hm"), Text("Hi"), STOP],
    "a tool round": [START, ToolInput("c1", "t", "{}"), CALL, RESULT, START, Text("Hi"), STOP],
    "two calls, results in any order": [START, CALL, ToolCall("c2", "t", {}), ToolResult("c2", "t", 1), RESULT, START, STOP],
    "a tool that reports": [START, CALL, ToolProgress("c1", "t", 1), ToolProgress("c1", "t", 2), RESULT, START, STOP],
    "a call that waits for the user": [START, CALL, Approval("c1", "t", "apr_1"), Finish("tool-calls")],
    "a result beside it": [
        START,
        CALL,
        ToolCall("c2", "t", {}),
        ToolResult("c2", "t", 1),
        Approval("c1", "t", "apr_1"),
        Finish("tool-calls"),
    ],
    "a result of an earlier answer": [START, LateResult("c0", "t", {}, "ok"), Text("Hi"), STOP],
    "the step cap": [START, CALL, RESULT, Finish("tool-calls")],
    "a call left to the client": [START, CALL, Finish("tool-calls")],
    "a failure in mid-answer": [START, Text("Hi"), FAILURE],
    "a failure after results": [START, CALL, RESULT, FAILURE],
}
WRONG: dict[str, tuple[list[Event], str]] = {
    "text before its start": ([Text("Hi")], "Text while idle"),
    "no end": ([START, Text("Hi")], "ended while speaking"),
    "an end without a start": ([STOP], "Finish while idle"),
    "two ends": ([START, STOP, STOP], "Finish while over"),
    "a source before its start": ([Source("https://a.org")], "Source while idle"),
    "a file while tools run": ([START, CALL, RESULT, Produced("image/png", "AAAA")], "Produced while running"),
    "text after the end": ([START, STOP, Text("Hi")], "Text while over"),
    "an end after a failure": ([START, FAILURE, STOP], "Finish while over"),
    "text after results without a start": ([START, CALL, RESULT, Text("Hi")], "Text while running"),
    "a result without its call": ([START, CALL, ToolResult("c2", "t", 1)], "a result without its call"),
    "progress of no call": ([START, ToolProgress("c1", "t", 1)], "progress of a call that does not run"),
    "progress after its result": ([START, CALL, RESULT, ToolProgress("c1", "t", 1)], "progress of a call that does not run"),
    "text during a tool": ([START, CALL, ToolProgress("c1", "t", 1), Text("Hi")], "Text while running"),
    "an approval of no call": ([START, Approval("c1", "t", "apr_1")], "an approval of no open call"),
    "an approval after the result": ([START, CALL, RESULT, Approval("c1", "t", "apr_1")], "an approval of no open call"),
    "a late result before the start": ([LateResult("c0", "t", {}, "ok")], "LateResult while idle"),
    "two results of one call": ([START, CALL, RESULT, RESULT], "a result without its call"),
    "two calls of one id": ([START, CALL, CALL], "two calls with one id"),
    "an empty text": ([START, Text("")], "an empty Text"),
    "nothing": ([], "ended while idle"),
}


@pytest.mark.parametrize("stream", RIGHT)
def test_valid_event_stream_is_accepted(stream: str) -> None:
    """Each event of a valid stream passes `Order.see` unchanged, and `Order.end` accepts the stream."""
    order = Order()
    for event in RIGHT[stream]:
        assert order.see(event) is event
    order.end()


@pytest.mark.parametrize("stream", WRONG)
def test_invalid_event_stream_is_refused_with_its_reason(stream: str) -> None:
    """An invalid stream raises Disorder, whose message names what is wrong."""
    events, why = WRONG[stream]

    def run() -> None:
        order = Order()
        for event in events:
            order.see(event)
        order.end()

    with pytest.raises(Disorder) as caught:
        run()
    assert str(caught.value) == why


def test_usage_of_two_model_calls_is_summed() -> None:
    """The sum of two usages adds up their input tokens and their output tokens."""
    assert Usage(1, 2) + Usage(10, 20) == Usage(11, 22)
