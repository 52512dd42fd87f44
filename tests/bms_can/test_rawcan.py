"""The reader of many frames at once: on a datagram socket of this machine instead of a bus."""

import socket
import struct
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bms_can.can_frame import ERROR, EXTENDED, REMOTE, frame_bytes
from bms_can.error_frame import BUS_OFF
from bms_can.frame import Frame
from bms_can.rawcan import BATCH, FrameReader, Moment

STAMPS, LOSSES = 35, 40  # SO_TIMESTAMPNS, SO_RXQ_OVFL


class Pipe:
    """A sender and a reader of struct can_frame over loopback, as the kernel stamps them."""

    def __init__(self, *, fd_frames: bool = False, stamps: bool = True) -> None:
        self.inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inbox.bind(("127.0.0.1", 0))
        self.inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # more than a batch
        if stamps:
            self.inbox.setsockopt(socket.SOL_SOCKET, STAMPS, 1)
        self.inbox.setsockopt(socket.SOL_SOCKET, LOSSES, 1)
        self.outbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.outbox.connect(self.inbox.getsockname())
        self.reader = FrameReader(self.inbox.fileno(), "b", fd_frames=fd_frames, tells_own=False)
        if stamps:
            self._await_stamps()

    def _await_stamps(self) -> None:
        """Wait: the kernel begins to stamp on arrival a moment after a first socket asks."""
        for _ in range(200):
            self.outbox.send(b"?")
            time.sleep(0.002)
            _, records, _, _ = self.inbox.recvmsg(1, 64)
            seconds, nanoseconds = struct.unpack("@ll", records[0][2])
            stamp_s = seconds + nanoseconds * 1e-9
            if time.clock_gettime(time.CLOCK_REALTIME) - stamp_s >= 0.002:
                return
        pytest.fail("this kernel does not stamp on arrival")

    def send(self, *messages: bytes) -> None:
        """Send messages; each is received whole."""
        for message in messages:
            self.outbox.send(message)

    def moment(self, *, since_s: float = 1.0, set_on_s: float = 0.0) -> Moment:
        """Return now; the wall clock was set on by `set_on_s` after the frames came."""
        self.now_s = time.monotonic()
        wall_s = time.clock_gettime(time.CLOCK_REALTIME)
        return Moment(self.now_s, wall_s + set_on_s, self.now_s - since_s)

    def age_s(self, frame: Frame) -> float:
        """Return how old a frame was at the moment [s]."""
        return self.now_s - frame.at_s

    def close(self) -> None:
        """Close both ends."""
        self.inbox.close()
        self.outbox.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Return a pipe of classical frames."""
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def fd_pipe() -> Iterator[Pipe]:
    """Return a pipe of classical and CAN FD frames."""
    made = Pipe(fd_frames=True)
    yield made
    made.close()


def sent(frame: Frame) -> tuple[int, bool, bytes]:
    """Return what of a frame goes over the wire."""
    return frame.can_id, frame.extended, frame.data


def test_nothing_waits(pipe: Pipe) -> None:
    """An empty queue is None, not an error."""
    assert pipe.reader.read(pipe.moment()) is None


def test_frames_of_all_kinds_in_order(pipe: Pipe) -> None:
    """Identifier, kind of identifier and each length arrive as sent."""
    frames = [Frame(0.0, 0x123 + size, size % 2 == 0, bytes(range(size))) for size in range(9)] + [
        Frame(0.0, 0x1FFFFFFF, extended=True, data=b""),
        Frame(0.0, 0x7FF, extended=False, data=b"x"),
    ]
    pipe.send(*map(frame_bytes, frames))
    batch = pipe.reader.read(pipe.moment())
    assert batch is not None
    assert list(map(sent, batch.frames)) == list(map(sent, frames))
    assert {(frame.channel, frame.own) for frame in batch.frames} == {("b", None)}
    assert (batch.lost, batch.more, list(batch.errors), batch.other) == (0, False, [], {})
    assert pipe.reader.read(pipe.moment()) is None


def test_long_frames_beside_classical_ones(fd_pipe: Pipe) -> None:
    """On a socket for CAN FD both sizes of message come; each has its own length."""
    frames = [
        Frame(0.0, 0x100, extended=True, data=bytes(range(size))) for size in (64, 8, 12, 0, 64)
    ]
    fd_pipe.send(*map(frame_bytes, frames))
    batch = fd_pipe.reader.read(fd_pipe.moment())
    assert batch is not None
    assert list(map(sent, batch.frames)) == list(map(sent, frames))


def test_more_than_a_batch(pipe: Pipe) -> None:
    """A full batch says that more may wait; none is lost and none comes twice."""
    pipe.send(
        *(frame_bytes(Frame(0.0, i, extended=False, data=bytes(8))) for i in range(BATCH + 3))
    )
    first, second = pipe.reader.read(pipe.moment()), pipe.reader.read(pipe.moment())
    assert first is not None
    assert second is not None
    assert (first.more, second.more) == (True, False)
    assert [frame.can_id for frame in (*first.frames, *second.frames)] == list(range(BATCH + 3))


def test_error_and_remote_frames_are_no_data_frames(pipe: Pipe) -> None:
    """They are sorted out, and hide nothing of what comes with them."""
    pipe.send(
        struct.pack("=IB3x8s", ERROR | 0x40, 8, b""),
        struct.pack("=IB3x8s", REMOTE | 0x123, 8, b""),
        struct.pack("=IB3x8s", REMOTE | EXTENDED | 0x123, 0, b""),
        struct.pack("=IB3x8s", 0x123, 2, b"\x01\x02"),
    )
    batch = pipe.reader.read(pipe.moment())
    assert batch is not None
    assert [each.state for each in batch.errors] == [BUS_OFF]
    assert batch.other == {"error": 1, "remote": 2}
    assert list(map(sent, batch.frames)) == [(0x123, False, b"\x01\x02")]


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(15), id="too short"),
        pytest.param(bytes(17), id="too long"),
        pytest.param(struct.pack("=IB3x8s", 0x123, 9, b""), id="nine bytes"),
        pytest.param(struct.pack("=IB3x8s", 0x123, 255, b""), id="255 bytes"),
    ],
)
def test_what_is_no_frame_is_counted(pipe: Pipe, message: bytes) -> None:
    """A message that cannot be is left out; its neighbours are not."""
    good = frame_bytes(Frame(0.0, 0x55, extended=False, data=bytes(8)))
    pipe.send(good, message, good)
    batch = pipe.reader.read(pipe.moment())
    assert batch is not None
    assert batch.other == {"malformed": 1}
    assert len(batch.frames) == 2


def test_a_frame_is_as_old_as_it_is(pipe: Pipe) -> None:
    """The kernel's stamp counts, not the time of reading."""
    pipe.send(frame_bytes(Frame(0.0, 1, extended=False, data=bytes(8))))
    time.sleep(0.03)
    batch = pipe.reader.read(pipe.moment())
    assert batch is not None
    assert 0.03 <= pipe.age_s(batch.frames[0]) < 0.5


