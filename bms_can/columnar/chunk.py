"""A run of data frames of one log as columns. Times, payloads and lines as in the log's order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from bms_can.errors import BadLogLine
from bms_can.frame import Frame

CLASSICAL_WIDTH, FD_WIDTH = 8, 64
TYPES = MappingProxyType(
    {
        "at_s": np.dtype("f8"),
        "channel": np.dtype("u2"),
        "can_id": np.dtype("u4"),
        "extended": np.dtype("?"),
        "length": np.dtype("u1"),
        "data": np.dtype("u1"),
        "line": np.dtype("i8"),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """The data frames of a piece of a log; row i of each column is frame i.

    Attributes:
        at_s: time [s], equal to `float(text)` of the log's time.
        channel: index into `channels`; it may mean another name in another chunk.
        can_id: 11 or 29 bits without flag bits.
        extended: whether the identifier has 29 bits.
        length: payload bytes, 0..64.
        data: the payload, zeros behind it; 8 wide, or 64 if any payload here is longer.
        line: number of the line in the log, from 1; in a log that has no lines, or in one that
            python-can reads, number of the entry.
        channels: the names; "" where the log names none.
        bad: the first few unusable lines of each reason among these frames.
        bad_counts: all of them by reason (those of candump.REASONS, or "damaged archive").

    Raises:
        ValueError: a column is not contiguous, or not of its type.
    """

    at_s: NDArray[np.float64]
    channel: NDArray[np.uint16]
    can_id: NDArray[np.uint32]
    extended: NDArray[np.bool_]
    length: NDArray[np.uint8]
    data: NDArray[np.uint8]
    line: NDArray[np.int64]
    channels: tuple[str, ...]
    bad: tuple[BadLogLine, ...]
    bad_counts: Mapping[str, int]

    def __post_init__(self) -> None:
        """Hold what compiled loops rely on: they are given addresses."""
        size, width = len(self.at_s), self.data.shape[-1]
        for name, kind in TYPES.items():
            column = getattr(self, name)
            shape = (size, width) if name == "data" else (size,)
            if column.dtype != kind or column.shape != shape or not column.flags.c_contiguous:
                raise ValueError(f"{name}: not a contiguous column of {kind}, {size} long")
        if width not in (CLASSICAL_WIDTH, FD_WIDTH):
            raise ValueError(f"data: {width} bytes wide")

    def __len__(self) -> int:
        """Return the number of frames, which can be 0 where there are only bad lines."""
        return len(self.at_s)


def of_channel(chunk: Chunk, name: str | None) -> Chunk:
    """Return the frames of one channel, and those whose channel the log does not name.

    A log without channels is of one bus, whatever it is called. The bad lines stay. None: all.
    """
    if name is None:
        return chunk
    numbers = [number for number, known in enumerate(chunk.channels) if known in ("", name)]
    if len(numbers) == len(chunk.channels):
        return chunk
    rows = np.isin(chunk.channel, numbers)
    if rows.all():
        return chunk
    return replace(chunk, **{each: getattr(chunk, each)[rows] for each in TYPES})


def frames(chunk: Chunk) -> Iterator[Frame]:
    """Yield the frames of a chunk one by one, as `logfile.open_log` does."""
    columns = (chunk.at_s, chunk.can_id, chunk.extended, chunk.length, chunk.channel)
    lists = (column.tolist() for column in columns)
    payloads = (row.tobytes() for row in chunk.data)
    for at_s, can_id, extended, length, channel, data in zip(*lists, payloads, strict=True):
        yield Frame(at_s, can_id, extended, data[:length], chunk.channels[channel])
