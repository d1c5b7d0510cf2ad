"""Shared by these tests: a Redis timing for tests that are not about waiting."""

from router.shared import RedisTiming

PATIENT = RedisTiming(limit=1.0)
"""A timing for tests that are not about waiting: a busy machine does not make Redis count as away."""
