"""Pages that are made from the code say what the code says now."""

import pytest

from handbook.pages import pages
from tests.conftest import ROOT

MADE = pages()


@pytest.mark.parametrize("name", MADE)
def test_page_is_current(name: str) -> None:
    """A page that is made is committed as it would be made now: `make pages` writes it."""
    assert (ROOT / name).read_text(encoding="utf-8") == MADE[name], f"{name} is not current: run `make pages`"
