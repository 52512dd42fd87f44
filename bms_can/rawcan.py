"""Many frames with one system call: recvmmsg(2) on a socket that carries struct can_frame.

One call brings up to `BATCH` frames with their kernel time stamps, their flags and the number of
frames that the kernel had to throw away; a recv() for each frame costs more than all the work on it
(docs/adr/0012). Any datagram socket will do, so tests and bench need no CAN in the kernel.

Layouts: linux/can.h (struct can_frame, canfd_frame), recvmmsg(2), cmsg(3).
"""

import ctypes
import errno
import math
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from itertools import repeat
from typing import NamedTuple

from bms_can.error_frame import BusError, read_error
from bms_can.frame import Frame

BATCH = 128
EXTENDED, REMOTE, ERROR = 0x80000000, 0x40000000, 0x20000000  # flags in the identifier word
SPECIAL = REMOTE | ERROR
ID_MASK, STANDARD_MASK = 0x1FFFFFFF, 0x7FF
CLASSICAL, FD = 16, 72  # sizes of struct can_frame and struct canfd_frame [byte]
CLASSICAL_DATA, FD_DATA = 8, 64
SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40
CONFIRM, TRUNCATED = 0x800, 0x20  # MSG_CONFIRM: sent by this very socket (can.rst, 4.1.7)
AGREES_S = 0.001  # a stamp may be so far out of its bounds: two clocks are not read at once

MOST_KINDS = 16  # of headers kept; a bus has two: ours and others'

_CMSG = struct.Struct("@Nii")
_STAMP_SPACE = _CMSG.size + struct.calcsize("@ll")  # of the first ancillary record
_CONTROL = 64  # room for both records, on 32 and on 64 bits
_new = tuple.__new__

Head = tuple[int, int, int]  # bytes of ancillary data, flags, bytes of data


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vector", ctypes.c_void_p),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("message", _Message), ("length", ctypes.c_uint))


_HEADER = ctypes.sizeof(_Header)
_LENGTH_AT, _USED_AT = ctypes.sizeof(_Message), _Message.control_length.offset
_USED = struct.Struct(
    f"@{_USED_AT}xNi{_LENGTH_AT - _Message.flags.offset - 4}xI{_HEADER - _LENGTH_AT - 4}x"
)


