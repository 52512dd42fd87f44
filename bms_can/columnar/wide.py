"""The last value of every signal at each instant of a fixed grid. Pure: columns in, columns out.

At an instant stands what the newest frame at or before it said, as long as that is not older than
the signal's longest age. Not heard yet, too old, or heard but not to be believed: unknown.

Frames may come a little out of order: an instant is settled only when the log is `REORDER_US` past
it. A clock that goes back further begins a new stretch, in which nothing is known yet.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.export_rows import Array, Block, Cells, Mask, mask_of

Times = NDArray[np.int64]

REORDER_US = 1_000_000  # logs of several interfaces go back by milliseconds
NEVER = -(1 << 62)
MOST_ROWS = 65_536  # settled at once


class News(NamedTuple):
    """What some frames of one message said.

    Attributes:
        time_us: of each frame.
        heard: by column, where the frame says anything; None: everywhere.
        cells: by column.
    """

    time_us: Times
    heard: Mapping[int, Mask | None]
    cells: Mapping[int, Cells]


@dataclass(slots=True)
class _Track:
    """One column: what was said and is not settled yet, the newest settled in front."""

    dtype: np.dtype[np.generic]
    max_age_us: int
    time_us: Times = field(init=False)
    values: Array = field(init=False)
    valid: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know nothing."""
        self.time_us = np.array([NEVER], np.int64)
        self.values = np.zeros(1, self.dtype)
        self.valid = np.zeros(1, np.bool_)

    def add(self, time_us: Times, cells: Cells) -> None:
        """Hear some frames; later ones of the same time win."""
        if not len(time_us):
            return
        time_us = np.concatenate([self.time_us, time_us])
        values = np.concatenate([self.values, cells.values])
        valid = np.concatenate([self.valid, mask_of(cells)])
        if (time_us[1:] < time_us[:-1]).any():
            order = np.argsort(time_us, kind="stable")
            time_us, values, valid = time_us[order], values[order], valid[order]
        self.time_us, self.values, self.valid = time_us, values, valid

    def at(self, instants: Times) -> Cells:
        """Return the values at ascending instants."""
        newest = np.searchsorted(self.time_us, instants, "right") - 1
        young = instants - self.time_us[newest] <= self.max_age_us
        return Cells(self.values[newest], self.valid[newest] & young)

    def settle(self, until_us: int) -> None:
        """Keep the newest of what was said until a time, and all behind it."""
        newest = int(np.searchsorted(self.time_us, until_us, "right")) - 1
        if newest > 0:
            self.time_us = self.time_us[newest:]
            self.values = self.values[newest:]
            self.valid = self.valid[newest:]


class Grid:
    """The wide rows of one channel of one log.

    Args:
        period_us: of the grid; instants are its multiples since 1970.
        columns: type and longest age [us] of each.
    """

    def __init__(self, period_us: int, columns: Sequence[tuple[np.dtype[np.generic], int]]) -> None:
        self._period_us = period_us
        self._tracks = [_Track(dtype, age_us) for dtype, age_us in columns]
        self._longest_us = max((age_us for _, age_us in columns), default=0)
        self._next: int | None = None  # number of the first instant of which there are rows to come
        self._settled = NEVER  # number of the first instant that is not settled
        self._newest_us = NEVER
        self._heard = np.array([], np.int64)  # times of frames, sorted, the newest settled in front
        self.stretches = 0

    @property
    def newest_us(self) -> int:
        """Time of the newest frame of the present stretch."""
        return self._newest_us

    def hear(self, clock_us: Times, news: Sequence[News]) -> None:
        """Hear frames of one stretch: the times of all, and what those of each message said."""
        if not len(clock_us):
            return
        first = -(-int(clock_us.min()) // self._period_us)
        if self._next is None:
            self._next, self._settled = first, NEVER
            self.stretches += 1
        self._next = min(self._next, max(first, self._settled))  # a late frame can be the first
        self._newest_us = max(self._newest_us, int(clock_us.max()))
        heard_us = np.concatenate([self._heard, *(each.time_us for each in news)])
        self._heard = np.unique(heard_us)
        for each in news:
            for column, cells in each.cells.items():
                heard = each.heard[column]
                time_us = each.time_us if heard is None else each.time_us[heard]
                self._tracks[column].add(time_us, cells if heard is None else cells.take(heard))

    def settled(self, until_us: int | None = None) -> Iterator[tuple[Times, Block]]:
        """Yield the rows that no later frame can change; None: up to a time that is past.

        Args:
            until_us: the end of the stretch, or None while it goes on.
        """
        if self._next is None:
            return
        until_us = self._newest_us - REORDER_US - 1 if until_us is None else until_us
        last = until_us // self._period_us
        for numbers in self._numbers(self._next, last):
            instants = numbers * self._period_us
            block = [track.at(instants) for track in self._tracks]
            known = np.zeros(len(instants), np.bool_)
            for cells in block:
                known |= mask_of(cells)
            if known.all():
                yield instants, block
            elif known.any():
                rows = np.flatnonzero(known)
                yield instants[rows], [cells.take(rows) for cells in block]
        self._settled = max(self._settled, last + 1)
        self._next = max(self._next, last + 1)
        for track in self._tracks:
            track.settle(until_us)
        newest = int(np.searchsorted(self._heard, until_us, "right")) - 1
        self._heard = self._heard[max(newest, 0) :]

    def end(self) -> Iterator[tuple[Times, Block]]:
        """Yield what is left of the stretch; then nothing is known."""
        yield from self.settled(self._newest_us)
        for track in self._tracks:
            track.forget()
        self._next = None
        self._newest_us = NEVER
        self._heard = self._heard[:0]

    def _numbers(self, first: int, last: int) -> Iterator[Times]:
        """Yield the numbers of the instants at which anything can be known, in handy pieces.

        A log that is silent for years has no rows for them.
        """
        heard = self._heard
        if not len(heard):
            return
        gaps = np.flatnonzero(np.diff(heard) > self._longest_us)
        starts = -(-heard[np.concatenate([[0], gaps + 1])] // self._period_us)
        ends = (
            heard[np.concatenate([gaps, [len(heard) - 1]])] + self._longest_us
        ) // self._period_us
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            low, high = max(start, first), min(end, last)
            for piece in range(low, high + 1, MOST_ROWS):
                yield np.arange(piece, min(piece + MOST_ROWS, high + 1), dtype=np.int64)


def stretches(clock_us: Times, newest_us: int) -> list[slice]:
    """Return the pieces between which the clock goes back by more than frames are mixed up.

    Args:
        clock_us: times in the order of the log.
        newest_us: newest time before them.
    """
    pieces: list[slice] = []
    start = 0
    while start < len(clock_us):
        newest = np.maximum.accumulate(np.concatenate([[newest_us], clock_us[start:]]))[:-1]
        back = np.flatnonzero(clock_us[start:] < newest - REORDER_US)
        end = start + int(back[0]) if len(back) else len(clock_us)
        if end > start or not pieces:
            pieces.append(slice(start, end))
        start, newest_us = end, NEVER
    return pieces
