"""recvmmsg(2) through ctypes: many messages of one socket with one system call.

Layouts of the C library: recvmmsg(2), recvmsg(2), cmsg(3).
"""

import ctypes
import errno
import os
import socket
import struct

CMSG = struct.Struct("@Nii")  # struct cmsghdr: size, level, kind
CONTROL = 64  # room for a stamp and a count of lost messages, on 32 and on 64 bits
MOST_KINDS = 16  # of headers kept; a bus has two: ours and others'

Head = tuple[int, int, int]  # of a message: bytes of ancillary data, flags, bytes of data


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


class Slots:
    """Room for so many messages, one after the other in memory.

    Args:
        count: the most that one call brings.
        size: of one message [byte]; the rest of a longer one is lost, and its flags say so.

    Attributes:
        data: the messages, each in `size` bytes.
        control: their ancillary data, each in `CONTROL` bytes.

    Raises:
        AttributeError: this system has no recvmmsg.
    """

    def __init__(self, count: int, size: int) -> None:
        self._receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._count = count
        self._data = ctypes.create_string_buffer(size * count)
        self._control = ctypes.create_string_buffer(CONTROL * count)
        self._vectors = (_Vector * count)()
        self._headers = (_Header * count)()
        self._lay_out(size)
        self._fresh = bytes(self._headers)
        self._first = ctypes.c_void_p(ctypes.addressof(self._headers))
        self._used = 0
        self._alike: dict[Head, bytes] = {}
        self._header_bytes = memoryview(self._headers).cast("B")
        self.data = memoryview(self._data).cast("B")
        self.control = memoryview(self._control).cast("B")

    def _lay_out(self, size: int) -> None:
        data, control = ctypes.addressof(self._data), ctypes.addressof(self._control)
        for index in range(self._count):
            vector, message = self._vectors[index], self._headers[index].message
            vector.base, vector.length = data + size * index, size
            message.vector, message.vectors = ctypes.addressof(vector), 1
            message.control, message.control_length = control + CONTROL * index, CONTROL

    def fill(self, fd: int) -> int:
        """Receive what waits on a socket; return how many messages, 0 if there is none.

        Raises:
            OSError: what the socket reports, such as ENETDOWN, once.
        """
        used = _HEADER * self._used
        self._header_bytes[:used] = self._fresh[:used]
        self._used = 0
        count: int = self._receive(fd, self._first, self._count, socket.MSG_DONTWAIT, None)
        if count > 0:
            self._used = count
            return count
        number = ctypes.get_errno()
        if number in {errno.EAGAIN, errno.EINTR}:
            return 0
        raise OSError(number, os.strerror(number))

    def head(self) -> Head | None:
        """Return the head that all received messages have; None if they differ."""
        used = bytes(self._header_bytes[: _HEADER * self._used])
        first = _USED.unpack_from(used)
        return first if self._like(first).startswith(used) else None

    def heads(self) -> list[Head]:
        """Return the head of each message that was received."""
        return list(_USED.iter_unpack(self._header_bytes[: _HEADER * self._used]))

    def _like(self, head: Head) -> bytes:
        """Return the headers of messages that are all like this one."""
        like = self._alike.get(head)
        if like is None:
            if len(self._alike) >= MOST_KINDS:
                self._alike.clear()
            headers = (_Header * self._count).from_buffer_copy(self._fresh)
            for each in headers:
                each.message.control_length, each.message.flags, each.length = head
            like = self._alike[head] = bytes(headers)
        return like

    def ancillary(self, place: int, used: int, kind: int) -> memoryview | None:
        """Return the data of one ancillary record of a message, None if it has none such.

        Args:
            place: which message.
            used: bytes of its ancillary data.
            kind: of the record, such as SO_RXQ_OVFL; its level is SOL_SOCKET.
        """
        at, end = CONTROL * place, CONTROL * place + used
        while at + CMSG.size <= end:
            size, level, found = CMSG.unpack_from(self.control, at)
            if (level, found) == (socket.SOL_SOCKET, kind):
                return self.control[at + CMSG.size : at + size]
            at += max(CMSG.size, size + (-size) % ctypes.sizeof(ctypes.c_size_t))
        return None
