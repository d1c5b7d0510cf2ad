"""A budget for calls beyond the one that each request costs: retries and hedges."""

ONE = 1 - 1e-9
"""The tokens of one call, less a rounding error: ten times 0.1 is a little less than 1."""


class Allowance:
    """A token bucket: each event that earns adds a share of a call, each extra call takes one.
    Extra calls are thus limited to that share of the events, whatever happens: where every answer fails, retries stop instead of adding to
    the load (gRPC's retry throttling).
    reserve: tokens in the bucket at the beginning
    most: tokens that the bucket holds at most
    """

    def __init__(self, share: float, *, reserve: float, most: float) -> None:
        self._share = share
        self._most = most
        self._held = reserve

    def earn(self) -> None:
        """Add one share to the bucket."""
        self._held = min(self._most, self._held + self._share)

    def spend(self) -> bool:
        """Take one token and return whether there was one: the caller may then make one extra call."""
        if self._held < ONE:
            return False
        self._held -= 1
        return True
