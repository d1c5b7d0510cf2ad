"""Pages that are made from the code say what the code says now."""

import pytest

from handbook.pages import pages
from tests.conftest import ROOT

MADE = pages()


@pytest.mark.parametrize("name", MADE)
def test_generated_page_is_committed_as_it_would_be_made_now(name: str) -> None:
    """`make pages` writes the page."""
    assert (ROOT / name).read_text(encoding="utf-8") == MADE[name], f"{name} is not current: run `make pages`"
