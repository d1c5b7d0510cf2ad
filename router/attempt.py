"""An attempt at one target, as it appears in the request's record, the response headers and the events."""

from itertools import chain

from router.usage import Meter, Usage
from router.value import Mutable, PartlyCompared, field, replace


def in_ms(seconds: float) -> float:
    """Return a duration in seconds, rounded to a millisecond. `round` takes ten times as long: it goes by the digits of the number."""
    return int(seconds * 1000 + 0.5) / 1000


class Attempt(PartlyCompared, frozen=True):
    """An attempt at one target: its outcome (`ok`, an error category, or LET_GO) and duration in seconds.

    first: seconds until the first word; None without one
    wait: seconds until the provider (Retry-After) or the breaker takes a request again; None if neither is known
    began: when it was asked, by the clock of time.monotonic
    omitted: parameters of the question that this target was not sent, because its model does not take them
    output: how it was asked for the form of the answer, as `Start.output`; for the log of this process only
    model: the provider's name of the model that answered, for the traces of this process only; empty if it is not known
    usage: tokens, as the provider reported them for the whole answer; None if it did not
    estimate: estimated tokens that the provider charges for but did not report, or not to the end; None if there are none
    route: the route that a tool of the request asked for; empty for an attempt of the request's own route
    said: characters of the model call's text that the client had when this attempt broke off; 0 if it did not, or in another process
    meter: set while the usage report of the ended answer may still come, in this process; else None
    """

    BESIDE = frozenset({"output", "model", "said", "meter"})
    target: str
    outcome: str
    seconds: float
    first: float | None = None
    wait: float | None = None
    began: float = 0.0
    omitted: tuple[str, ...] = ()
    output: str = ""
    model: str = ""
    usage: Usage | None = None
    estimate: Usage | None = None
    route: str = ""
    said: int = 0
    meter: Meter | None = None

    @property
    def settled(self) -> "Attempt":
        """A copy without the meter. If the meter holds the final usage, that replaces `usage`, and `estimate` becomes None."""
        if self.meter is None:
            return self
        counted = self.meter.usage if self.meter.final else None
        return replace(self, usage=counted or self.usage, estimate=None if counted else self.estimate, meter=None)


class Trail(Mutable):
    """The attempts of one request. `calls`: those of each model call, in order, with those of answers that a tool asked for."""

    calls: list[list[Attempt]] = field(default_factory=list[list[Attempt]])

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts so far."""
        return tuple(chain.from_iterable(self.calls))


LET_GO = ""
"""The empty outcome of an attempt that was still running when its client left or another target won, until the reason is recorded."""
