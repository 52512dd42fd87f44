"""One table for each channel and day with all signals side by side, at a fixed period."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.chunk import Chunk
from bms_can.columnar.decode import MessageColumns
from bms_can.columnar.export_cells import Decoding, dtypes_of
from bms_can.columnar.export_plan import (
    US_PER_S,
    Field,
    Kind,
    Options,
    group_rows,
    wide_fields,
    wide_folder,
)
from bms_can.columnar.export_rows import Block, Cells, Chosen, by_day, microseconds
from bms_can.columnar.export_tables import Part, Sheet, Tables
from bms_can.columnar.wide import Grid, News, Times, stretches
from bms_can.database import Database, cycle_time_ms
from bms_can.errors import BadInput

LONGEST_AGE_US = 10**16  # three hundred years
MOST_STRETCHES = 1000  # of one channel: a clock that goes back more often is no clock
MOST_CHANNELS = 64  # each has all columns in memory
PLACE = np.dtype(np.int32)  # of a choice among the names of its signal


class WideTables:
    """Writes the rows of the grid.

    Args:
        decoding: of the wanted signals.
        options: with a period.
        tables: the files.
        metadata: of every file's schema.
    """

    def __init__(
        self,
        decoding: Decoding,
        options: Options,
        tables: Tables,
        metadata: Mapping[str, str],
    ) -> None:
        database, dtypes = decoding.decoder.database, dtypes_of(decoding.decoder)
        period_us = options.wide_us or US_PER_S
        fields = wide_fields(database, list(dtypes), dtypes)
        ages_us = [_age_us(database, field.key, options, period_us) for field in fields[1:]]
        self._period_us = period_us
        self._columns = [
            (PLACE if field.kind is Kind.TEXT else field.dtype, age_us)
            for field, age_us in zip(fields[1:], ages_us, strict=True)
        ]
        self._decoding = decoding
        self._tables = tables
        self._sheet = Sheet(fields, {**metadata, "period_us": str(period_us)}, group_rows(fields))
        self._grids: dict[str, Grid] = {}
        self._of: dict[str, list[tuple[int, Field]]] = defaultdict(list)
        for number, field in enumerate(fields[1:]):
            self._of[database.signals[field.key][0].name].append((number, field))

    def take(self, chunk: Chunk) -> None:
        """Write the rows that are settled now."""
        time_us = microseconds(chunk.at_s)
        news = [self._news(columns, time_us) for columns in self._decoding.decoder.decode(chunk)]
        single = len(chunk.channels) == 1
        for number, name in enumerate(chunk.channels):
            rows = np.arange(len(chunk)) if single else np.flatnonzero(chunk.channel == number)
            if len(rows):
                self._channel(name, time_us, rows, news)

    def _channel(
        self,
        name: str,
        time_us: Times,
        rows: NDArray[np.intp],
        news: Sequence[tuple[NDArray[np.int64], News]],
    ) -> None:
        """Hear the frames of one channel: `rows` of the chunk, ascending."""
        grid = self._grids.get(name)
        if grid is None:
            if len(self._grids) == MOST_CHANNELS:
                told = f"more than {MOST_CHANNELS} channels; choose one with --channel"
                raise BadInput(self._tables.source, [told])
            grid = self._grids[name] = Grid(self._period_us, self._columns)
        clock_us = time_us[rows]
        for number, piece in enumerate(stretches(clock_us, grid.newest_us)):
            if number:
                self._write(name, grid.end())
                if grid.stretches > MOST_STRETCHES:
                    told = f"its clock goes back more than {MOST_STRETCHES} times; no wide table"
                    raise BadInput(self._tables.source, [told])
            own = rows[piece]
            grid.hear(clock_us[piece], [_among(own, *each) for each in news])
            self._write(name, grid.settled())

    def _news(self, columns: MessageColumns, time_us: Times) -> tuple[NDArray[np.int64], News]:
        wanted, tally = self._of[columns.message], self._decoding.tally
        tally.decode(len(columns.rows))
        for reason, rows in columns.refused.items():
            tally.refuse(columns.message, reason, len(rows))
        cells = self._decoding.cells.cells(columns, [field for _, field in wanted])
        return columns.rows, News(
            time_us[columns.rows],
            {number: columns.valid[field.signal] for number, field in wanted},
            {number: each for (number, _), each in zip(wanted, cells, strict=True)},
        )

    def _write(self, channel: str, rows: Iterator[tuple[Times, Block]]) -> None:
        for instants, block in rows:
            whole = [Cells(instants), *block]
            for day, chosen in by_day(instants):
                place = wide_folder(self._period_us, channel, day)
                self._tables.add(self._sheet, day, place, [each.take(chosen) for each in whole])

    def close(self) -> list[Part]:
        """Write the rest and finish all files."""
        for name, grid in self._grids.items():
            self._write(name, grid.end())
        return self._tables.close()


def _among(own: NDArray[np.intp], rows: NDArray[np.int64], news: News) -> News:
    """Return what the frames in some rows of the chunk said; both ascending."""
    if not len(own) or not len(rows):
        return _chosen(news, slice(0, 0))
    low, high = np.searchsorted(rows, [own[0], own[-1] + 1]).tolist()
    if own[-1] - own[0] + 1 == len(own):  # all rows between two
        return news if (low, high) == (0, len(rows)) else _chosen(news, slice(low, high))
    return _chosen(news, np.flatnonzero(np.isin(rows, own, assume_unique=True)))


def _chosen(news: News, chosen: Chosen) -> News:
    return News(
        news.time_us[chosen],
        {number: None if heard is None else heard[chosen] for number, heard in news.heard.items()},
        {number: cells.take(chosen) for number, cells in news.cells.items()},
    )


def _age_us(database: Database, key: str, options: Options, period_us: int) -> int:
    """Return how old a value may be [us]: as asked for, else as the agent takes it from the DBC.

    A message without a cycle time is known until the next instant only.
    """
    from bms_can.profile_load import (  # noqa: PLC0415 - slow to import, and for wide tables only
        LEAST_DEADLINE_S,
        PERIODS_OF_GRACE,
    )

    if options.max_age_s is not None:
        return min(round(options.max_age_s * US_PER_S), LONGEST_AGE_US)
    message, signal = database.signals[key]
    cycle_ms = cycle_time_ms(message)
    if cycle_ms is None:
        return period_us
    age_s = max(PERIODS_OF_GRACE * cycle_ms / 1000, LEAST_DEADLINE_S)
    pages = {page for each in message.signals for page in each.multiplexer_ids or ()}
    return round(age_s * US_PER_S) * (len(pages) if signal.multiplexer_ids else 1)
