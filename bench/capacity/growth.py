"""Growth: how fast a cost grows with its cause."""

import math
from collections.abc import Sequence
from itertools import accumulate

LINEAR = 1.15
"""The largest exponent that counts as linear growth, with room for noise."""
Points = Sequence[tuple[float, float]]
"""Points of a curve: (cause, cost), sorted by cause."""


def exponent(points: Points) -> float:
    """Return the exponent of a cost's growth over the last two decades of its cause: 1 is linear, 2 quadratic.

    A cost counts as no more than those of larger causes, since what disturbs a measure only adds to it. The smallest cause and its cost are
    subtracted, since a constant cost would hide the growth. Then a line is fitted by least squares to the logarithms of all points whose
    cause is at least a hundredth of the largest and whose cost is above the first one. The weight of a point is its share of growth,
    squared: measures err by a share of the whole cost, so the logarithm of a small growth is uncertain. Fewer than two such points give 0.
    """
    costs = [*accumulate((cost for _, cost in reversed(points)), min)][::-1]
    first, base, largest = points[0][0], costs[0], points[-1][0]
    above = [
        (math.log(cause - first), math.log(cost - base), ((cost - base) / cost) ** 2)
        for (cause, _), cost in zip(points[1:], costs[1:], strict=True)
        if cost > base and cause >= largest / 100
    ]
    if len(above) < 2:
        return 0.0
    total = sum(weight for *_, weight in above)
    mean_x, mean_y = sum(x * weight for x, _, weight in above) / total, sum(y * weight for _, y, weight in above) / total
    spread = sum(weight * (x - mean_x) ** 2 for x, _, weight in above)
    return sum(weight * (x - mean_x) * (y - mean_y) for x, y, weight in above) / spread


def slope(points: Points) -> float:
    """Return the cost per unit of the cause, between the first and the last point."""
    (first, base), (last, cost) = points[0], points[-1]
    return (cost - base) / (last - first)
