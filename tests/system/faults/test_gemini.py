"""Every fault through the lane for Google's Gemini API."""

import pytest

from tests.system.faults.case import KINDS, Case, Kind
from tests.system.faults.judged import cases, judge
from tests.system.faults.running import Table


@pytest.mark.parametrize("case", cases("gemini"))
def test_fault_of_gemini_ends_in_the_outcome_of_its_row(table: Table, case: Case) -> None:
    """Each fault of the table ends, through the Gemini lane, in time with the outcome of its row, without leak or silent truncation."""
    judge(table, case)


@pytest.mark.parametrize("kind", KINDS)
def test_gemini_faults_raise_no_unexpected_error_and_leak_no_secret(table: Table, kind: Kind) -> None:
    """In a run of all Gemini faults of one kind, each unexpected error belongs to a fault, and no log line has key or provider text."""
    assert table.run("gemini", kind).unforeseen == []
