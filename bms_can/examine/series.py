"""Values over time in constant memory: smallest and largest in each slot of a common time grid.

The grid begins with narrow slots. When time runs over its end, pairs of slots are merged and their
width doubles; so after any length of log there are between MOST / 2 and MOST slots.
"""

import math
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

MOST = 512
FIRST_WIDTH_S = 0.01

Floats = npt.NDArray[np.float64]
Slots = npt.NDArray[np.float32]  # enough for a plot, half the memory


class Series:
    """Smallest and largest value in each slot; NaN where there was none."""

    def __init__(self, slots: int) -> None:
        self.low: Slots = np.full(slots, np.nan, np.float32)
        self.high: Slots = np.full(slots, np.nan, np.float32)

    def merge(self) -> None:
        """Make one slot of each two; the second half becomes free."""
        half = len(self.low) // 2
        for values, better in ((self.low, np.fmin), (self.high, np.fmax)):
            values[:half] = better(values[0::2], values[1::2])
            values[half:] = np.nan

    def put(self, slot: npt.NDArray[np.int64], values: Floats) -> None:
        """Take values with the slot of each."""
        narrow = values.astype(np.float32)
        np.fmin.at(self.low, slot, narrow)
        np.fmax.at(self.high, slot, narrow)

    @property
    def middle(self) -> Slots:
        """Middle of each slot's span."""
        middle: Slots = (self.low + self.high) * np.float32(0.5)
        return middle


class Grid:
    """The time slots that all series of a log share.

    Attributes:
        from_s: start of the first slot [s, the log's clock]; None before the first frame.
        width_s: width of a slot [s].
        series: by a key of the caller's.
    """

    def __init__(self, slots: int = MOST) -> None:
        self.slots = slots
        self.from_s: float | None = None
        self.width_s = FIRST_WIDTH_S
        self.series: dict[Hashable, Series] = {}

    def cover(self, first_s: float, last_s: float) -> None:
        """Make room for times; what is older than the first frame ever goes into slot 0."""
        if self.from_s is None:
            self.from_s = first_s
        while last_s - self.from_s >= self.width_s * self.slots:
            self.width_s *= 2
            for series in self.series.values():
                series.merge()

    def put(self, name: Hashable, at_s: Floats, values: Floats) -> None:
        """Take values of a series; `cover` came before. What is not finite is left out."""
        good = np.isfinite(values)
        if self.from_s is None or not good.any():
            return
        slot = np.floor((at_s[good] - self.from_s) / self.width_s).astype(np.int64)
        series = self.series.setdefault(name, Series(self.slots))
        series.put(np.clip(slot, 0, self.slots - 1), values[good])

    def used(self, last_s: float) -> int:
        """Return how many slots reach up to a time [s]."""
        if self.from_s is None:
            return 0
        return min(self.slots, math.floor(max(0.0, last_s - self.from_s) / self.width_s) + 1)