@pytest.mark.parametrize("set_on_s", [3600.0, -3600.0, 1e9, -1e9, 2.0, -2.0])
def test_a_step_of_the_clock_makes_no_frame_younger(pipe: Pipe, set_on_s: float) -> None:
    """Without an offset that fits it is as old as it can be; with the one before it is right."""
    frame = frame_bytes(Frame(0.0, 1, extended=False, data=bytes(8)))
    pipe.send(frame)
    batch = pipe.reader.read(pipe.moment(since_s=0.7, set_on_s=set_on_s))
    assert batch is not None
    assert pipe.age_s(batch.frames[0]) == pytest.approx(0.7)
    pipe.send(frame)
    pipe.reader.read(pipe.moment())
    pipe.send(frame)
    time.sleep(0.02)
    batch = pipe.reader.read(pipe.moment(since_s=0.7, set_on_s=set_on_s))
    assert batch is not None
    assert 0.02 <= pipe.age_s(batch.frames[0]) < 0.5


def test_times_never_go_back(pipe: Pipe) -> None:
    """Frames of one batch and of the next one are in order, whatever their stamps say."""
    frame = frame_bytes(Frame(0.0, 1, extended=False, data=bytes(8)))
    pipe.send(*[frame] * 50)
    batch = pipe.reader.read(pipe.moment())
    assert batch is not None
    times = [each.at_s for each in batch.frames]
    assert times == sorted(times)
    assert pipe.now_s - 1.0 <= times[0]
    assert times[-1] <= pipe.now_s


