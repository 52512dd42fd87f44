"""A bus that does what real ones do and python-can's virtual one cannot (traps 1 to 7).

`Link` is the interface as the kernel keeps it: its transmit queue outlives sockets and processes.
`HostileBus` is one socket on it, or one that plays a script.
"""

import errno
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from random import Random

import can

Event = can.Message | Exception | None

ENXIO, ENODEV, ENETDOWN, ENOBUFS = errno.ENXIO, errno.ENODEV, errno.ENETDOWN, errno.ENOBUFS
QUEUE = 10  # txqueuelen, reliability rule 21b
KEPT_TIMEOUTS = 10_000
SOCKET_FRAMES = 278  # the default receive buffer (trap 8); what is more is lost without a word

Wait = Callable[[Callable[[], bool], float], object]


class Link:
    """The interface of one node and what it does to frames.

    Args:
        clock_s: fake time [s].
        wait: lets fake time pass: until the condition holds, or for so long [s].

    Attributes:
        acknowledged: somebody answers; else frames stay in the queue and go out later (trap 4).
        dropping: bus-off or no carrier: `send` succeeds and the frame is gone (trap 4).
        echo: own frames come back.
        echo_delay_s: after so long [s].
        vanished: unplugged: one error, then silence; opening fails (trap 3).
        send_errno, recv_errno: raised by each call, None: they work.
        once: raised by the next calls of `recv`, each once.
        handed: frames that `send` took, with their time [s]; `on_wire`: those that went out.
        listeners: called with each frame that goes out.
        heard: called with each frame that a socket gave to its reader.
        opened: how often somebody opened it or tried to; `asked`: calls of `recv`.
    """

    def __init__(
        self,
        clock_s: Callable[[], float] = lambda: 0.0,
        wait: Wait = lambda _ready, _timeout_s: None,
    ) -> None:
        self.clock_s = clock_s
        self.wait = wait
        self.acknowledged = True
        self.dropping = False
        self.echo = True
        self.echo_delay_s = 0.0
        self.vanished = False
        self.send_errno: int | None = None
        self.recv_errno: int | None = None
        self.once: deque[int] = deque()
        self.queue: deque[tuple[can.Message, HostileBus]] = deque()
        self.handed: list[tuple[float, can.Message]] = []
        self.on_wire: list[tuple[float, can.Message]] = []
        self.listeners: list[Callable[[can.Message], object]] = []
        self.heard: list[Callable[[can.Message], object]] = []
        self.sockets: list[HostileBus] = []
        self.opened = 0
        self.asked = 0

    def open(self) -> "HostileBus":
        """Open a socket. A missing interface fails, one that is down does not (trap 2)."""
        self.opened += 1
        if self.vanished:
            raise OSError(ENODEV, "No such device")
        return HostileBus(link=self)

    def deliver(self, *messages: can.Message, delay_s: float = 0.0) -> None:
        """Let other nodes' frames arrive at every socket, after `delay_s` [s]."""
        if not self.vanished:
            for socket in self.sockets:
                for message in messages:
                    socket.put(message, delay_s)

    def take(self, message: can.Message, sender: "HostileBus") -> None:
        """Take a frame to be sent, as the kernel does."""
        if self.vanished:
            raise can.CanOperationError("No such device or address", ENXIO)
        if self.send_errno is not None:
            raise can.CanOperationError("sending failed", self.send_errno)
        if len(self.queue) >= QUEUE:
            raise can.CanOperationError("No buffer space available", ENOBUFS)
        self.handed.append((self.clock_s(), message))
        if self.dropping:
            return
        self.queue.append((message, sender))
        self.flush()

    def flush(self) -> None:
        """Let the queue out if somebody acknowledges."""
        while self.queue and self.acknowledged and not self.dropping and not self.vanished:
            message, sender = self.queue.popleft()
            self.on_wire.append((self.clock_s(), message))
            if self.echo and sender in self.sockets:
                sender.put(message, self.echo_delay_s)
            for listener in self.listeners:
                listener(message)

    def unplug(self) -> None:
        """Take the adapter away: its queue is lost, each socket gets one error."""
        self.vanished = True
        self.queue.clear()
        for socket in self.sockets:
            socket.script.append(can.CanOperationError("No such device", ENODEV))

    def receive_error(self) -> Exception | None:
        """Return what the next `recv` raises, None if it works."""
        if self.once:
            return can.CanOperationError("receiving failed", self.once.popleft())
        if self.recv_errno is not None:
            return can.CanOperationError("receiving failed", self.recv_errno)
        return None


