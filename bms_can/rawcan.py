"""Many frames with one system call, from a socket that carries struct can_frame.

One call brings up to `BATCH` frames with their kernel time stamps, their flags and the number of
frames that the kernel had to throw away; a recv() for each frame costs more than all the work on it
(docs/adr/0012). Any datagram socket will do, so tests and bench need no CAN in the kernel.
"""

import math
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import NamedTuple

from bms_can.block import Block, Sorter
from bms_can.can_frame import (
    CLASSICAL,
    CLASSICAL_DATA,
    ERROR,
    EXTENDED,
    FD,
    FD_DATA,
    ID_MASK,
    REMOTE,
    SPECIAL,
    STANDARD_MASK,
)
from bms_can.error_frame import BusError, read_error
from bms_can.frame import Frame
from bms_can.recvmmsg import CMSG, CONTROL, Head, Slots

BATCH = 512
SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40
CONFIRM, TRUNCATED = 0x800, 0x20  # MSG_CONFIRM: sent by this very socket (can.rst, 4.1.7)
AGREES_S = 0.001  # a stamp may be so far out of its bounds: two clocks are not read at once

_LONG = struct.calcsize("@l")
_STAMP_SPACE = CMSG.size + 2 * _LONG  # of the first ancillary record
_STAMP = struct.Struct(f"@{CMSG.size}xll{CONTROL - _STAMP_SPACE}x")
_COUNT_PAD = -(CMSG.size + 4) % _LONG
_TWO_RECORDS = struct.Struct(f"@{_STAMP_SPACE}xNiiI{_COUNT_PAD}x")  # a stamp, then the loss count
NOTHING: Mapping[str, int] = MappingProxyType({})
_new = tuple.__new__

Row = tuple[tuple[int, int, bytes], tuple[int, int], Head]  # record, stamp, head


class Batch(NamedTuple):
    """What one call brought.

    Attributes:
        frames: data frames, oldest first; their times never go back. A block, if all are alike.
        errors: error frames.
        other: messages that are neither, by kind: "remote", "malformed".
        lost: frames that the kernel threw away since the batch before.
        more: there may be more waiting.
    """

    frames: Sequence[Frame]
    errors: Sequence[BusError]
    other: Mapping[str, int]
    lost: int
    more: bool


class Moment(NamedTuple):
    """When a batch is read, and what is known about when its frames arrived.

    Attributes:
        now_s: monotonic [s]; no frame is newer.
        wall_s: the wall clock at the same time [s], which is what the kernel stamps with.
        empty_s: the queue was empty then [s]; no frame is older.
    """

    now_s: float
    wall_s: float
    empty_s: float


