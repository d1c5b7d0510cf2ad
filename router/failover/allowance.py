"""What may be spent beyond the one call a question costs: second tries, second targets."""

ONE = 1 - 1e-9
"""A call, as floats add it up: ten tenths are a little less than one."""


class Allowance:
    """Each thing that earns puts a share of a call by, each extra call takes a whole one.

    So extra calls are that share of what earned them, whatever happens: where every answer fails, retries stop instead of
    adding to the load (gRPC's retry throttling). `reserve`: calls it starts with and never holds more of.
    """

    def __init__(self, share: float, *, reserve: float, most: float) -> None:
        self._share = share
        self._most = most
        self._held = reserve

    def earn(self) -> None:
        """Something was done that earns."""
        self._held = min(self._most, self._held + self._share)

    def spend(self) -> bool:
        """Whether one more call may be made. A yes is taken for made."""
        if self._held < ONE:
            return False
        self._held -= 1
        return True
