"""Generated documentation pages are up to date with the code."""

import pytest

from handbook.pages import pages
from tests.conftest import ROOT

MADE = pages()


@pytest.mark.parametrize("name", MADE)
def test_generated_page_equals_the_output_of_make_pages(name: str) -> None:
    """Each generated page in the repository equals what `make pages` would write now."""
    assert (ROOT / name).read_text(encoding="utf-8") == MADE[name], f"{name} is not current: run `make pages`"
