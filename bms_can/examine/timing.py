"""When the frames of one identifier came: period, jitter, gaps. Running sums, no list of times."""

import heapq
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SHORTEST_S, STEP = 1e-5, 1.02  # bins of 2 %, from 10 us ...
BINS = 1050  # ... to 10^4 s
GAPS_KEPT = 5
NEAR = 0.25  # of the period: what still counts as one period
LEAST_STEPS = 8  # fewer say nothing about a period

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Gap(NamedTuple):
    """A silence: its length [s], when it began [s], and the line of the frame that ended it."""

    length_s: float
    from_s: float
    line: int


class Rhythm(NamedTuple):
    """What the times of one identifier say.

    Attributes:
        period_s: usual time from frame to frame [s]; None: too few frames.
        regular: share of steps within `NEAR` of the period.
        early_s, late_s: 5 % of the steps are shorter, 5 % longer [s].
        longest_s: the longest step [s].
        gaps: the longest steps that are more than five periods.
        gap_count: how many such steps.
    """

    period_s: float | None
    regular: float
    early_s: float
    late_s: float
    longest_s: float
    gaps: tuple[Gap, ...]
    gap_count: int

    @property
    def is_periodic(self) -> bool:
        """Whether most frames come at one period."""
        return self.period_s is not None and self.regular >= 0.7  # noqa: PLR2004 - a clear majority


UNKNOWN = Rhythm(None, 0.0, 0.0, 0.0, 0.0, (), 0)
GAP_PERIODS = 5


class Timing:
    """Takes the times of one identifier in the order of the file.

    Attributes:
        steps: steps forward in time; same: steps of 0; back: steps backward.
        worst_back_s: the longest of those [s].
        first_s, last_s: smallest and largest time [s].
    """

    def __init__(self) -> None:
        self.steps = self.same = self.back = 0
        self.worst_back_s = 0.0
        self.first_s, self.last_s = np.inf, -np.inf
        self._before_s = np.nan
        self._counts: Ints = np.zeros(BINS, np.int64)
        self._sums: Floats = np.zeros(BINS)
        self._longest: list[Gap] = []

    def feed(self, at_s: Floats, line: Ints) -> None:
        """Take the next frames."""
        if not len(at_s):
            return
        before = np.concatenate(([self._before_s], at_s[:-1]))
        self._before_s = float(at_s[-1])
        self.first_s = min(self.first_s, float(at_s.min()))
        self.last_s = max(self.last_s, float(at_s.max()))
        step_s = at_s - before
        forward = step_s > 0  # False for the first, which is NaN
        self.same += int(np.count_nonzero(step_s == 0))
        if self.steps + len(at_s) > 1 and np.any(step_s < 0):
            self.back += int(np.count_nonzero(step_s < 0))
            self.worst_back_s = max(self.worst_back_s, float(-np.nanmin(step_s)))
        self._count(step_s[forward], at_s[forward], line[forward])

    def _count(self, step_s: Floats, at_s: Floats, line: Ints) -> None:
        if not len(step_s):
            return
        self.steps += len(step_s)
        index = np.floor(np.log(step_s / SHORTEST_S) / np.log(STEP)).astype(np.int64)
        index = np.clip(index, 0, BINS - 1)
        self._counts += np.bincount(index, minlength=BINS)
        self._sums += np.bincount(index, weights=step_s, minlength=BINS)
        many = len(step_s) > GAPS_KEPT
        top = np.argpartition(step_s, -GAPS_KEPT)[-GAPS_KEPT:] if many else range(len(step_s))
        found = [Gap(float(step_s[i]), float(at_s[i] - step_s[i]), int(line[i])) for i in top]
        self._longest = heapq.nlargest(GAPS_KEPT, [*self._longest, *found])

    def rhythm(self) -> Rhythm:
        """Return what the times say so far."""
        if self.steps < LEAST_STEPS:
            return UNKNOWN
        middle = self._quantile(0.5)
        near = slice(self._bin(middle * (1 - NEAR)), self._bin(middle * (1 + NEAR)) + 1)
        count = int(self._counts[near].sum())
        period_s = float(self._sums[near].sum()) / count
        late = slice(self._bin(period_s * GAP_PERIODS) + 1, None)
        gaps = tuple(gap for gap in self._longest if gap.length_s > GAP_PERIODS * period_s)
        return Rhythm(
            period_s=period_s,
            regular=count / (self.steps + self.same),
            early_s=self._quantile(0.05),
            late_s=self._quantile(0.95),
            longest_s=self._longest[0].length_s,
            gaps=gaps,
            gap_count=max(len(gaps), int(self._counts[late].sum())),
        )

    def share_longer(self, limit_s: float) -> float:
        """Return the share of steps that are longer than a limit [s], to within 2 % of it."""
        late = int(self._counts[self._bin(limit_s) + 1 :].sum())
        return late / self.steps if self.steps else 0.0

    @staticmethod
    def _bin(step_s: float) -> int:
        index = int(np.floor(np.log(max(step_s, SHORTEST_S) / SHORTEST_S) / np.log(STEP)))
        return min(max(index, 0), BINS - 1)

    def _quantile(self, share: float) -> float:
        """Return the mean step of the bin in which this share of all steps is reached [s]."""
        index = int(np.searchsorted(np.cumsum(self._counts), share * self.steps, side="left"))
        index = min(index, BINS - 1)
        while self._counts[index] == 0:
            index += 1
        return float(self._sums[index] / self._counts[index])
