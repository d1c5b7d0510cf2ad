"""Every fault through the lane that uses LiteLLM."""

import pytest

from tests.system.faults.case import KINDS, Case, Kind
from tests.system.faults.judged import cases, judge
from tests.system.faults.running import Table


@pytest.mark.parametrize("case", cases("litellm"))
def test_fault_behind_litellm_ends_in_the_outcome_of_its_row(table: Table, case: Case) -> None:
    """Each fault of the table ends, through the LiteLLM lane, in time with the outcome of its row, without leak or silent truncation."""
    judge(table, case)


@pytest.mark.parametrize("kind", KINDS)
def test_litellm_fault_run_has_no_error_outside_its_cases_and_no_secret_in_the_log(table: Table, kind: Kind) -> None:
    """In a run of all LiteLLM faults of one kind, each unexpected error belongs to a fault, and no log line has key or provider text.
    Errors that belong to a fault are checked by `judge`.
    """
    assert table.run("litellm", kind).unforeseen == []
