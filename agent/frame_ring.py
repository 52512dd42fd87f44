"""The last seconds of one bus, packed: 13 bytes a frame and its data. Bounded in time and memory.

One thread puts frames in and hardly ever waits for a reader: it appends to the newest chunk, and
only once in some hundred frames takes the lock. Blocks are kept as they came and packed together,
which costs far less than packing each. Readers get copies. A place in the stream is the number of
bytes before it, so a reader knows exactly how much it missed.
"""

import math
import struct
import threading
from array import array
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from bms_can.block import Block
from bms_can.can_frame import CLASSICAL, CLASSICAL_DATA, DATA_AT, EXTENDED, LENGTH_AT
from bms_can.frame import Frame

CHUNK_BYTES = 8 * 1024
MOST_WAITING = 256  # frames in blocks that are not packed yet
RING_BYTES = 4 * 1024 * 1024  # 199,000 frames of 8 bytes: 50 s of a full bus at 4,000 frames/s

_HEAD = struct.Struct("=dIB")  # time [s], identifier with flag, length of the data
_pack, _unpack, _HEAD_BYTES = _HEAD.pack, _HEAD.unpack_from, _HEAD.size
_ROW = _HEAD_BYTES + CLASSICAL_DATA  # bytes of a frame with all the data that it can have
# Where a row has the bytes of struct can_frame: identifier with flag and length, then the data.
_COLUMNS = (
    *((8 + at, at) for at in range(5)),
    *((_HEAD_BYTES + at, DATA_AT + at) for at in range(CLASSICAL_DATA)),
)


class Chunk(NamedTuple):
    """A run of packed frames. `start`: place of its first byte; `last_s`: of its last frame [s]."""

    start: int
    last_s: float
    data: bytes


class Reading(NamedTuple):
    """What a reader gets. `lost`: bytes between its place and the first part that are gone."""

    parts: list[bytes]
    lost: int


class Packed(NamedTuple):
    """A frame out of the ring. `end`: where the next one begins in the same part."""

    at_s: float
    can_id: int
    extended: bool
    data: bytes
    end: int


class FrameRing:
    """Keeps the newest frames of one bus.

    Args:
        seconds: how far back it reaches at least, if the memory allows [s].
        max_bytes: the most that it keeps.
    """

    def __init__(self, seconds: float, max_bytes: int = RING_BYTES) -> None:
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._sealed: deque[Chunk] = deque()
        self._chunk = bytearray()
        self._start = 0
        self._waiting: list[Block] = []
        self._frames_waiting = 0

    def take(self, frame: Frame) -> None:
        """Keep a frame. Belongs to one thread."""
        if self._waiting:
            self._fold()
        at_s, can_id, extended, data = frame[:4]
        chunk = self._chunk
        # One += is atomic for a reader that copies the chunk: it sees whole frames only.
        chunk += _pack(at_s, can_id | EXTENDED if extended else can_id, len(data)) + data
        if len(chunk) >= CHUNK_BYTES:
            self._seal(at_s)

    def take_many(self, frames: Sequence[Frame]) -> None:
        """Keep frames: the same as `take` with each."""
        if type(frames) is Block:
            self._waiting.append(frames)  # atomic for a reader
            self._frames_waiting += len(frames.at_s)
            if self._frames_waiting >= MOST_WAITING:
                self._fold()
        else:
            for frame in frames:
                self.take(frame)

    def _fold(self) -> None:
        """Pack the blocks that wait."""
        last_s = self._waiting[-1].at_s[-1]
        with self._lock:
            self._chunk += _packed(self._waiting)
            self._waiting.clear()
            self._frames_waiting = 0
        if len(self._chunk) >= CHUNK_BYTES:
            self._seal(last_s)

    def _seal(self, at_s: float) -> None:
        """Begin a new chunk, and forget the oldest ones."""
        with self._lock:
            self._sealed.append(Chunk(self._start, at_s, bytes(self._chunk)))
            self._start += len(self._chunk)
            self._chunk = bytearray()
            while len(self._sealed) > 1 and self._too_much(self._sealed[0], at_s):
                self._sealed.popleft()

    def _too_much(self, oldest: Chunk, at_s: float) -> bool:
        too_old = oldest.last_s < at_s - self._seconds
        return too_old or self._start - oldest.start > self._max_bytes

    def place_of(self, since_s: float) -> int:
        """Return a place in front of the first frame that is kept from `since_s` [s] on."""
        return next(chunk.start for chunk in self._chunks() if chunk.last_s >= since_s)

    def read(self, place: int) -> Reading:
        """Return all frames from a place on. Only the parts as a whole are whole frames."""
        chunks = self._chunks()
        lost = max(0, chunks[0].start - place)
        parts = [chunk.data[max(0, place - chunk.start) :] for chunk in chunks]
        return Reading([part for part in parts if part], lost)

    def _chunks(self) -> list[Chunk]:
        with self._lock:
            # What waits is noted first: a frame that comes now is then missing at the end, for the
            # next look, and never before a block.
            waiting = tuple(self._waiting)
            newest = bytes(self._chunk) + _packed(waiting)
            return [*self._sealed, Chunk(self._start, math.inf, newest)]


def _packed(blocks: Sequence[Block]) -> bytes:
    """Return the frames of blocks as `take` packs them; column by column, then cut to length."""
    at_s = [each for block in blocks for each in block.at_s]
    packed = b"".join([block.packed for block in blocks])
    times, rows = array("d", at_s).tobytes(), bytearray(_ROW * len(at_s))
    for at in range(8):
        rows[at::_ROW] = times[at::8]
    for at, place in _COLUMNS:
        rows[at::_ROW] = packed[place::CLASSICAL]
    lengths = packed[LENGTH_AT::CLASSICAL]
    if lengths.count(CLASSICAL_DATA) == len(lengths):
        return bytes(rows)
    begins = range(0, len(rows), _ROW)
    each = zip(begins, lengths, strict=True)
    return b"".join([rows[at : at + _HEAD_BYTES + length] for at, length in each])


def unpack(part: bytes, begin: int) -> Packed:
    """Return the frame that begins there."""
    at_s, flagged, size = _unpack(part, begin)
    data = begin + _HEAD_BYTES
    end = data + size
    return Packed(at_s, flagged & ~EXTENDED, flagged >= EXTENDED, part[data:end], end)
