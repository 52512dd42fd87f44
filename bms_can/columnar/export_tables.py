"""The files of one log while they are written: opened as rows come, closed as days go by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from bms_can.columnar.export_file import TableFile, open_table
from bms_can.columnar.export_plan import Field, dictionaries
from bms_can.columnar.export_rows import Block, ChannelNames, RowGroups
from bms_can.columnar.export_table import TableMaker, repetitive, schema_of
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
        group_rows: of a row group, at most.
        finish: makes the fields out of what is gathered; None: they are gathered themselves.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        metadata: Mapping[str, str],
        group_rows: int,
        finish: Callable[[Block], Block] | None = None,
    ) -> None:
        self.fields = tuple(fields)
        self.schema: pa.Schema = schema_of(fields, metadata)
        self.group_rows = group_rows
        self.dictionaries = dictionaries(fields)
        self._maker = TableMaker(fields, self.schema)
        self._finish = finish

    def table(self, gathered: Block, channels: Sequence[str]) -> pa.Table:
        """Return the rows as a table, which can have none; `channels` are the names by number."""
        block = gathered if self._finish is None else self._finish(gathered)
        return self._maker.table(block, channels)


@dataclass(slots=True)
class _Open:
    """A file and the rows that wait for it. It is made, and named, with its first row group."""

    sheet: Sheet
    place: str
    groups: RowGroups
    path: str = ""
    temporary: str = ""
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
            table = today[place] = _Open(sheet, place, RowGroups(sheet.group_rows))
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

    def _write(self, table: _Open, gathered: Block) -> None:
        rows = table.sheet.table(gathered, self.channels.names)
        if not len(rows):
            return
        if table.file is None:
            table.file = self._new(table, rows)
        table.rows += len(rows)
        table.file.write(rows)

    def _new(self, table: _Open, rows: pa.Table) -> TableFile:
        place, sheet = table.place, table.sheet
        number = self._opened[place] = self._opened.get(place, 0) + 1
        self._files += 1
        if self._files > MOST_FILES:
            told = f"makes more than {MOST_FILES} files: its times are noise"
            raise BadInput(self.source, [told])
        name = self.log_name if number == 1 else f"{self.log_name}~{number}"
        table.path, table.temporary = f"{place}/{name}.{self.kind}", f"{self._files}.part"
        named = (self.kind, self.compression, (*sheet.dictionaries, *repetitive(rows)))
        return open_table(self.folder / table.temporary, sheet.schema, *named)
