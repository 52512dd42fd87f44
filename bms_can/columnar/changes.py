"""The changes of signals in a log as lines: what was, what is, and nothing for a repeat.

A change is one of the raw value, on one channel: two buses have their own last values.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bms_can.columnar.chunk import Chunk
from bms_can.columnar.decode import Mask, MessageColumns
from bms_can.columnar.export_rows import Array
from bms_can.columnar.lines import DIGITS, vocabulary_of
from bms_can.database import Database


class Reading(NamedTuple):
    """A value. `believed`: inside of the DBC's range, no NaN; `name`: the DBC's, if it has one."""

    raw: int | float
    value: int | float
    believed: bool
    name: str | None


class Changes:
    """Makes a line for the first value of each signal and for each other one after it.

    Args:
        database: that decodes.
        as_json: one JSON object a line.
    """

    def __init__(self, database: Database, *, as_json: bool) -> None:
        self._choices, self._units, self._order = vocabulary_of(database)
        self._json = as_json
        self._last: dict[tuple[str, str], Reading] = {}

    def of(self, chunk: Chunk, decoded: Sequence[MessageColumns]) -> list[str]:
        """Return the lines of a chunk, in the order of the log, then of the DBC."""
        found: list[tuple[int, int, str]] = []
        for columns in decoded:
            numbers = chunk.channel[columns.rows]
            for name, valid in columns.valid.items():
                for number in np.unique(numbers):
                    on = numbers == number
                    found += self._signal(chunk, columns, name, on if valid is None else on & valid)
        return [line for _, _, line in sorted(found)]

    def _signal(
        self, chunk: Chunk, columns: MessageColumns, name: str, on: Mask
    ) -> Iterator[tuple[int, int, str]]:
        """Yield row, place in the DBC and line of each change of a signal on one channel."""
        index, key = np.flatnonzero(on), f"{columns.message}.{name}"
        if not len(index):
            return
        channel = chunk.channels[int(chunk.channel[columns.rows[index[0]]])] or ""
        old = self._last.get((channel, key))
        raw = columns.raw(name)
        index = index[_differs(raw[index], None if old is None else old.raw)]
        some = (each[index].tolist() for each in (raw, columns.values[name], columns.usable(name)))
        rows = columns.rows[index]
        for row, at_s, *read in zip(rows.tolist(), chunk.at_s[rows].tolist(), *some, strict=True):
            new = Reading(read[0], read[1], read[2], self._choices[key].get(read[0]))
            make = self._object if self._json else self._text
            yield row, self._order[key], make((at_s, channel, key), old, new)
            old = self._last[channel, key] = new

    def _text(self, head: tuple[float, str, str], old: Reading | None, new: Reading) -> str:
        at_s, channel, key = head
        before = "-" if old is None else self._shown(key, old)
        return f"({at_s:.6f}) {channel or '-'} {key}  {before} -> {self._shown(key, new)}"

    def _shown(self, key: str, reading: Reading) -> str:
        if reading.name is not None:
            return reading.name
        if not reading.believed:
            return f"? (raw {reading.raw})"
        form = DIGITS if isinstance(reading.value, float) else ""
        return f"{reading.value:{form}} {self._units[key]}".rstrip()

    def _object(self, head: tuple[float, str, str], old: Reading | None, new: Reading) -> str:
        at_s, channel, key = head
        line: dict[str, Any] = {"time": at_s, "channel": channel, "signal": key}
        for word, reading in (("old", old), ("new", new)):
            if reading is not None:
                line[word] = reading.value if reading.believed else None
                line |= {} if reading.name is None else {f"{word}_name": reading.name}
        return json.dumps(line, ensure_ascii=False)


def _differs(raw: Array, last: float | None) -> Mask:
    """Tell of each value whether it is another than the one before; NaN is NaN."""
    changed = np.ones(len(raw), np.bool_)
    changed[1:] = _other(raw[1:], raw[:-1])
    if last is not None:
        changed[0] = not (raw[0] == last or (raw[0] != raw[0] and last != last))  # noqa: PLR0124 - NaN
    return changed


def _other(new: Array, old: Array) -> Mask:
    both_nan = (new != new) & (old != old)  # noqa: PLR0124 - NaN alone is not itself
    return np.asarray((new != old) & ~both_nan.astype(np.bool_), np.bool_)
