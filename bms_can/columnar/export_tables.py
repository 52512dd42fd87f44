"""The files of one log while they are written: opened as rows come, closed as days go by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from bms_can.columnar.export_file import TableFile, open_table
from bms_can.columnar.export_plan import Field, dictionaries, group_rows
from bms_can.columnar.export_rows import Block, ChannelNames, RowGroups
from bms_can.columnar.export_table import TableMaker, schema_of
from bms_can.errors import BadInput

DAYS_OPEN = 2  # a log goes from one day to the next; more at once is disorder
MOST_FILES = 50_000  # of one log: times that are noise must not fill the disk with files


class Part(NamedTuple):
    """A finished file of an export.

    Attributes:
        path: where it belongs, relative to the export's folder.
        temporary: its name in the folder where it was written.
        rows, bytes, sha256: what is in it.
    """

    path: str
    temporary: str
    rows: int
    bytes: int
    sha256: str


class Sheet:
    """What the files of one kind of rows have in common.

    Args:
        fields: of the rows.
        metadata: of the schema.
        tables: how many kinds of rows fill up at once.
    """

    def __init__(
        self, fields: Sequence[Field], metadata: Mapping[str, str], tables: int = 1
    ) -> None:
        self.fields = tuple(fields)
        self.schema: pa.Schema = schema_of(fields, metadata)
        self.maker = TableMaker(fields, self.schema)
        self.group_rows = group_rows(fields, tables)
        self.dictionaries = dictionaries(fields)


@dataclass(slots=True)
class _Open:
    """A file and the rows that wait for it. It is made with its first row group."""

    sheet: Sheet
    path: str
    temporary: str
    groups: RowGroups
    file: TableFile | None = None
    rows: int = 0


@dataclass(slots=True)
class Tables:
    """Sorts blocks of rows into files.

    Args:
        source: the log, named in errors.
        folder: where the files are written; there is nothing in it yet.
        log_name: what the files are called.
        kind, compression: one of export_plan.FORMATS, and of COMPRESSIONS.

    Attributes:
        channels: numbers the channels of the rows.
    """

    source: str
    folder: Path
    log_name: str
    kind: str
    compression: str
    channels: ChannelNames = field(default_factory=ChannelNames)
    parts: list[Part] = field(default_factory=list)
    _days: dict[int, dict[str, _Open]] = field(default_factory=dict)
    _opened: dict[str, int] = field(default_factory=dict)
    _files: int = 0

    def add(self, sheet: Sheet, day: int, place: str, block: Block) -> None:
        """Append rows to the file of a folder; the day [since 1970] says how long it stays open.

        Raises:
            BadInput: too many files.
            OSError: the disk does not take it.
        """
        self._days[day] = today = self._days.pop(day, {})
        if len(self._days) > DAYS_OPEN:
            self._close(next(iter(self._days)))
        table = today.get(place)
        if table is None:
            table = today[place] = self._new(sheet, place)
        for group in table.groups.add(block):
            self._write(table, group)

    def close(self) -> list[Part]:
        """Finish all files; return them in the order of their names."""
        for day in list(self._days):
            self._close(day)
        return sorted(self.parts)

    def _close(self, day: int) -> None:
        for table in self._days.pop(day).values():
            if (rest := table.groups.rest()) is not None:
                self._write(table, rest)
            if table.file is not None:
                done = table.file.close()
                self.parts.append(Part(table.path, table.temporary, table.rows, *done))

    def _new(self, sheet: Sheet, place: str) -> _Open:
        number = self._opened[place] = self._opened.get(place, 0) + 1
        self._files += 1
        if self._files > MOST_FILES:
            raise BadInput(
                self.source, [f"makes more than {MOST_FILES} files: its times are noise"]
            )
        name = self.log_name if number == 1 else f"{self.log_name}~{number}"
        path = f"{place}/{name}.{self.kind}"
        return _Open(sheet, path, f"{self._files}.part", RowGroups(sheet.group_rows))

    def _write(self, table: _Open, block: Block) -> None:
        if table.file is None:
            sheet, path = table.sheet, self.folder / table.temporary
            named = (self.kind, self.compression, sheet.dictionaries)
            table.file = open_table(path, sheet.schema, *named)
        rows = table.sheet.maker.table(block, self.channels.names)
        table.rows += len(rows)
        table.file.write(rows)
