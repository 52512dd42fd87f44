"""A table for each message and day: every frame one row, in the order of the log."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.chunk import Chunk
from bms_can.columnar.decode import Decoder, MessageColumns
from bms_can.columnar.export_cells import SignalCells, dtypes_of
from bms_can.columnar.export_plan import message_fields, message_folder
from bms_can.columnar.export_rows import Cells, by_day, microseconds
from bms_can.columnar.export_tables import Part, Sheet, Tables
from bms_can.database import Database

KEY_FIELDS = 2  # time and channel come before the signals


class LongTables:
    """Writes the rows of each message.

    Args:
        decoder: of the wanted messages, also such without a signal.
        cells: what counts.
        tables: the files.
        metadata: of every file's schema.
    """

    def __init__(
        self,
        decoder: Decoder,
        cells: SignalCells,
        tables: Tables,
        metadata: Mapping[str, str],
    ) -> None:
        self._cells = cells
        self._tables = tables
        database, dtypes = decoder.database, dtypes_of(decoder)
        self._sheets = {
            plan.name: Sheet(
                message_fields(database, [f"{plan.name}.{name}" for name in plan.signals], dtypes),
                {**metadata, **_about(database, plan.name)},
                len(decoder.plans),
            )
            for plan in decoder.plans
        }

    def take(self, chunk: Chunk, decoded: Sequence[MessageColumns]) -> None:
        """Write the rows of a chunk."""
        time_us = microseconds(chunk.at_s)
        channel = self._tables.channels.numbers(chunk.channels)[chunk.channel]
        for columns in decoded:
            if len(columns.rows):
                self._message(columns, time_us[columns.rows], channel[columns.rows])

    def _message(
        self, columns: MessageColumns, time_us: NDArray[np.int64], channel: NDArray[np.int32]
    ) -> None:
        sheet = self._sheets[columns.message]
        block = [
            Cells(time_us),
            Cells(channel),
            *self._cells.cells(columns, sheet.fields[KEY_FIELDS:]),
        ]
        for day, chosen in by_day(time_us):
            rows = block if isinstance(chosen, slice) else [each.take(chosen) for each in block]
            place = message_folder(columns.message, day)
            self._tables.add(sheet, day, place, rows)

    def close(self) -> list[Part]:
        """Finish all files."""
        return self._tables.close()


def _about(database: Database, name: str) -> dict[str, str]:
    message = database.messages[name]
    width = 8 if message.is_extended_frame else 3
    return {
        "message": name,
        "can_id": f"{message.frame_id:0{width}X}",
        "extended": "true" if message.is_extended_frame else "false",
    }
