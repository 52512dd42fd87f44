"""A guess at the fields in payloads that no DBC explains: which bytes move together. Pure.

Two neighbouring bytes are one number when the high one moves by one exactly when the low one runs
over. Where the high one never moves, nothing ties the two together, and nothing is claimed.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

LEAST_ROWS = 20
LEAST_CARRIES = 3  # fewer could be chance
LEAST_WRAP = 100  # so far the low byte jumps when it runs over
SHARE = 0.9  # of the high byte's moves that must be carries
WIDTH = 2


class FieldGuess(NamedTuple):
    """Bytes first to last as one number, and what was seen of it; order "" where it is one byte."""

    first: int
    last: int
    order: str
    low: int
    high: int

    @property
    def words(self) -> str:
        """The guess, in one form for all languages."""
        place = f"[{self.first}]" if self.first == self.last else f"[{self.first}..{self.last}]"
        order = f" {self.order}-endian" if self.order else ""
        return f"{place}{order} {self.low}..{self.high}"


def guess_fields(data: Bytes) -> list[FieldGuess]:
    """Return the bytes that change, pairs that are one number as one."""
    if len(data) < LEAST_ROWS:
        return []
    moving = np.ptp(data, axis=0) > 0
    found: list[FieldGuess] = []
    column = 0
    while column < data.shape[1]:
        pair = _pair(data, column) if column + 1 < data.shape[1] else None
        if pair is not None:
            found.append(pair)
            column += WIDTH
            continue
        if moving[column]:
            values = data[:, column]
            found.append(FieldGuess(column, column, "", int(values.min()), int(values.max())))
        column += 1
    return found


def _pair(data: Bytes, column: int) -> FieldGuess | None:
    """Return two bytes as one number if the high one moves only when the low one runs over."""
    one, other = data[:, column].astype(np.int64), data[:, column + 1].astype(np.int64)
    for order, high, low in (("big", one, other), ("little", other, one)):
        carries = np.diff(high)
        wraps = np.diff(low)
        at = np.flatnonzero(carries)
        if len(at) < LEAST_CARRIES or len(at) >= np.count_nonzero(wraps):
            continue
        right = (np.abs(carries[at]) == 1) & (wraps[at] * carries[at] < -LEAST_WRAP)
        if right.mean() >= SHARE:
            number = high * 256 + low
            return FieldGuess(column, column + 1, order, int(number.min()), int(number.max()))
    return None