class HostileBus(can.BusABC):
    """A socket. With a script it plays messages, errors and silences; fails sends on demand.

    Args:
        script: what `recv` does, one entry a call; silence for ever after the last.
        link: the interface; None: one of its own, without echo.

    Attributes:
        send_error: what `send` raises; None: it takes the message.
        shutdown_error: what `shutdown` raises; None: it ends.
        echo: give own messages back, behind the script, whatever the link does.
        sent: messages taken; `timeouts_s`: of each `recv` [s].
        closed: whether it was shut down.
        overrun: frames lost because nobody read them in time.
    """

    def __init__(self, script: Iterable[Event] = (), link: Link | None = None) -> None:
        super().__init__(channel="hostile")
        self.channel_info = "hostile"
        self.script: deque[Event] = deque(script)
        self.send_error: Exception | None = None
        self.shutdown_error: Exception | None = None
        self.echo = False
        self.sent: list[can.Message] = []
        self.closed = False
        self.timeouts_s: list[float | None] = []
        self.overrun = 0
        self._late: list[tuple[float, int, can.Message]] = []
        self._order = itertools.count()
        self._link = link or Link()
        self._link.echo = self._link.echo and link is not None
        self._link.sockets.append(self)

    def put(self, message: can.Message, delay_s: float = 0.0) -> None:
        """Let a frame arrive after `delay_s` [s]."""
        if delay_s > 0:
            heapq.heappush(self._late, (self._link.clock_s() + delay_s, next(self._order), message))
        elif len(self.script) < SOCKET_FRAMES:
            self.script.append(message)
        else:
            self.overrun += 1

    def ready(self) -> bool:
        """Tell whether `recv` would return at once."""
        while self._late and self._late[0][0] <= self._link.clock_s():
            self.script.append(heapq.heappop(self._late)[2])
        return bool(self.script or self._link.once or self._link.recv_errno is not None)

    def recv(self, timeout: float | None = None) -> can.Message | None:
        """Play the next entry; a silence takes as much time as the link's `wait` lets pass."""
        self._link.asked += 1
        if len(self.timeouts_s) < KEPT_TIMEOUTS:
            self.timeouts_s.append(timeout)
        if not self.ready():
            self._let_time_pass(timeout or 0.0)
        error = self._link.receive_error()
        if error is not None:
            raise error
        event = self.script.popleft() if self.script else None
        if isinstance(event, Exception):
            raise event
        if event is not None and not event.is_error_frame and not event.is_remote_frame:
            for heard in self._link.heard:
                heard(event)
        return event

    def _let_time_pass(self, timeout_s: float) -> None:
        clock_s = self._link.clock_s
        now_s, end_s = clock_s(), clock_s() + timeout_s
        while now_s < end_s and not self.ready():
            next_s = min(self._late[0][0], end_s) if self._late else end_s
            self._link.wait(self.ready, next_s - now_s)
            before_s, now_s = now_s, clock_s()
            if now_s <= before_s:  # time stands still: a test without a clock, or it is ready
                return

    def send(self, msg: can.Message, timeout: float | None = None) -> None:  # noqa: ARG002 - python-can's signature
        """Take a message or raise."""
        if self.send_error is not None:
            raise self.send_error
        self._link.take(msg, self)
        self.sent.append(msg)
        if self.echo:
            self.script.append(msg)

    def shutdown(self) -> None:
        """Close, then raise `shutdown_error`. What is queued stays queued."""
        super().shutdown()
        self.closed = True
        if self in self._link.sockets:
            self._link.sockets.remove(self)
        if self.shutdown_error is not None:
            raise self.shutdown_error


def data_message(
    can_id: int = 0x100, data: bytes = b"\x01", *, extended: bool = False
) -> can.Message:
    """Build a data frame."""
    return can.Message(arbitration_id=can_id, is_extended_id=extended, data=data)


def error_message() -> can.Message:
    """Build an error frame: nobody acknowledged."""
    return can.Message(arbitration_id=0x20, is_error_frame=True, data=bytes(8), check=False)


def remote_message(can_id: int = 0x100, *, extended: bool = False) -> can.Message:
    """Build a remote frame."""
    return can.Message(arbitration_id=can_id, is_remote_frame=True, is_extended_id=extended, dlc=2)


def flipped(message: can.Message, random: Random) -> can.Message:
    """Return the frame with one bit of its data wrong."""
    data = bytearray(message.data)
    bit = random.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    return data_message(message.arbitration_id, bytes(data), extended=message.is_extended_id)


def resized(message: can.Message, size: int) -> can.Message:
    """Return the frame with another length, up to 64 as CAN FD has it."""
    data = bytes(message.data).ljust(size, b"\0")[:size]
    return can.Message(
        arbitration_id=message.arbitration_id,
        is_extended_id=message.is_extended_id,
        is_fd=size > 8,
        data=data,
        check=False,
    )


def twin(message: can.Message) -> can.Message:
    """Return the frame with the same number as an identifier of the other kind (trap 16)."""
    extended = not message.is_extended_id
    can_id = message.arbitration_id if extended else message.arbitration_id & 0x7FF
    return data_message(can_id, bytes(message.data), extended=extended)
