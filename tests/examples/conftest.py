"""Fixtures of the example pages: each page is built once for all tests."""

from pathlib import Path

import pytest

from tests.examples.pages import BUILDERS


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Example → the folder that its server serves, each built once per session."""
    return {name: build(tmp_path_factory.mktemp(name)) for name, build in BUILDERS.items()}
