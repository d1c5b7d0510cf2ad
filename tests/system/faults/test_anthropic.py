"""Every fault through the lane for Anthropic's API."""

import pytest

from tests.system.faults.case import KINDS, Case, Kind
from tests.system.faults.judged import cases, judge
from tests.system.faults.running import Table


@pytest.mark.parametrize("case", cases("anthropic"))
def test_fault_of_anthropic_ends_in_the_outcome_of_its_row(table: Table, case: Case) -> None:
    """A fault ends in the outcome of its table row, in time, without a truncated answer that looks complete and without a leak."""
    judge(table, case)


@pytest.mark.parametrize("kind", KINDS)
def test_anthropic_faults_raise_no_unexpected_error_and_leak_no_secret(table: Table, kind: Kind) -> None:
    """The run of all faults leaves no unhandled exception or logged error that belongs to no single fault, and no leak.

    A leak is a key or a text of the provider in the log. An error of a single fault is judged by the test above.
    """
    assert table.run("anthropic", kind).unforeseen == []
