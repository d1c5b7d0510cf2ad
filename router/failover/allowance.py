"""A budget for calls beyond the one that each request costs: retries and hedges."""

ONE = 1 - 1e-9
"""The tokens of one call, less a rounding error: ten times 0.1 is a little less than 1."""


class Allowance:
    """A token bucket for extra calls (retries, hedges): each earning event adds `share` tokens, each extra call takes one.
    Extra calls are thus at most that share of the events, plus the reserve. Where all answers fail, retries stop (gRPC's retry throttling).
    `reserve`, `most`: tokens in the bucket at the beginning, and at most
    """

    def __init__(self, share: float, *, reserve: float, most: float) -> None:
        self._share, self._most, self._held = share, most, reserve
        self.full = reserve >= most
        """True if no more tokens fit into the bucket: `earn` has nothing to do."""

    def earn(self) -> None:
        """Add `share` tokens, up to `most`: for retries at each answer of the target that completes, for hedges at each question."""
        self._held = min(self._most, self._held + self._share)
        self.full = self._held == self._most

    def spend(self) -> bool:
        """Take one token and return True: one extra call may be made. Return False, and take nothing, if there is less than one."""
        if self._held < ONE:
            return False
        self._held -= 1
        self.full = False
        return True
