"""The silence after which Redis counts as away, and how that limit adapts to a slow Redis."""

from router.value import Value


class RedisTiming(Value, frozen=True):
    """Times by which a Redis counts as away or available, in seconds."""

    limit: float = 0.05
    """Silence after which Redis counts as away: the time that its absence costs the requests of that moment, once."""
    tick: float = 0.005
    """Time between two checks for silence. A check after twice that is late: the answer may lie in the socket unread."""
    late: float = 0.0025
    """Silence that a late check counts: a slow event loop has twenty turns to read an answer before Redis counts as away."""
    most: float = 1.0
    """The longest silence to which a slow Redis can raise the limit."""
    probe: float = 1.0
    """Longest time of a probe. No request waits for it."""

    def silence(self, waited: float) -> float:
        """Return the seconds of silence that a check counts: `waited`, the time since the check before it, or `late` if over two ticks."""
        return waited if waited <= 2 * self.tick else self.late

    def after(self, silence: float, limit: float) -> float:
        """Return the next limit on Redis's silence: the longer of four times the silence before an answer and nine tenths of the old limit.

        It is at least `self.limit`, and `most` at most. Like TCP's timeout (RFC 6298), it grows with a slow Redis and shrinks again.
        silence: seconds without any answer, until this one. limit: the limit until now
        """
        return min(max(self.limit, 4 * silence, 0.9 * limit), max(self.limit, self.most))
