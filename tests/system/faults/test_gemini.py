"""Every fault through the lane that reads Google's wire."""

import pytest

from tests.system.faults.case import KINDS, Case, Kind
from tests.system.faults.judged import cases, judge
from tests.system.faults.running import Table


@pytest.mark.parametrize("case", cases("gemini"))
def test_gemini_fault_ends_in_the_documented_outcome(table: Table, case: Case) -> None:
    """The outcome is that of its row, in time; no answer is truncated in silence, and no secret is sent to the client."""
    judge(table, case)


@pytest.mark.parametrize("kind", KINDS)
def test_gemini_faults_raise_no_unexpected_error_and_leak_no_secret(table: Table, kind: Kind) -> None:
    """No task has an exception, and the log has no error, no key and no text of the provider."""
    assert table.run("gemini", kind).unforeseen == []
