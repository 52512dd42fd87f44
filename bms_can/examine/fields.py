"""A guess at the fields in payloads that no DBC explains: which bytes move together. Pure.

Two neighbouring bytes are one number when the value of the pair moves in smaller steps than it
would if they were unrelated: a carry of the low byte moves the high one by one.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

LEAST_ROWS = 20
SMOOTH = 0.02  # of the number's span that a usual step may be
LEAST_CARRIES = 1
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
    """Return two bytes as one number if one moves much and the other slowly with its carry."""
    one, other = data[:, column].astype(np.int64), data[:, column + 1].astype(np.int64)
    if not np.any(data[:, column]) and not np.ptp(other):
        return None
    for order, high, low in (("big", one, other), ("little", other, one)):
        if not np.ptp(low) or high.max() == 0 or np.ptp(high) > np.ptp(low):
            continue
        number = high * 256 + low
        steps = np.abs(np.diff(number))
        calm = np.quantile(steps, 0.9) <= max(2.0, SMOOTH * float(number.max()))
        rare = np.count_nonzero(np.diff(high)) < np.count_nonzero(np.diff(low))
        if calm and rare:
            return FieldGuess(column, column + 1, order, int(number.min()), int(number.max()))
    return None
