"""Running sums of one signal of the DBC: values, range, choices, sentinels."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from cantools.database.can import Message, Signal

from bms_can.columnar.extract import Array
from bms_can.layout import Field, field_of
from bms_can.profile import SignalLimits
from bms_can.scaling import float_range, limits_of, raw_range

MOST_DISTINCT = 64  # different raw values that are remembered one by one
LEAST_SENTINEL_BITS = 8

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Values(NamedTuple):
    """Values of one signal in consecutive frames: raw, physical, and where they stood."""

    raw: Array
    physical: Array
    at_s: Floats
    line: Ints


@dataclass(slots=True)
class Outside:
    """Values outside the range: how many, and the first [value, time, line]."""

    count: int = 0
    value: float = 0.0
    at_s: float = 0.0
    line: int = 0

    def take(self, bad: npt.NDArray[np.bool_], values: Values) -> None:
        """Count where `bad`."""
        hits = np.flatnonzero(bad)
        if len(hits) and not self.count:
            first = hits[0]
            self.value = float(values.physical[first])
            self.at_s, self.line = float(values.at_s[first]), int(values.line[first])
        self.count += len(hits)


@dataclass(slots=True)
class SignalTally:
    """Takes the values of one signal on one channel.

    Attributes:
        frames: values seen; changes: how often one differed from the one before.
        low, high: smallest and largest finite physical value, NaN before the first.
        first: the first physical value.
        outside: values outside the DBC's range, sentinels not counted.
        ones: values whose bits are all ones, where that is outside the range or far from the rest.
        distinct: raw value -> count, as long as there are at most `MOST_DISTINCT`; then None.
        unnamed: raw values without a name, of a signal whose values have names.
    """

    name: str
    message: Message
    signal: Signal
    frames: int = 0
    changes: int = 0
    low: float = np.nan
    high: float = np.nan
    first: float = np.nan
    outside: Outside = field(default_factory=Outside)
    ones: Outside = field(default_factory=Outside)
    unnamed: Outside = field(default_factory=Outside)
    distinct: Counter[float] | None = field(default_factory=Counter)
    unnamed_raws: Counter[int] = field(default_factory=Counter)
    _last: float = np.nan

    @property
    def field(self) -> Field:
        """Place of the signal; it has one, or it would not be decoded."""
        place = field_of(self.message, self.signal)
        if place is None:
            raise ValueError(f"{self.name} does not fit into its message")
        return place

    @property
    def is_stuck(self) -> bool:
        """Whether it never changed."""
        return self.frames > 1 and self.changes == 0

    def feed(self, values: Values) -> None:
        """Take further values."""
        if not len(values.raw):
            return
        raw = values.raw.astype(np.float64)
        if self.frames == 0:
            self.first = float(values.physical[0])
            self._last = float(raw[0])
        self.frames += len(raw)
        self.changes += int(np.count_nonzero(np.diff(raw, prepend=self._last)))
        self._last = float(raw[-1])
        self._ranges(values)
        self._count_distinct(raw)
        if self.signal.choices:
            self._names(values)

    def _ranges(self, values: Values) -> None:
        ones = self._all_ones(values.raw)
        outside = self._outside(values)
        self.ones.take(ones & outside, values)
        self.outside.take(outside & ~ones, values)
        physical = values.physical.astype(np.float64)
        physical = physical[np.isfinite(physical) & ~(ones & outside)]
        if len(physical):
            self.low = float(np.fmin(self.low, physical.min()))
            self.high = float(np.fmax(self.high, physical.max()))

    def _all_ones(self, raw: Array) -> npt.NDArray[np.bool_]:
        place = self.field
        if place.is_float or place.length < LEAST_SENTINEL_BITS:
            return np.zeros(len(raw), np.bool_)
        candidates = (place.highest, -1) if place.sign else (place.highest,)
        found = np.zeros(len(raw), np.bool_)
        for value in candidates:
            if value != -1:  # -1 is all ones, but also simply minus one
                found |= raw == value
        return found

    def _outside(self, values: Values) -> npt.NDArray[np.bool_]:
        place = self.field
        if place.is_float:
            low, high = float_range(place, self.signal, SignalLimits())
            inside: npt.NDArray[np.bool_] = (values.physical >= low) & (values.physical <= high)
            return ~inside
        if limits_of(self.signal, SignalLimits()) == (None, None):
            return np.zeros(len(values.raw), np.bool_)
        least, most = raw_range(place, self.signal, SignalLimits())
        inside = (values.raw >= least) & (values.raw <= most)
        return ~inside

    def _count_distinct(self, raw: Floats) -> None:
        if self.distinct is None:
            return
        found, counts = np.unique(raw, return_counts=True)
        if len(found) > MOST_DISTINCT:
            self.distinct = None
            return
        self.distinct.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        if len(self.distinct) > MOST_DISTINCT:
            self.distinct = None

    def _names(self, values: Values) -> None:
        named = np.array([float(raw) for raw in self.signal.choices or {}])
        bad = ~np.isin(values.raw.astype(np.float64), named)
        self.unnamed.take(bad, values)
        raws, counts = np.unique(values.raw[bad], return_counts=True)
        for raw, count in zip(raws.tolist(), counts.tolist(), strict=True):
            if raw in self.unnamed_raws or len(self.unnamed_raws) < MOST_DISTINCT:
                self.unnamed_raws[int(raw)] += count
