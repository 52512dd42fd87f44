"""Decoding by columns against cantools and against the live codec; the bench uses it too."""

import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cantools.database.errors import DecodeError

from bms_can.codec import Codec
from bms_can.columnar.chunk import Chunk
from bms_can.columnar.decode import Decoder, MessageColumns
from bms_can.columnar.rows import Rows
from bms_can.database import Database
from bms_can.errors import BadFrame
from bms_can.frame import Frame

Value = int | float | None
Values = Mapping[str, tuple[Value, ...]]


class Outcome(NamedTuple):
    """What became of one frame: message, reason of refusal, numbers by signal."""

    message: str
    refused: str
    values: Values


def chunk_of(frames: Sequence[Frame]) -> Chunk:
    """Return frames as columns."""
    rows = Rows(len(frames))
    for row, frame in enumerate(frames):
        rows.used += 1
        rows.put(row, frame, row + 1)
    return rows.take()


def by_cantools(database: Database, frames: Iterable[Frame]) -> Iterator[Outcome | None]:
    """Yield what cantools makes of each frame, None for one of no message."""
    for frame in frames:
        message = database.by_id.get((frame.can_id, frame.extended))
        if message is None:
            yield None
            continue
        try:
            values = message.decode_simple(frame.data, decode_choices=False)
        except DecodeError as error:
            reason = "mux" if "multiplexer" in str(error) else "length"
            yield Outcome(message.name, reason, {})
        else:
            numbers = {
                name: (value,)
                for name, value in values.items()
                if f"{message.name}.{name}" in database.signals
                and isinstance(value, int | float)  # no choices were asked for
            }
            yield Outcome(message.name, "", numbers)


def by_codec(database: Database, frames: Iterable[Frame]) -> Iterator[Outcome | None]:
    """Yield what the live codec makes of each frame: raw, and value or None."""
    codec = Codec(database)
    for frame in frames:
        try:
            decoded = codec.decode(frame)
        except BadFrame as bad:
            yield Outcome(database.by_id[frame.can_id, frame.extended].name, bad.reason, {})
            continue
        if decoded is None:
            yield None
            continue
        name, samples = decoded
        values = {key.split(".", 1)[1]: (each.raw, each.value) for key, each in samples.items()}
        yield Outcome(name, "", values)


def by_columns(decoder: Decoder, chunk: Chunk, *, live: bool) -> list[Outcome | None]:
    """Return what the columns say of each frame, in the words of one of the others."""
    found: list[Outcome | None] = [None] * len(chunk)
    for columns in decoder.decode(chunk):
        for reason, rows in columns.refused.items():
            for row in rows.tolist():
                found[row] = Outcome(columns.message, reason, {})
        for row, values in zip(columns.rows.tolist(), _rows(columns, live=live), strict=True):
            found[row] = Outcome(columns.message, "", values)
    return found


def _rows(columns: MessageColumns, *, live: bool) -> Iterator[Values]:
    lists: dict[str, list[tuple[Value, ...]]] = {}
    for name, array in columns.values.items():
        values: list[Value] = array.tolist()
        if live:
            usable = columns.usable(name).tolist()
            known = [value if fine else None for value, fine in zip(values, usable, strict=True)]
            lists[name] = list(zip(columns.raw(name).tolist(), known, strict=True))
        else:
            lists[name] = [(value,) for value in values]
    always = [True] * len(columns.rows)
    here = {name: always if mask is None else mask.tolist() for name, mask in columns.valid.items()}
    for row in range(len(columns.rows)):
        yield {name: each[row] for name, each in lists.items() if here[name][row]}


def same(left: Outcome | None, right: Outcome | None) -> bool:
    """Return whether two outcomes are equal bit for bit; NaN equals NaN."""
    if left is None or right is None:
        return left is right
    if left[:2] != right[:2] or left.values.keys() != right.values.keys():
        return False
    return all(
        _same_number(one, other)
        for name, numbers in left.values.items()
        for one, other in zip(numbers, right.values[name], strict=True)
    )


def _same_number(one: Value, other: Value) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        if math.isnan(one):
            return math.isnan(other)
        return struct.pack("<d", one) == struct.pack("<d", other)
    return type(one) is type(other) and one == other
