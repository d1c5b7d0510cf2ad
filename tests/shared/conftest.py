"""What these tests share."""

from router.shared import RedisTiming

PATIENT = RedisTiming(limit=1.0)
"""For what is not about waiting: a machine that is busy with other things is no Redis that has gone."""
