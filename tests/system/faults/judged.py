"""The judgement of a case, the same in every lane."""

from typing import Any

import pytest

from tests.system.faults.case import Case, Lane
from tests.system.faults.running import CASES, SLACK, Table


def cases(lane: Lane) -> list[Any]:
    """Return the cases of a lane as pytest parameters."""
    return [_marked(case) for case in CASES if case.lane == lane]


def _marked(case: Case) -> Any:
    return pytest.param(case, id=str(case), marks=[pytest.mark.xfail(strict=True, reason=case.known)] if case.known else [])


def judge(table: Table, case: Case) -> None:
    """Check a case: one terminal event, in time; no unexpected error, no truncated answer, no leak; and the check of its row."""
    outcome = table.run(case.lane, case.kind).outcomes[case]
    assert outcome.unforeseen == []
    assert outcome.leaks == []
    assert outcome.seconds < case.row.seconds + SLACK
    assert outcome.seconds >= case.row.least
    if outcome.answer.status == 200:
        codes = outcome.codes
        assert codes.endswith("3d") is (outcome.reason == "error")
        assert codes.count("3") == (outcome.reason == "error")
    else:
        assert set(outcome.answer.json) == {"type", "error", "code", "requestId"}
    assert not outcome.truncated(case.row.text)
    case.check(outcome, case)
    assert outcome.asked["trap"] == 0
    if case.row.tries is not None:
        calls = 1 + len(outcome.of("9"))
        tried = sum(one.startswith("a:") and one != "a:breaker_open" for one in outcome.attempts)
        assert max(outcome.asked["a"], tried) <= case.row.tries * calls
