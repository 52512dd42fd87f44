"""The columns of a chunk while they fill up. One reader owns one `Rows` for a whole log."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.chunk import CLASSICAL_WIDTH, FD_WIDTH, Chunk
from bms_can.errors import BadLogLine
from bms_can.frame import Frame

MOST_ROWS = 60_000  # so that a chunk cannot name more channels than 16 bits count
BAD_KEPT = 20  # unusable lines of each reason shown of each chunk
CHANNELS_KEPT = 256  # a log that names more starts a new table with the next chunk


class Rows:
    """Room for `capacity` frames.

    Attributes:
        used: rows taken so far.
        lines: lines (or entries) seen so far in the whole log.
        channels: index by name.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = max(1, min(capacity, MOST_ROWS))
        self.lines = 0
        self.channels: dict[str, int] = {}
        self._renew(CLASSICAL_WIDTH)

    def _renew(self, width: int) -> None:
        room = self.capacity
        self.used = 0
        self.at_s = np.empty(room, np.float64)
        self.channel = np.empty(room, np.uint16)
        self.can_id = np.empty(room, np.uint32)
        self.extended = np.empty(room, np.bool_)
        self.length = np.empty(room, np.uint8)
        self.line = np.empty(room, np.int64)
        self.data = np.empty((room, width), np.uint8)
        self._dropped: list[int] = []
        self._bad: list[BadLogLine] = []
        self._counts: Counter[str] = Counter()
        if len(self.channels) > CHANNELS_KEPT:
            self.channels = {}

    @property
    def full(self) -> bool:
        """Whether no further frame fits."""
        return self.used >= self.capacity

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell: neither a frame nor a bad line."""
        return self.used == len(self._dropped) and not self._counts

    def widen(self) -> None:
        """Make room for the payloads of CAN FD."""
        if self.data.shape[1] < FD_WIDTH:
            wide = np.zeros((self.capacity, FD_WIDTH), np.uint8)
            wide[: self.used, :CLASSICAL_WIDTH] = self.data[: self.used]
            self.data = wide

    def put(self, row: int, frame: Frame, line: int) -> None:
        """Fill a row that is taken already."""
        size = len(frame.data)
        if size > self.data.shape[1]:
            self.widen()
        self.at_s[row] = frame.at_s
        self.channel[row] = self.channels.setdefault(frame.channel, len(self.channels))
        self.can_id[row] = frame.can_id
        self.extended[row] = frame.extended
        self.length[row] = size
        self.line[row] = line
        self.data[row] = 0
        self.data[row, :size] = np.frombuffer(frame.data, np.uint8)

    def drop(self, row: int) -> None:
        """Say that a row that is taken holds no frame after all."""
        self._dropped.append(row)

    def refuse(self, bad: BadLogLine) -> None:
        """Count an unusable line."""
        self._counts[bad.reason] += 1
        if self._counts[bad.reason] <= BAD_KEPT:
            self._bad.append(bad)

    def take(self) -> Chunk:
        """Return what has been gathered, and start anew."""
        chosen = self._chosen()
        length = self.length[chosen]
        width = CLASSICAL_WIDTH if length.max(initial=0) <= CLASSICAL_WIDTH else FD_WIDTH
        chunk = Chunk(
            at_s=self.at_s[chosen],
            channel=self.channel[chosen],
            can_id=self.can_id[chosen],
            extended=self.extended[chosen],
            length=length,
            data=np.ascontiguousarray(self.data[chosen, :width]),
            line=self.line[chosen],
            channels=tuple(self.channels),
            bad=tuple(self._bad),
            bad_counts=dict(self._counts),
        )
        self._renew(width)
        return chunk

    def _chosen(self) -> slice | NDArray[np.bool_]:
        if not self._dropped:
            return slice(0, self.used)
        keep = np.zeros(self.capacity, np.bool_)
        keep[: self.used] = True
        keep[self._dropped] = False
        return keep