def test_without_stamps_a_frame_is_new() -> None:
    """A socket that gives no stamps: the time of reading."""
    pipe = Pipe(stamps=False)
    pipe.send(frame_bytes(Frame(0.0, 1, extended=False, data=bytes(8))))
    batch = pipe.reader.read(pipe.moment())
    assert batch is not None
    assert pipe.age_s(batch.frames[0]) == 0
    pipe.close()


def test_lost_frames_are_counted() -> None:
    """What the kernel threw away is told with the next frame, once."""
    pipe = Pipe()
    pipe.inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    frame = frame_bytes(Frame(0.0, 1, extended=False, data=bytes(8)))
    total, got, lost = 0, 0, 0
    for burst in (500, 3, 400, 1):
        pipe.send(*[frame] * burst)
        total += burst
        while (batch := pipe.reader.read(pipe.moment())) is not None:
            got += len(batch.frames)
            lost += batch.lost
    assert lost > 100
    assert got + lost == total
    pipe.close()


def test_an_error_of_the_socket_is_told(pipe: Pipe) -> None:
    """As the system's error, with its number."""
    pipe.inbox.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        pipe.reader.read(pipe.moment())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=20), st.booleans())
def test_any_bytes_are_frames_or_counted(messages: list[bytes], fd_frames: bool) -> None:  # noqa: FBT001 - drawn
    """Each message is a frame of a possible length, or counted; none raises."""
    pipe = Pipe(fd_frames=fd_frames)
    pipe.send(*messages)
    batch = pipe.reader.read(pipe.moment())
    if batch is None:
        assert messages == []
    else:
        assert len(batch.frames) + sum(batch.other.values()) == len(messages)
        for frame in batch.frames:
            assert len(frame.data) <= (64 if fd_frames else 8)
            assert frame.can_id <= (0x1FFFFFFF if frame.extended else 0x7FF)
    pipe.close()


@given(st.integers(0, 0x1FFFFFFF), st.booleans(), st.binary(max_size=64))
def test_what_is_sent_is_what_is_received(can_id: int, extended: bool, data: bytes) -> None:  # noqa: FBT001 - drawn
    """A frame of any length, packed, has the size that the kernel wants."""
    packed = frame_bytes(Frame(0.0, can_id, extended, data))
    assert len(packed) == (16 if len(data) <= 8 else 72)
    assert packed[4] == len(data)


@pytest.mark.parametrize("frames", [1, BATCH + 5])
def test_a_clock_set_back_makes_no_waiting_frame_younger(pipe: Pipe, frames: int) -> None:
    """It came 0.2 s ago, the clock was set back by 0.15 s since: it is not 0.05 s old."""
    frame = frame_bytes(Frame(0.0, 1, extended=False, data=bytes(8)))
    pipe.send(frame)
    pipe.reader.read(pipe.moment())
    pipe.send(*[frame] * frames)
    time.sleep(0.2)
    while frames:
        batch = pipe.reader.read(pipe.moment(since_s=0.7, set_on_s=-0.15))
        assert batch is not None
        assert min(pipe.age_s(each) for each in batch.frames) >= 0.2
        frames -= len(batch.frames)
    pipe.send(frame)
    batch = pipe.reader.read(pipe.moment(since_s=0.7))  # and set on again
    assert batch is not None
    assert pipe.age_s(batch.frames[0]) < 0.1
