"""How events are written to a client: one file per dialect, one row each."""

from router.wire import line
from router.wire.shape import Answered, Wire, answered

__all__ = ["WIRES", "Answered", "Wire", "answered"]

WIRES: dict[str, Wire] = {wire.name: wire for wire in (line.WIRE,)}
