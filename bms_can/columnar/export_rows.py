"""Rows on their way to a table: typed columns, gathered until a row group is full. numpy only."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.export_plan import US_PER_DAY, US_PER_S, DType, Field

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Chosen = slice | NDArray[np.intp] | Mask


class Cells(NamedTuple):
    """One column: where `valid` is False nothing is known; None: everything is."""

    values: Array
    valid: Mask | None = None

    def take(self, chosen: Chosen) -> "Cells":
        """Return the chosen rows."""
        return Cells(self.values[chosen], None if self.valid is None else self.valid[chosen])

    def copied(self) -> "Cells":
        """Return the same without keeping the larger arrays alive of which these are a part."""
        return Cells(self.values.copy(), None if self.valid is None else self.valid.copy())


Block = Sequence[Cells]  # one for each field of a table, all of one length


class RowGroups:
    """Gathers the rows of one table and gives them back in groups of one size.

    Args:
        group_rows: rows of a group.
    """

    def __init__(self, group_rows: int) -> None:
        self._group_rows = group_rows
        self._blocks: list[Block] = []
        self.waiting = 0

    def add(self, block: Block) -> Iterator[Block]:
        """Take rows; yield each group that is full now."""
        self._blocks.append(block)
        self.waiting += len(block[0].values)
        while self.waiting >= self._group_rows:
            whole = joined(self._blocks)
            rest = [cells.take(slice(self._group_rows, None)).copied() for cells in whole]
            self.waiting -= self._group_rows
            self._blocks = [rest] if self.waiting else []
            yield [cells.take(slice(0, self._group_rows)) for cells in whole]

    def rest(self) -> Block | None:
        """Return the rows that made no full group, None if there are none."""
        blocks, self._blocks, self.waiting = self._blocks, [], 0
        return joined(blocks) if blocks else None


def joined(blocks: Sequence[Block]) -> Block:
    """Return the rows of all blocks, one behind the other."""
    if len(blocks) == 1:
        return blocks[0]
    return [_joined(column) for column in zip(*blocks, strict=True)]


def _joined(cells: Sequence[Cells]) -> Cells:
    values = np.concatenate([each.values for each in cells])
    if all(each.valid is None for each in cells):
        return Cells(values)
    return Cells(values, np.concatenate([mask_of(each) for each in cells]))


def mask_of(cells: Cells) -> Mask:
    """Return where something is known."""
    return np.ones(len(cells.values), np.bool_) if cells.valid is None else cells.valid


def microseconds(at_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return times as whole microseconds: exact for the six digits that candump writes."""
    return np.rint(at_s * US_PER_S).astype(np.int64)


def by_day(time_us: NDArray[np.int64]) -> Iterator[tuple[int, Chosen]]:
    """Yield each day [since 1970] and its rows, which keep their order."""
    if not len(time_us):
        return
    first, last = (int(edge) // US_PER_DAY for edge in (time_us.min(), time_us.max()))
    if first == last:
        yield first, slice(None)
        return
    days = time_us // US_PER_DAY
    for day in np.unique(days).tolist():
        yield day, np.flatnonzero(days == day)


class ChannelNames:
    """Numbers the channels of a whole log; each chunk numbers its own."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names, by number."""
        return tuple(self._numbers)

    def numbers(self, names: Sequence[str]) -> NDArray[np.int32]:
        """Return the number of each name; new names get new ones."""
        known = self._numbers
        return np.array([known.setdefault(name, len(known)) for name in names], np.int32)


class ChoiceIndex:
    """Finds the choice of raw values.

    Args:
        field: of kind TEXT.
    """

    def __init__(self, field: Field) -> None:
        self._raws = [raw for raw, _ in field.choices]
        self._found: Mapping[DType, tuple[Array, Array]] = {}

    def __call__(self, raw: Array, heard: Mask | None) -> Cells:
        """Return positions in the field's choices, valid where a heard raw value has a name."""
        keys, places = self._sorted(raw.dtype)
        if not len(keys):
            return Cells(np.zeros(len(raw), np.int32), np.zeros(len(raw), np.bool_))
        at = np.minimum(np.searchsorted(keys, raw), len(keys) - 1)
        named = keys[at] == raw
        return Cells(places[at], named if heard is None else named & heard)

    def _sorted(self, dtype: DType) -> tuple[Array, Array]:
        """Return the raw values that this type can hold, sorted, and their positions."""
        if dtype not in self._found:
            fits = [(raw, place) for place, raw in enumerate(self._raws) if _holds(dtype, raw)]
            keys = np.array([raw for raw, _ in fits], dtype)
            places = np.array([place for _, place in fits], np.int32)
            self._found = {**self._found, dtype: (keys, places)}
        return self._found[dtype]


def _holds(dtype: DType, raw: int) -> bool:
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return int(limits.min) <= raw <= int(limits.max)
