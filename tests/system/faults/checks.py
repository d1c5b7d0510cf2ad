"""Checks of the outcome of a case."""

import re
from collections.abc import Mapping

from tests.support.promises import hold
from tests.system.faults.case import Case, Check, Outcome


def complete(outcome: Outcome, case: "Case") -> None:
    """Expect the complete answer, once, and the finish reason `stop`."""
    assert outcome.answer.status == 200, outcome.answer.body
    assert outcome.text == case.row.text
    assert outcome.codes == ("0d" if case.kind == "text" else "9a0d")
    assert outcome.reason == "stop"


def nothing_to_add(outcome: Outcome, case: "Case") -> None:
    """Expect a tool call, its result and the finish reason `stop`, without text: a model may add nothing to a result."""
    assert outcome.codes == "9ad"
    assert outcome.reason == "stop"


def counted(outcome: Outcome, case: "Case") -> None:
    """Expect the complete answer with the tokens that the provider counted."""
    complete(outcome, case)
    rounds = 1 if case.kind == "text" else 2
    assert outcome.lines[-1][1]["usage"] == {"promptTokens": 11 * rounds, "completionTokens": 3 * rounds}


def refused(status: int, code: str, *, wait: range | None = None) -> Check:
    """Expect an HTTP error before the first byte. `wait`: allowed values of Retry-After; None if the header must be missing."""

    def check(outcome: Outcome, case: "Case") -> None:
        assert (outcome.answer.status, outcome.reason) == (status, code), outcome.answer.body
        told = outcome.answer.headers.get("retry-after")
        assert (told is None) if wait is None else (told is not None and int(told) in wait), told

    return check


def unasked(check: Check) -> Check:
    """Expect this outcome without any request to target b."""

    def checked(outcome: Outcome, case: "Case") -> None:
        check(outcome, case)
        assert outcome.asked.get("b", 0) == 0

    return checked


def error_in_stream(outcome: Outcome, case: "Case") -> None:
    """Expect status 200 and a stream with the finish reason `error`, whose text is empty or a beginning of the answer."""
    assert outcome.answer.status == 200, outcome.answer.body
    assert outcome.reason == "error"
    assert case.row.text.startswith(outcome.text)


def failed(outcome: Outcome, case: "Case") -> None:
    """Expect one error: a status of 500 or more, or an error in the stream."""
    if outcome.answer.status == 200:
        error_in_stream(outcome, case)
    else:
        assert outcome.answer.status >= 500


def either(*checks: Check) -> Check:
    """Expect one of these outcomes."""

    def check(outcome: Outcome, case: "Case") -> None:
        wrong: list[str] = []
        for one in checks:
            try:
                return one(outcome, case)
            except AssertionError as error:
                wrong.append(str(error))
        raise AssertionError("\n".join(wrong))

    return check


def late(outcome: Outcome, case: "Case") -> None:
    """Expect a stream that ends with the error of its total timeout."""
    assert outcome.answer.status == 200, outcome.answer.body
    assert outcome.reason == "error"
    assert "too long" in outcome.of("3")[0]["error"]


def ran(*given: Mapping[str, object]) -> Check:
    """Expect calls of get_weather with these arguments, each with its own id and result, and then the answer."""

    def check(outcome: Outcome, case: "Case") -> None:
        called, results = outcome.of("9"), outcome.of("a")
        assert [one["args"] for one in called] == list(given)
        ids = [one["toolCallId"] for one in called]
        assert all(ids)
        assert len(set(ids)) == len(ids)
        assert {one["toolCallId"]: one["result"] for one in results} == {
            one["toolCallId"]: f"{one['args']['location']}: 25°C" for one in called
        }
        assert outcome.text == case.row.text
        assert outcome.reason == "stop"

    return check


def result(pattern: str, *, error: bool = True) -> Check:
    """Expect one tool result that matches the pattern, and then the answer. `error`: whether the result is marked as an error."""

    def check(outcome: Outcome, case: "Case") -> None:
        complete(outcome, case)
        (one,) = outcome.of("a")
        assert one.get("isError", False) is error
        assert re.search(pattern, str(one["result"])[:400])
        assert "Traceback" not in str(one["result"])

    return check


def each_result(pattern: str, count: int) -> Check:
    """Expect `count` tool results that are errors and match the pattern, and then the answer."""

    def check(outcome: Outcome, case: "Case") -> None:
        told = outcome.of("a")
        assert len(told) == count
        assert all(one["isError"] and re.search(pattern, one["result"]) for one in told)
        assert outcome.text == case.row.text
        assert outcome.reason == "stop"

    return check


def turning(check: Check, most: float) -> Check:
    """Expect this outcome, and an event loop that turned five times or more.

    With POINTSMAN_TIMES set, expect too that the loop was never blocked for more than `most` seconds.
    """

    def checked(outcome: Outcome, case: "Case") -> None:
        check(outcome, case)
        assert outcome.turns >= 5
        hold(outcome.lag, most)

    return checked


def steps(count: int) -> Check:
    """Expect `count` tool calls, each with its result, and the finish reason `tool-calls`."""

    def check(outcome: Outcome, case: "Case") -> None:
        assert outcome.codes == "9a" * count + "d"
        assert outcome.reason == "tool-calls"

    return check


def reason(wanted: str) -> Check:
    """Expect a beginning of the answer and this finish reason."""

    def check(outcome: Outcome, case: "Case") -> None:
        assert outcome.answer.status == 200, outcome.answer.body
        assert outcome.reason == wanted
        assert case.row.text.startswith(outcome.text)

    return check


MOST_AHEAD = 30_000_000
"""Bytes: more than the buffers of two connections hold, less than the flood."""


def bounded(outcome: Outcome, case: "Case") -> None:
    """Expect the complete answer, with under MOST_AHEAD bytes taken from the provider while the client read nothing."""
    complete(outcome, case)
    assert outcome.ahead < MOST_AHEAD
