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
    used: both together, which limits are charged
    counted_cost: cost of `usage`; None where no price is known, or nothing was used
    estimated_cost: cost of `estimate`; None as above
    cost: both together
    costs: of each attempt, by its count or else its estimate; None where no price is known, or it used nothing
    """

    usage: Usage | None = None
    estimate: Usage | None = None
    used: Usage | None = None
    counted_cost: float | None = None
    estimated_cost: float | None = None
    cost: float | None = None
    costs: tuple[float | None, ...] = ()


NO_CHARGES = Charges()


def charges(attempts: Sequence[Attempt], prices: Mapping[str, Price]) -> Charges:
    """Return the sums over these attempts. `prices`: target → its price, for targets whose price is known."""
    if len(attempts) == 1 and (one := attempts[0]).estimate is None:  # as of most requests: there is nothing to add up
        usage, price = one.usage, prices.get(one.target)
        cost = None if usage is None or price is None else price.of(usage)
        return Charges(usage, None, usage, cost, None, cost, (cost,))
    usage = estimate = None
    counted: list[float] = []
    estimated: list[float] = []
    costs: list[float | None] = []
    for attempt in attempts:
        price, cost = prices.get(attempt.target), None
        if attempt.estimate is not None:
            estimate = attempt.estimate if estimate is None else estimate + attempt.estimate
            if price is not None:
                estimated.append(cost := price.of(attempt.estimate))
        if attempt.usage is not None:
            usage = attempt.usage if usage is None else usage + attempt.usage
            if price is not None:
                counted.append(cost := price.of(attempt.usage))
        costs.append(cost)
    used = usage + estimate if usage is not None and estimate is not None else usage or estimate
    counted_cost = math.fsum(counted) if counted else None
    estimated_cost = math.fsum(estimated) if estimated else None
    cost = math.fsum(counted + estimated) if counted or estimated else None
    return Charges(usage, estimate, used, counted_cost, estimated_cost, cost, tuple(costs))
