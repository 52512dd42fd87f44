"""How much of a log its DBC explains, counted on columns: the numbers of `bms_can.coverage`."""

import numpy as np

from bms_can.columnar.chunk import Chunk, of_channel
from bms_can.columnar.decode import Decoder, MessageColumns
from bms_can.columnar.plan import EXTENDED_BIT
from bms_can.coverage import KEPT_LINES, Coverage, Doubt
from bms_can.database import Database
from bms_can.layout import field_of
from bms_can.profile import SignalLimits
from bms_can.scaling import raw_range


class ColumnCoverage:
    """Counts the chunks of one log against one DBC.

    Args:
        database: the DBC.
        channel: only frames of this channel count, None: all.
        coverage: where the numbers go.
    """

    def __init__(self, database: Database, channel: str | None, coverage: Coverage) -> None:
        self._channel = channel
        self._coverage = coverage
        self._known = {
            message.frame_id | message.is_extended_frame * EXTENDED_BIT
            for message in database.messages.values()
        }
        self._doubtful = _doubtful(database)
        self._decoder = Decoder(database, _wanted(database, self._doubtful))

    def take(self, chunk: Chunk) -> None:
        """Count one chunk: frames, and lines that hold none."""
        found = self._coverage
        found.lines.update(chunk.bad_counts)
        for bad in chunk.bad:
            numbers = found.line_numbers.setdefault(bad.reason, [])
            if len(numbers) < KEPT_LINES:
                numbers.append(bad.line_number)
        found.frames += len(chunk)
        ours = of_channel(chunk, self._channel)
        found.other_channel += len(chunk) - len(ours)
        if len(ours):
            self._count_ids(ours)
            for columns in self._decoder.decode(ours):
                self._count_message(columns)

    def _count_ids(self, chunk: Chunk) -> None:
        keys = chunk.can_id | chunk.extended * np.uint32(EXTENDED_BIT)
        for key, count in zip(*map(np.ndarray.tolist, np.unique_counts(keys)), strict=True):
            if key not in self._known:
                self._coverage.unknown[key % EXTENDED_BIT, key >= EXTENDED_BIT] += count

    def _count_message(self, columns: MessageColumns) -> None:
        found = self._coverage
        refused = {reason: len(rows) for reason, rows in columns.refused.items() if len(rows)}
        decoded = len(columns.rows)
        frames = decoded + sum(refused.values())
        if not frames:
            return
        seen = found.messages.setdefault(columns.message, Doubt())
        seen.frames += frames
        seen.bad.update(refused)
        found.known += frames
        found.decoded += decoded
        for signal in self._doubtful.get(columns.message, ()):
            count = _impossible(columns, signal)
            if count:
                seen.impossible[f"{columns.message}.{signal}"] += count


def _impossible(columns: MessageColumns, signal: str) -> int:
    """Count the values that the DBC itself declares impossible."""
    there = columns.valid[signal]
    total = len(columns.rows) if there is None else int(np.count_nonzero(there))
    return total - int(np.count_nonzero(columns.usable(signal)))


def _doubtful(database: Database) -> dict[str, list[str]]:
    """Return the signals whose bits can hold a value that is declared impossible, by message."""
    found: dict[str, list[str]] = {}
    for message, signal in database.signals.values():
        field = field_of(message, signal)
        if field is None:
            continue
        whole = (field.lowest, field.highest)
        if field.is_float or raw_range(field, signal, SignalLimits()) != whole:
            found.setdefault(message.name, []).append(signal.name)
    return found


def _wanted(database: Database, doubtful: dict[str, list[str]]) -> set[str]:
    """Return what must be decoded: those signals, and of any other message as little as can be."""
    found = {f"{message}.{name}" for message, names in doubtful.items() for name in names}
    first: dict[str, str] = {}
    for key, (message, _) in database.signals.items():
        first.setdefault(message.name, key)
    found |= {first.get(name, name) for name in database.messages if name not in doubtful}
    return found