class Batch(NamedTuple):
    """What one call brought.

    Attributes:
        frames: data frames, oldest first; their times never go back.
        errors: error frames.
        other: messages that are neither, by kind: "remote", "malformed".
        lost: frames that the kernel threw away since the batch before.
        more: there may be more waiting.
    """

    frames: list[Frame]
    errors: list[BusError]
    other: Counter[str]
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
        self._others = False if tells_own else None  # "own" of a frame that somebody else sent
        self._receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._size = FD if fd_frames else CLASSICAL
        self._whole = FD_DATA if fd_frames else CLASSICAL_DATA
        self._record = struct.Struct(f"=IB3x{self._whole}s")
        self._stamp = struct.Struct(f"@{_CMSG.size}xll{_CONTROL - _STAMP_SPACE}x")
        self._data = ctypes.create_string_buffer(self._size * BATCH)
        self._control = ctypes.create_string_buffer(_CONTROL * BATCH)
        self._vectors = (_Vector * BATCH)()
        self._headers = (_Header * BATCH)()
        self._lay_out()
        self._fresh = bytes(self._headers)
        self._views = [
            memoryview(each).cast("B") for each in (self._data, self._control, self._headers)
        ]
        self._alike: dict[Head, bytes] = {}
        self._dropped = 0
        self._offset_s = -math.inf

    def _lay_out(self) -> None:
        data, control = ctypes.addressof(self._data), ctypes.addressof(self._control)
        for index in range(BATCH):
            vector, message = self._vectors[index], self._headers[index].message
            vector.base, vector.length = data + self._size * index, self._size
            message.vector, message.vectors = ctypes.addressof(vector), 1
            message.control, message.control_length = control + _CONTROL * index, _CONTROL

    def read(self, moment: Moment) -> Batch | None:
        """Return what waits; None if nothing does.

        Raises:
            OSError: what the socket reports, such as ENETDOWN, once.
        """
        headers = ctypes.addressof(self._headers)
        count = self._receive(self._fd, ctypes.c_void_p(headers), BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            number = ctypes.get_errno()
            if number in {errno.EAGAIN, errno.EINTR}:
                return None
            raise OSError(number, os.strerror(number))
        try:
            return self._parse(count, moment)
        finally:
            ctypes.memmove(headers, self._fresh, _HEADER * count)

    def _parse(self, count: int, moment: Moment) -> Batch:
        data, control, headers = self._views
        used = headers[: _HEADER * count]
        first = _USED.unpack_from(used)
        heads: Iterable[Head]
        if used == self._like(first)[: _HEADER * count]:  # nearly always: no look at each one
            heads, stamped, last = repeat(first, count), first[0] >= _STAMP_SPACE, first
        else:
            heads = list(_USED.iter_unpack(used))
            stamped, last = all(each[0] >= _STAMP_SPACE for each in heads), heads[-1]
        stamps = self._stamp.iter_unpack(control[: _CONTROL * count]) if stamped else repeat((0, 0))
        rows = zip(self._record.iter_unpack(bytes(data[: self._size * count])), stamps, heads)  # noqa: B905 - `repeat` has no end
        lost = self._lost(control[_CONTROL * (count - 1) :], last[0])
        found = Batch([], [], Counter(), lost, count == BATCH)
        self._sort(rows, moment, found)
        return found

    def _sort(
        self,
        rows: Iterable[tuple[tuple[int, int, bytes], tuple[int, int], Head]],
        moment: Moment,
        found: Batch,
    ) -> None:
        """Sort messages by kind, give frames their time. This loop is the cost of a live bus."""
        now_s, wall_s, floor_s = moment
        offset_s = max(wall_s - now_s, self._offset_s)
        name, add = self._name, found.frames.append
        others, whole, size_of_all = self._others, self._whole, self._size
        base_s = -offset_s
        for (word, length, data), (seconds, nanoseconds), (_, marks, size) in rows:
            if length != whole or word & SPECIAL or size != size_of_all:
                kind = _kind(word, length, marks, size)
                if kind:
                    _count_other(kind, word, data, found)
                    continue
                data = data[:length]  # noqa: PLW2901 - the rest of the buffer is not the frame's
            at_s = base_s + seconds + nanoseconds * 1e-9
            if not floor_s <= at_s <= now_s:
                at_s = self._doubted(seconds and at_s + offset_s, moment, floor_s)
            floor_s = at_s
            own = others if not marks & CONFIRM or others is None else True
            if word >= EXTENDED:
                add(_new(Frame, (at_s, word & ID_MASK, True, data, name, own)))
            else:
                add(_new(Frame, (at_s, word & STANDARD_MASK, False, data, name, own)))
        if not found.more:  # what waits may have been stamped before the clock was set
            self._offset_s = wall_s - now_s

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

    def _lost(self, control: memoryview, length: int) -> int:
        """Return how many frames were thrown away since the last look, by the newest frame."""
        at = 0
        while at + _CMSG.size <= length:
            size, level, kind = _CMSG.unpack_from(control, at)
            if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL):
                before, self._dropped = (
                    self._dropped,
                    struct.unpack_from("=I", control, at + _CMSG.size)[0],
                )
                return (self._dropped - before) % (1 << 32)
            at += max(_CMSG.size, size + (-size) % ctypes.sizeof(ctypes.c_size_t))
        return 0

    def _like(self, head: Head) -> bytes:
        """Return the headers of a batch in which all are like this one."""
        if head not in self._alike:
            if len(self._alike) >= MOST_KINDS:
                self._alike.clear()
            headers = (_Header * BATCH).from_buffer_copy(self._fresh)
            for each in headers:
                each.message.control_length, each.message.flags, each.length = head
            self._alike[head] = bytes(headers)
        return self._alike[head]


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


def _count_other(kind: str, word: int, data: bytes, found: Batch) -> None:
    found.other[kind] += 1
    if kind == "error":
        found.errors.append(read_error(word & ID_MASK, data[:CLASSICAL_DATA]))


def frame_bytes(frame: Frame) -> bytes:
    """Return a frame as struct can_frame, or as struct canfd_frame if it is too long for that."""
    word = frame.can_id | (EXTENDED if frame.extended else 0)
    size = CLASSICAL_DATA if len(frame.data) <= CLASSICAL_DATA else FD_DATA
    return struct.pack(f"=IB3x{size}s", word, len(frame.data), frame.data)
