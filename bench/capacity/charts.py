"""Line charts as SVG with logarithmic axes, for light and dark mode and for screen readers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from bench.capacity.growth import Points

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 170, 44, 48
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5")
DARK = ("#63b3ed", "#f6ad55", "#68d391", "#b794f4")
"""Colours of the lines in light and dark mode, each with a contrast of at least 4.5 to its background."""
MARKS = ("circle", "square", "diamond", "triangle")
STYLE = """
  svg { font: 12px system-ui, sans-serif; color: #1a202c; background: #fff }
  text { fill: currentColor } .title { font-size: 14px; font-weight: 600 } .grid { stroke: #cbd5e0 } .axis { stroke: #4a5568 }
"""


@dataclass(frozen=True)
class Line:
    """A line of a chart. `points`: (cause, cost), each above 0."""

    name: str
    points: Points


@dataclass(frozen=True)
class Chart:
    """A chart. `cause`, `cost`: the words at the axes, with their units."""

    title: str
    cause: str
    cost: str
    lines: Sequence[Line]


def drawn(chart: Chart) -> str:
    """Return the chart as an SVG document."""
    causes = [cause for line in chart.lines for cause, _ in line.points]
    costs = [cost for line in chart.lines for _, cost in line.points]
    across, up = _Axis(min(causes), max(causes), LEFT, WIDTH - RIGHT), _Axis(min(costs), max(costs), HEIGHT - BOTTOM, TOP)
    dark = "".join(f" .line{index} {{ stroke: {colour}; fill: {colour} }}" for index, colour in enumerate(DARK))
    light = "".join(f" .line{index} {{ stroke: {colour}; fill: {colour} }}" for index, colour in enumerate(COLOURS))
    night = f"@media (prefers-color-scheme: dark) {{ svg {{ color: #e2e8f0; background: #1a202c }} .grid {{ stroke: #4a5568 }} .axis {{ stroke: #a0aec0 }}{dark} }}"
    said = "; ".join(f"{line.name}: " + ", ".join(f"{number(y)} at {number(x)}" for x, y in line.points) for line in chart.lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
        f"<title>{escape(chart.title)}</title>",
        f"<desc>{escape(f'{chart.cost} by {chart.cause}. {said}')}</desc>",
        f"<style>{STYLE}  {light}\n  {night}\n</style>",
        f'<text class="title" x="{LEFT}" y="20">{escape(chart.title)}</text>',
        *_grid(across, up),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(chart.cause)}</text>',
        f'<text x="{LEFT}" y="{TOP - 6}" text-anchor="start">{escape(chart.cost)}</text>',
        *_lines(chart.lines, across, up),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def number(value: float) -> str:
    """Return a number as text with about three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


class _Axis:
    """A logarithmic axis whose ends and ticks are round numbers."""

    def __init__(self, least: float, most: float, start: float, end: float) -> None:
        ticks = sorted({step * 10.0**power for power in range(-4, 8) for step in (1, 2, 5)})
        self._least = max((tick for tick in ticks if tick <= least), default=least)
        self._most = min((tick for tick in ticks if tick >= most and tick > self._least), default=most)
        self._start, self._end = start, end
        within = [tick for tick in ticks if self._least <= tick <= self._most]
        self.ticks = within if len(within) <= 7 else [tick for tick in within if math.log10(tick) % 1 < 1e-9]

    def at(self, value: float) -> float:
        """Return the coordinate of a value."""
        share = math.log(value / self._least) / math.log(self._most / self._least)
        return self._start + (self._end - self._start) * share


def _grid(across: _Axis, up: _Axis) -> Iterator[str]:
    for tick in up.ticks:
        y = up.at(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>'
    for tick in across.ticks:
        x = across.at(tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{number(tick)}</text>'
    yield f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>'


def _lines(lines: Sequence[Line], across: _Axis, up: _Axis) -> Iterator[str]:
    below = 0.0
    for index, line in sorted(enumerate(lines), key=lambda one: -one[1].points[-1][1]):  # their names stand in the order of their ends
        places = [(across.at(cause), up.at(cost)) for cause, cost in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline class="line{index}" style="fill:none" stroke-width="2" points="{path}"/>'
        yield from (_mark(MARKS[index], x, y, index) for x, y in places)
        label = below = max(places[-1][1] + 4, below + 14)  # two names would lie on each other
        yield _mark(MARKS[index], WIDTH - RIGHT + 20, label - 4, index)
        yield f'<text x="{WIDTH - RIGHT + 28}" y="{label:.1f}">{escape(line.name)}</text>'


def _mark(kind: str, x: float, y: float, index: int) -> str:
    shapes = {
        "circle": "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
        "square": "m-3-3h6v6h-6z",
        "diamond": "m0-4.5l4.5 4.5l-4.5 4.5l-4.5-4.5z",
        "triangle": "m0-4l4 7h-8z",
    }
    return f'<path class="line{index}" d="M{x:.1f} {y:.1f}{shapes[kind]}"/>'
