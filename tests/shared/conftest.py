"""What these tests share."""

import pytest


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is not about waiting: a machine that is busy with other things is no Redis that has gone."""
    monkeypatch.setattr("router.shared.redis.LIMIT", 1.0)
