"""Every fault through the lane that reads OpenAI's wire."""

import pytest

from tests.system.faults.case import KINDS, Case, Kind
from tests.system.faults.judged import cases, judge
from tests.system.faults.running import Table


@pytest.mark.parametrize("case", cases("openai"))
def test_fault_comes_to_one_honest_end(table: Table, case: Case) -> None:
    """In time, as its row has it; nothing unforeseen, nothing truncated, nothing told that is nobody's business."""
    judge(table, case)


@pytest.mark.parametrize("kind", KINDS)
def test_faults_leave_nothing_unforeseen(table: Table, kind: Kind) -> None:
    """What belongs to no case: no exception in a task, no error in a log, no key and no provider's word in it."""
    assert table.run("openai", kind).unforeseen == []
