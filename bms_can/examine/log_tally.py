"""Running sums of a whole log: channels, identifiers, order of time, lines without a frame."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bms_can.columnar.chunk import Chunk
from bms_can.examine.stream import Part, Stream, StreamKey

MOST_STREAMS = 4096  # a babbling node with random identifiers must not fill the memory
LINES_KEPT = 5
EXTENDED_BIT, CHANNEL_SHIFT = 29, 30


@dataclass(slots=True)
class Order:
    """Whether times go forward in the order of the file, all channels together.

    Attributes:
        back: frames that are older than the one before; worst_s: by how much at most [s].
        first_line: line of the first.
        moves: times at which the clock moved at all.
        leap_s, leap_line: the longest step forward, and the line after it.
    """

    back: int = 0
    worst_s: float = 0.0
    first_line: int = 0
    moves: int = 0
    leap_s: float = 0.0
    leap_line: int = 0
    _before_s: float = np.nan

    def feed(self, chunk: Chunk) -> None:
        """Take the next frames."""
        step_s = np.diff(chunk.at_s, prepend=self._before_s)
        self._before_s = float(chunk.at_s[-1])
        self.moves += int(np.count_nonzero(step_s > 0))
        late = np.flatnonzero(step_s < 0)
        if len(late):
            self.first_line = self.first_line or int(chunk.line[late[0]])
            self.back += len(late)
            self.worst_s = max(self.worst_s, float(-step_s[late].min()))
        if np.any(step_s > self.leap_s):
            index = int(np.nanargmax(step_s))
            self.leap_s, self.leap_line = float(step_s[index]), int(chunk.line[index])


@dataclass(slots=True)
class LogTally:
    """Takes the chunks of a log.

    Args:
        likely: bytes that the DBC calls a checksum, by (id, extended).

    Attributes:
        frames: data frames; channels: the same by channel.
        streams: by channel and identifier, at most `MOST_STREAMS`; others only in `beyond`.
        bad: lines without a data frame by reason; bad_lines: the first few numbers of each.
        first_s, last_s: smallest and largest time [s].
    """

    likely: Callable[[int, bool], tuple[int, ...]] = lambda _id, _extended: ()
    frames: int = 0
    beyond: int = 0
    channels: Counter[str] = field(default_factory=Counter)
    streams: dict[StreamKey, Stream] = field(default_factory=dict)
    bad: Counter[str] = field(default_factory=Counter)
    bad_lines: dict[str, list[int]] = field(default_factory=dict)
    order: Order = field(default_factory=Order)
    first_s: float = np.inf
    last_s: float = -np.inf

    def feed(self, chunk: Chunk) -> None:
        """Take the next chunk."""
        self.bad.update(chunk.bad_counts)
        for line in chunk.bad:
            numbers = self.bad_lines.setdefault(line.reason, [])
            if len(numbers) < LINES_KEPT:
                numbers.append(line.line_number)
        if not len(chunk):
            return
        self.frames += len(chunk)
        self.first_s = min(self.first_s, float(chunk.at_s.min()))
        self.last_s = max(self.last_s, float(chunk.at_s.max()))
        self.order.feed(chunk)
        for key, part in parts(chunk):
            self.channels[key.channel] += len(part.at_s)
            stream = self.streams.get(key)
            if stream is None and len(self.streams) < MOST_STREAMS:
                stream = self.streams[key] = Stream(key, self.likely(key.can_id, key.extended))
            if stream is None:
                self.beyond += len(part.at_s)
            else:
                stream.feed(part)

    def finish(self) -> None:
        """Judge what was too short for a full sample."""
        for stream in self.streams.values():
            stream.guess()

    @property
    def seconds(self) -> float:
        """Time from the oldest to the newest frame [s]."""
        return max(0.0, self.last_s - self.first_s) if self.frames else 0.0


def parts(chunk: Chunk) -> Iterator[tuple[StreamKey, Part]]:
    """Yield the frames of each identifier on each channel, in their order."""
    keys = (
        chunk.channel.astype(np.int64) << CHANNEL_SHIFT
        | chunk.extended.astype(np.int64) << EXTENDED_BIT
        | chunk.can_id.astype(np.int64)
    )
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        rows = order[start:end]
        first = rows[0]
        name = chunk.channels[chunk.channel[first]]
        key = StreamKey(name, int(chunk.can_id[first]), bool(chunk.extended[first]))
        yield key, Part(chunk.at_s[rows], chunk.length[rows], chunk.data[rows], chunk.line[rows])
