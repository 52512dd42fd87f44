"""Running sums of the messages and signals of a DBC in a log, channel by channel."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bms_can.columnar.chunk import Chunk
from bms_can.columnar.decode import Decoder, MessageColumns
from bms_can.database import Database
from bms_can.examine.series import Grid
from bms_can.examine.signal_tally import SignalTally, Values

Rows = npt.NDArray[np.int64]


class Named(NamedTuple):
    """Something of the DBC on one channel: a message, or "Message.Signal"."""

    channel: str
    name: str


@dataclass(slots=True)
class MessageTally:
    """Frames of one message: decoded; refused by reason, with line and time of the first."""

    frames: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[int, float]] = field(default_factory=dict)

    def refuse(self, reason: str, chunk: Chunk, rows: Rows) -> None:
        """Count refused frames."""
        self.refused[reason] += len(rows)
        place = int(chunk.line[rows[0]]), float(chunk.at_s[rows[0]])
        self.first.setdefault(reason, place)


class DbcTally:
    """Takes the chunks of a log.

    Args:
        database: whose messages are decoded.

    Attributes:
        messages: by channel and name; signals: by channel and "Message.Signal".
        grid: the values over time, under the keys of `signals`.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.grid = Grid()
        self.messages: dict[Named, MessageTally] = {}
        self.signals: dict[Named, SignalTally] = {}
        self._decoder = Decoder(database)

    def feed(self, chunk: Chunk) -> None:
        """Take the next chunk."""
        if not len(chunk):
            return
        self.grid.cover(float(chunk.at_s[0]), float(chunk.at_s.max()))
        for columns in self._decoder.decode(chunk):
            for reason, rows in columns.refused.items():
                for channel, some in _by_channel(chunk, rows):
                    key = Named(channel, columns.message)
                    self.messages.setdefault(key, MessageTally()).refuse(reason, chunk, rows[some])
            for channel, some in _by_channel(chunk, columns.rows):
                key = Named(channel, columns.message)
                self.messages.setdefault(key, MessageTally()).frames += len(columns.rows[some])
                self._signals(channel, columns, chunk, some)

    def _signals(self, channel: str, columns: MessageColumns, chunk: Chunk, some: Rows) -> None:
        at_s, line = chunk.at_s[columns.rows], chunk.line[columns.rows]
        for name, physical in columns.values.items():
            valid = columns.valid[name]
            rows = some if valid is None else some[valid[some]]
            if not len(rows):
                continue
            key = Named(channel, f"{columns.message}.{name}")
            values = Values(columns.raw(name)[rows], physical[rows], at_s[rows], line[rows])
            tally = self.signals.get(key)
            if tally is None:
                tally = self.signals[key] = SignalTally(key.name, *self.database.signals[key.name])
            tally.feed(values)
            numbers = values.physical.astype(np.float64)
            if (usable := columns.usable(name)) is not None:
                numbers = np.where(usable[rows], numbers, np.nan)
            self.grid.put(key, values.at_s, numbers)


def _by_channel(chunk: Chunk, rows: Rows) -> Iterator[tuple[str, Rows]]:
    """Yield each channel's name with the places in `rows` of its frames."""
    if not len(rows):
        return
    if len(chunk.channels) == 1:
        yield chunk.channels[0], np.arange(len(rows))
        return
    channels = chunk.channel[rows]
    for index in np.unique(channels).tolist():
        yield chunk.channels[index], np.flatnonzero(channels == index)
