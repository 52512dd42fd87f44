"""Plots as SVG paths: numbers in, text of paths and labels out. Pure; no drawing library.

A plot shows the smallest and largest value of each moment as a band, so that no spike is lost.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

WIDTH, HEIGHT = 640.0, 130.0
LEFT, RIGHT, TOP, BOTTOM = 84.0, 8.0, 8.0, 22.0
GAP_SLOTS = 6  # so many times the usual distance: then the line is broken
TICKS_Y, TICKS_X = 4, 6


class Tick(NamedTuple):
    """A mark on an axis: where [px], and what it says."""

    at: float
    text: str


class Plot(NamedTuple):
    """One plot, ready for the template.

    Attributes:
        title, unit, note: words; note is the span of values.
        band, line: SVG paths. x_ticks, y_ticks: marks.
    """

    title: str
    unit: str
    note: str
    band: str
    line: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


class Curve(NamedTuple):
    """Values to be drawn.

    Attributes:
        at_s: times [s], rising; low, high: smallest and largest value then.
        names: names of values, for a signal that has them; empty: a measurement.
    """

    at_s: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    names: dict[float, str]


def plot(title: str, unit: str, curve: Curve, until_s: float) -> Plot:
    """Return the plot of a curve over 0 to `until_s` [s]."""
    least, most = min(curve.low), max(curve.high)
    bottom, top = _span(least, most)
    steps = bool(curve.names) or all(a == b for a, b in zip(curve.low, curve.high, strict=True))
    x = [_x(at_s, until_s) for at_s in curve.at_s]
    low = [_y(value, bottom, top) for value in curve.low]
    high = [_y(value, bottom, top) for value in curve.high]
    runs = list(_runs(x))
    named = bool(curve.names)
    return Plot(
        title=title,
        unit=unit,
        note="" if named else f"{_number(least)} .. {_number(most)}",
        band="" if named else " ".join(_band(x[a:b], low[a:b], high[a:b]) for a, b in runs),
        line=" ".join(_line(x[a:b], low[a:b], high[a:b], steps=steps) for a, b in runs),
        x_ticks=time_ticks(until_s),
        y_ticks=tuple(_y_ticks(bottom, top, curve.names)),
    )


def time_ticks(until_s: float) -> tuple[Tick, ...]:
    """Return marks for a time axis from 0."""
    return tuple(Tick(_x(at, until_s), f"{_number(at)} s") for at in nice(0.0, until_s, TICKS_X))


def _x(at_s: float, until_s: float) -> float:
    inside = min(max(at_s / until_s, 0.0), 1.0) if until_s > 0 else 0.0
    return round(LEFT + inside * (WIDTH - LEFT - RIGHT), 2)


def _y(value: float, bottom: float, top: float) -> float:
    share = (value - bottom) / (top - bottom)
    return round(TOP + (1 - share) * (HEIGHT - TOP - BOTTOM), 2)


def _span(least: float, most: float) -> tuple[float, float]:
    """Return the ends of the y axis, with a margin, also for a constant."""
    room = (most - least) * 0.06 or abs(most) * 0.02 or 1.0
    return least - room, most + room


def _runs(x: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Yield the stretches without a gap."""
    steps = sorted(after - before for before, after in pairwise(x))
    usual = steps[len(steps) // 2] if steps else 0.0
    limit = max(GAP_SLOTS * usual, 3.0)
    start = 0
    for index in range(1, len(x)):
        if x[index] - x[index - 1] > limit:
            yield start, index
            start = index
    yield start, len(x)


def _band(x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    there = [f"{a:g},{b:g}" for a, b in zip(x, high, strict=True)]
    back = [f"{a:g},{b:g}" for a, b in zip(reversed(x), reversed(low), strict=True)]
    return f"M{' L'.join([*there, *back])}Z"


def _line(x: Sequence[float], low: Sequence[float], high: Sequence[float], *, steps: bool) -> str:
    middle = [round((a + b) / 2, 2) for a, b in zip(low, high, strict=True)]
    if len(x) == 1:
        return f"M{x[0] - 1:g},{middle[0]:g}h2"
    if not steps:
        return "M" + " L".join(f"{a:g},{b:g}" for a, b in zip(x, middle, strict=True))
    parts = [f"M{x[0]:g},{middle[0]:g}"]
    for index in range(1, len(x)):
        parts.append(f"H{x[index]:g}")
        if low[index] != high[index]:  # both values in one moment
            parts.append(f"V{low[index]:g}V{high[index]:g}")
        elif middle[index] != middle[index - 1]:
            parts.append(f"V{middle[index]:g}")
    return "".join(parts)


def _y_ticks(bottom: float, top: float, names: dict[float, str]) -> Iterator[Tick]:
    if names:
        inside = sorted(value for value in names if bottom <= value <= top)
        every = max(1, math.ceil(len(inside) / (TICKS_Y + 2)))
        yield from (Tick(_y(value, bottom, top), names[value][:12]) for value in inside[::every])
        return
    for value in nice(bottom, top, TICKS_Y):
        yield Tick(_y(value, bottom, top), _number(value))


def nice(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers within [low, high]."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step)
    return [round(index * step, 12) for index in range(first, math.floor(high / step) + 1)]


def _number(value: float) -> str:
    return f"{value:.6g}".replace("e+0", "e").replace("e-0", "e-")
