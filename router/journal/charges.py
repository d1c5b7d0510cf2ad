"""Usage and cost of a request, summed over its attempts.

The log line, the metrics, the bill, the limits and the headers need these sums, which are computed once for each state of the attempts.
"""

import math
from collections.abc import Mapping, Sequence

from router.attempt import Attempt
from router.config.price import Price
from router.usage import Usage
from router.value import Value


class Charges(Value, frozen=True):
    """Sums over the attempts of a request. Costs are in US dollars, each attempt at the price of its target.

    usage: tokens that providers counted; None without a count
    estimate: tokens of attempts whose providers did not count, or not to the end; None without any
    counted_cost: cost of `usage`; None where no price is known, or nothing was used
    estimated_cost: cost of `estimate`; None as above
    """

    usage: Usage | None = None
    estimate: Usage | None = None
    counted_cost: float | None = None
    estimated_cost: float | None = None

    @property
    def used(self) -> Usage | None:
        """Return the usage that limits are charged: counted and estimated tokens together; None without any."""
        return added(self.usage, self.estimate)

    @property
    def cost(self) -> float | None:
        """Return the cost of counted and estimated tokens together; None where no price is known, or nothing was used."""
        if self.counted_cost is None or self.estimated_cost is None:
            return self.estimated_cost if self.counted_cost is None else self.counted_cost
        return math.fsum((self.counted_cost, self.estimated_cost))


NO_CHARGES = Charges()


def charges(attempts: Sequence[Attempt], prices: Mapping[str, Price]) -> Charges:
    """Return the sums over these attempts. `prices`: target → its price, for targets whose price is known."""
    usage: Usage | None = None
    estimate: Usage | None = None
    counted: list[float] = []
    estimated: list[float] = []
    for attempt in attempts:
        price = prices.get(attempt.target)
        if attempt.usage is not None:
            usage = added(usage, attempt.usage)
            if price is not None:
                counted.append(price.of(attempt.usage))
        if attempt.estimate is not None:
            estimate = added(estimate, attempt.estimate)
            if price is not None:
                estimated.append(price.of(attempt.estimate))
    return Charges(usage, estimate, math.fsum(counted) if counted else None, math.fsum(estimated) if estimated else None)


def added(one: Usage | None, other: Usage | None) -> Usage | None:
    """Return the sum of two usages; None if both are None."""
    if one is None or other is None:
        return other if one is None else one
    return one + other
