"""Rows on their way to a table: typed columns, gathered until a row group is full. numpy only."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.export_plan import US_PER_DAY, US_PER_S, DType, Field

Array = NDArray[Any]
Mask = NDArray[np.bool_]
FIRST_ROOM = 1024  # rows
Chosen = slice | NDArray[np.intp] | Mask


class Cells(NamedTuple):
    """One column: where `valid` is False nothing is known; None: everything is."""

    values: Array
    valid: Mask | None = None

    def take(self, chosen: Chosen) -> "Cells":
        """Return the chosen rows."""
        return Cells(self.values[chosen], None if self.valid is None else self.valid[chosen])


Block = Sequence[Cells]  # one for each field of a table, all of one length


class _Column:
    """Room for the rows of one column, used again for each group."""

    def __init__(self, dtype: DType, room: int) -> None:
        self._values = np.empty(room, dtype)
        self._valid: Mask | None = None

    def grow(self, room: int, used: int) -> None:
        self._values, old = np.empty(room, self._values.dtype), self._values
        self._values[:used] = old[:used]
        if self._valid is not None:
            self._valid = np.concatenate([self._valid, np.ones(room - len(old), np.bool_)])

    def put(self, start: int, cells: Cells) -> None:
        end = start + len(cells.values)
        self._values[start:end] = cells.values
        if self._valid is not None:
            self._valid[start:end] = True if cells.valid is None else cells.valid
        elif cells.valid is not None:
            self._valid = np.ones(len(self._values), np.bool_)
            self._valid[start:end] = cells.valid

    def cells(self, used: int) -> Cells:
        """Return the rows, and begin anew; they stand until the next ones are put."""
        valid, self._valid = self._valid, None
        return Cells(self._values[:used], None if valid is None else valid[:used])


class RowGroups:
    """Gathers the rows of one table and gives them back in groups of one size.

    Args:
        group_rows: rows of a group.
    """

    def __init__(self, group_rows: int) -> None:
        self._group_rows = group_rows
        self._columns: list[_Column] = []
        self._room = self._used = 0

    def add(self, block: Block) -> Iterator[Block]:
        """Take rows; yield each group that is full now. It stands until the next step."""
        count, start = len(block[0].values), 0
        while start < count:
            size = min(count - start, self._group_rows - self._used)
            self._make_room(block, self._used + size)
            piece = (
                block
                if size == count
                else [cells.take(slice(start, start + size)) for cells in block]
            )
            for column, cells in zip(self._columns, piece, strict=True):
                column.put(self._used, cells)
            start += size
            self._used += size
            if self._used == self._group_rows:
                yield self._taken()

    def rest(self) -> Block | None:
        """Return the rows that made no full group, None if there are none."""
        return self._taken() if self._used else None

    def _make_room(self, block: Block, room: int) -> None:
        """Begin small: most tables of a long DBC have few rows."""
        if room <= self._room:
            return
        self._room = min(self._group_rows, max(2 * self._room, room, FIRST_ROOM))
        if not self._columns:
            self._columns = [_Column(cells.values.dtype, self._room) for cells in block]
        for column in self._columns:
            column.grow(self._room, self._used)

    def _taken(self) -> Block:
        used, self._used = self._used, 0
        return [column.cells(used) for column in self._columns]


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