class FrameReader:
    """Reads batches from one socket.

    A kernel stamp is the wall clock's, and that may step. So a stamp counts only as far as it
    agrees with what is certain: the frame came after the queue was last seen empty, and before now.
    The clock may have been set back since: of the offset now and that of the time before the one
    counts that makes frames older. Else the other one is tried, and at last the frame is as old as
    it can be.

    Args:
        fd: file descriptor of the socket, with SO_TIMESTAMPNS and SO_RXQ_OVFL set.
        name: what frames carry as their channel.
        fd_frames: the socket also gives CAN FD frames.
        tells_own: the socket marks frames of its own (a CAN_RAW socket does).

    Raises:
        AttributeError: this system has no recvmmsg.
    """

    def __init__(
        self, fd: int, name: str = "", *, fd_frames: bool = False, tells_own: bool = True
    ) -> None:
        self._fd = fd
        self._name = name
        self._tells_own = tells_own
        self._size = FD if fd_frames else CLASSICAL
        self._whole = FD_DATA if fd_frames else CLASSICAL_DATA
        self._record = struct.Struct(f"=IB3x{self._whole}s")
        self._slots = Slots(BATCH, self._size)
        self._longs = self._slots.control.cast("l")
        self._sorter = Sorter()
        self._dropped = 0
        self._offset_s = -math.inf

    def read(self, moment: Moment) -> Batch | None:
        """Return what waits; None if nothing does.

        Raises:
            OSError: what the socket reports, such as ENETDOWN, once.
        """
        count = self._slots.fill(self._fd)
        if not count:
            return None
        packed = bytes(self._slots.data[: self._size * count])
        batch = self._block(packed, count, moment) or self._one_by_one(packed, count, moment)
        if not batch.more:  # what waits may have been stamped before the clock was set
            self._offset_s = moment.wall_s - moment.now_s
        return batch

    def _block(self, packed: bytes, count: int, moment: Moment) -> Batch | None:
        """Return messages as a block; None if they must be looked at one by one.

        That is what `_one_by_one` would return, only faster. So all doubtful cases are left to it.
        """
        head = self._slots.head()
        if head is None:
            return None
        used, marks, size = head
        if not size == CLASSICAL == self._size or marks & TRUNCATED or used < _STAMP_SPACE:
            return None
        heads = self._sorter.heads(packed)
        if heads is None:
            return None
        times = self._times(count, moment)
        block = Block(packed, times, heads, self._name, self._own(marks))
        # The count of lost frames comes behind the stamp, and only where there is one to tell.
        lost = 0 if used == _STAMP_SPACE else self._lost(count - 1, used)
        return Batch(block, (), NOTHING, lost, count == BATCH)

    def _times(self, count: int, moment: Moment) -> list[float]:
        """Return the times of stamped frames, as `_sort` gives them."""
        now_s, wall_s, floor_s = moment
        base_s = -max(wall_s - now_s, self._offset_s)
        longs, at, every = self._longs, CMSG.size // _LONG, CONTROL // _LONG
        seconds = longs[at::every][:count].tolist()
        nanoseconds = longs[at + 1 :: every][:count].tolist()
        if seconds.count(seconds[0]) == count:  # nearly always
            since_s = base_s + seconds[0]
            at_s = [since_s + each * 1e-9 for each in nanoseconds]
        else:
            each_s = zip(seconds, nanoseconds, strict=True)
            at_s = [base_s + second + each * 1e-9 for second, each in each_s]
        if floor_s <= at_s[0] and at_s[-1] <= now_s and at_s == sorted(at_s):
            return at_s
        for place, each_at_s in enumerate(at_s):
            if not floor_s <= each_at_s <= now_s:
                stamp_s = seconds[place] and each_at_s - base_s
                at_s[place] = self._doubted(stamp_s, moment, floor_s)
            floor_s = at_s[place]
        return at_s

    def _own(self, marks: int) -> bool | None:
        """Return what a frame's flags say about its sender, see Frame."""
        return bool(marks & CONFIRM) if self._tells_own else None

    def _rows(self, packed: bytes, heads: Sequence[Head]) -> Iterator[Row]:
        """Yield record, stamp and head of each message; the stamp is 0 where there is none."""
        records = self._record.iter_unpack(packed)
        stamps: Iterable[tuple[int, int]] = repeat((0, 0), len(heads))
        if all(each[0] >= _STAMP_SPACE for each in heads):
            stamps = _STAMP.iter_unpack(self._slots.control[: CONTROL * len(heads)])
        return zip(records, stamps, heads, strict=True)

    def _one_by_one(self, packed: bytes, count: int, moment: Moment) -> Batch:
        """Return messages, each looked at by itself."""
        heads = self._slots.heads()
        other: Counter[str] = Counter()
        errors: list[BusError] = []
        frames = self._sort(self._rows(packed, heads), moment, other, errors)
        lost = self._lost(count - 1, heads[-1][0])
        return Batch(frames, errors, other, lost, count == BATCH)

    def _sort(
        self, rows: Iterator[Row], moment: Moment, other: Counter[str], errors: list[BusError]
    ) -> list[Frame]:
        """Return data frames with their times; count what is none. One message after the other."""
        now_s, wall_s, floor_s = moment
        base_s = -max(wall_s - now_s, self._offset_s)
        frames = []
        for (word, length, data), (seconds, nanoseconds), (_, marks, size) in rows:
            usual = length == self._whole and size == self._size
            if not usual or word & SPECIAL or marks & TRUNCATED:
                kind = _kind(word, length, marks, size)
                if kind:
                    other[kind] += 1
                    if kind == "error":
                        errors.append(read_error(word & ID_MASK, data[:CLASSICAL_DATA]))
                    continue
                data = data[:length]  # noqa: PLW2901 - the rest of the buffer is not the frame's
            at_s = base_s + seconds + nanoseconds * 1e-9
            if not floor_s <= at_s <= now_s:
                at_s = self._doubted(seconds and at_s - base_s, moment, floor_s)
            floor_s = at_s
            extended = word >= EXTENDED
            can_id = word & (ID_MASK if extended else STANDARD_MASK)
            own = self._own(marks)
            frames.append(_new(Frame, (at_s, can_id, extended, data, self._name, own)))
        return frames

    def _doubted(self, stamp_s: float, moment: Moment, floor_s: float) -> float:
        """Return the time of a frame whose stamp does not fit; 0: it has none."""
        now_s, wall_s, _ = moment
        if not stamp_s:
            return now_s
        for offset_s in (wall_s - now_s, self._offset_s):
            at_s = stamp_s - offset_s
            if floor_s - AGREES_S <= at_s <= now_s + AGREES_S:
                return min(max(at_s, floor_s), now_s)
        return floor_s

    def _lost(self, place: int, used: int) -> int:
        """Return how many frames were thrown away since the last look, by the newest frame."""
        if used == _TWO_RECORDS.size:
            at = CONTROL * place
            _, level, kind, dropped = _TWO_RECORDS.unpack_from(self._slots.control, at)
            if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL):  # nearly always
                return self._since(dropped)
        record = self._slots.ancillary(place, used, SO_RXQ_OVFL)
        return 0 if record is None else self._since(struct.unpack_from("=I", record)[0])

    def _since(self, dropped: int) -> int:
        before, self._dropped = self._dropped, dropped
        return (dropped - before) % (1 << 32)


def _kind(word: int, length: int, marks: int, size: int) -> str:
    """Return what a message is that is no data frame, "" for a data frame."""
    if size == CLASSICAL:
        most = CLASSICAL_DATA
    elif size == FD:
        most = FD_DATA
    else:
        return "malformed"
    if length > most or marks & TRUNCATED:
        return "malformed"
    if word & ERROR:
        return "error"
    return "remote" if word & REMOTE else ""
