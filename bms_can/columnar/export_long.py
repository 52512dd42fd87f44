"""A table for each message and day: every frame one row, in the order of the log.

What waits for a row group to be full are frames, not values: a frame takes 20 bytes, its values
often hundreds, and decoding many frames at once costs less.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.chunk import CLASSICAL_WIDTH, FD_WIDTH, Chunk
from bms_can.columnar.export_cells import Decoding, dtypes_of
from bms_can.columnar.export_plan import Field, group_rows, message_fields, message_folder
from bms_can.columnar.export_rows import Block, Cells, by_day, microseconds
from bms_can.columnar.export_tables import Part, Sheet, Tables
from bms_can.database import Database

KEY_FIELDS = 2  # time and channel come before the signals
KEY_BYTES = 12  # of a frame that waits, beside its payload

Payload = NDArray[Any]  # one item of 8 or 64 bytes for each frame


class _Message(NamedTuple):
    """A message of the decoder, by number: the bytes of its payloads and its tables."""

    name: str
    width: int
    sheet: Sheet


class LongTables:
    """Writes the rows of each message.

    Args:
        decoding: of the wanted messages, also such without a signal.
        tables: the files.
        metadata: of every file's schema.
    """

    def __init__(self, decoding: Decoding, tables: Tables, metadata: Mapping[str, str]) -> None:
        self._decoding = decoding
        self._tables = tables
        decoder = decoding.decoder
        database, dtypes = decoder.database, dtypes_of(decoder)
        widths = [_width(plan.size) for plan in decoder.plans]
        row_bytes = sum(KEY_BYTES + width for width in widths)
        self._messages = []
        for number, (plan, width) in enumerate(zip(decoder.plans, widths, strict=True)):
            keys = [f"{plan.name}.{name}" for name in plan.signals]
            fields = message_fields(database, keys, dtypes)
            about = {**metadata, **_about(database, plan.name)}
            rows = group_rows(fields, row_bytes)
            sheet = Sheet(fields, about, rows, self._finish(number, fields))
            self._messages.append(_Message(plan.name, width, sheet))

    def take(self, chunk: Chunk) -> None:
        """Keep the frames of a chunk, and write the groups that are full."""
        time_us = microseconds(chunk.at_s)
        channel = self._tables.channels.numbers(chunk.channels)[chunk.channel]
        payloads: dict[int, Payload] = {}
        for number, rows, misfits in self._decoding.decoder.groups(chunk):
            name, width, _ = self._messages[number]
            self._decoding.tally.refuse(name, "length", len(misfits))
            if width not in payloads:
                payloads[width] = _payloads(chunk, width)
            columns = (time_us, channel, payloads[width])
            self._add(number, [Cells(each[rows]) for each in columns])

    def _add(self, number: int, frames: Block) -> None:
        name, _, sheet = self._messages[number]
        for day, chosen in by_day(frames[0].values):
            some = frames if isinstance(chosen, slice) else [each.take(chosen) for each in frames]
            self._tables.add(sheet, day, message_folder(name, day), some)

    def _finish(self, number: int, fields: list[Field]) -> Callable[[Block], Block]:
        """Return what makes the fields of a message's frames."""

        def finish(frames: Block) -> Block:
            payload = np.ascontiguousarray(frames[2].values)
            data = payload.view(np.uint8).reshape(len(payload), -1)
            columns = self._decoding.decoder.payloads(number, data)
            self._decoding.tally.decode(len(columns.rows))
            for reason, rows in columns.refused.items():
                self._decoding.tally.refuse(columns.message, reason, len(rows))
            whole = len(columns.rows) == len(payload)
            keys = frames[:2] if whole else [each.take(columns.rows) for each in frames[:2]]
            return [*keys, *self._decoding.cells.cells(columns, fields[KEY_FIELDS:])]

        return finish

    def close(self) -> list[Part]:
        """Finish all files."""
        return self._tables.close()


def _width(size: int) -> int:
    return CLASSICAL_WIDTH if size <= CLASSICAL_WIDTH else FD_WIDTH


def _payloads(chunk: Chunk, width: int) -> Payload:
    """Return the payloads with so many bytes each, cut or with zeros behind."""
    data, have = chunk.data, chunk.data.shape[1]
    if have < width:
        data = np.zeros((len(chunk), width), np.uint8)
        data[:, :have] = chunk.data
    kind = np.uint64 if width == CLASSICAL_WIDTH else f"V{width}"  # numbers are gathered faster
    return np.ascontiguousarray(data[:, :width]).view(kind)[:, 0]


def _about(database: Database, name: str) -> dict[str, str]:
    message = database.messages[name]
    width = 8 if message.is_extended_frame else 3
    return {
        "message": name,
        "can_id": f"{message.frame_id:0{width}X}",
        "extended": "true" if message.is_extended_frame else "false",
    }
