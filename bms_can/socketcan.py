"""A bus on SocketCAN: python-can opens and owns the socket, the frames are read and sent here.

What the kernel does (traps 1 to 8, measured) and what is made of it:

* link down: ENETDOWN once, then silence, and the same socket works again when the link is up. So
  the port stays open and says what is wrong (`trouble`).
* interface removed: ENODEV or nothing at all, and silence for ever. The name of the socket's
  interface is looked at twice a second: BusDown, reopen.
* bus-off or no carrier: a send "succeeds" and the frame is gone. So the link is asked before each.
* a full receive buffer drops frames without a word: the buffer is large, the loss is counted.
"""

import errno
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import can

from bms_can.busoff import Act, BusOff
from bms_can.can_frame import frame_bytes
from bms_can.error_frame import BUS_OFF, PASSIVE
from bms_can.errors import BusDown, SendFailed
from bms_can.frame import Frame
from bms_can.link import LinkState
from bms_can.netlink import read_link, set_up
from bms_can.port import Port
from bms_can.rawcan import SO_RXQ_OVFL, Batch, FrameReader, Moment

SO_RCVBUFFORCE = 33
BUFFER_BYTES = 8 << 20  # the kernel doubles it: some 22,000 frames, 2.4 s of a full 1 Mbit/s bus
PACE_S = 0.01  # wake-ups, not frames, are the cost of a busy bus
LOOK_S = 0.5
LATE_S = 0.1  # the kernel answers in 20 us, but not while somebody changes an interface
ALMOST_S = 0.001  # a wait that ends early by this is over


class SetUp(Protocol):
    """Sets an interface up or down; see netlink.set_up."""

    def __call__(self, channel: str, *, up: bool) -> None:
        """Do it."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the port needs of the system; a test brings its own.

    Attributes:
        wall_s: the wall clock [s], as the kernel stamps.
        sleep: waits so long [s].
        ask: returns the state of an interface by name.
        set_up: sets an interface up or down.
    """

    wall_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_REALTIME)
    sleep: Callable[[float], None] = time.sleep
    ask: Callable[[str], LinkState | None] = read_link
    set_up: SetUp = set_up


class SocketCanPort(Port):
    """A bus on SocketCAN; see Port.

    Args:
        bus: python-can's, whose socket is used.
        clock_s: monotonic [s].
        name: what frames carry as their channel.
        channel: name of the interface.
        fd_frames: the socket also gives CAN FD frames.
        outside: the system.
    """

    def __init__(
        self,
        bus: can.BusABC,
        clock_s: Callable[[], float],
        name: str = "",
        *,
        channel: str,
        fd_frames: bool = False,
        outside: Outside | None = None,
    ) -> None:
        super().__init__(bus, clock_s, name)
        self._socket: socket.socket = bus.socket  # type: ignore[attr-defined]  # SocketcanBus has it
        self._channel = channel
        self._outside = outside or Outside()
        self._reader = FrameReader(self._socket.fileno(), name, fd_frames=fd_frames)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._state = ""
        self._was_off = False
        self._quiet = ""
        self._waiting: deque[Frame] = deque()
        self.drained_s = self._empty_s = self._floor_s = self._busy_until_s = self._clock_s()
        self._looked_s = -LOOK_S
        self._link = self._outside.ask(channel)
        self.counts.buffer_bytes = self._enlarge()

    def _enlarge(self) -> int:
        """Ask for a large receive buffer and the count of lost frames; return what it got."""
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):  # the first needs CAP_NET_ADMIN
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
                break
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    @property
    def trouble(self) -> str:
        """See Port."""
        return "" if self._link is None else self._link.trouble

    @property
    def doubt(self) -> str:
        """See Port."""
        passive = PASSIVE if self._state == PASSIVE else ""
        return self._quiet or self.trouble or passive

    @property
    def link(self) -> LinkState | None:
        """See Port."""
        return self._link

    @property
    def true_echo(self) -> bool:
        """See Port. Where the kernel cannot be asked nobody knows, so: no."""
        return self._link is not None and self._link.true_echo

    def receive(self, timeout_s: float) -> Frame | None:
        """See Port. For tools; the agent takes many at once."""
        if not self._waiting:
            self._waiting.extend(self.receive_many(timeout_s))
        return self._waiting.popleft() if self._waiting else None

    def receive_many(self, timeout_s: float) -> Sequence[Frame]:
        """See Port. After frames it waits `PACE_S`, so that on a busy bus they come in batches."""
        self.drained_s = self._empty_s  # only now: what was read then has been handed on
        now_s = self._clock_s()
        end_s = now_s + timeout_s
        while True:
            early_s = self._busy_until_s - now_s
            try:
                if 0 < early_s <= PACE_S:
                    self._outside.sleep(early_s)
                else:
                    self._poll.poll(max(0.0, end_s - now_s) * 1000)
                batch = self._drain()
            except (OSError, ValueError) as error:
                # ValueError: a socket that another thread closed.
                raise BusDown(f"{self._channel}: {error}") from error
            now_s = self._clock_s()
            if batch is not None and batch.frames:
                self._busy_until_s = now_s if batch.more else now_s + PACE_S
                return batch.frames
            if now_s >= end_s - ALMOST_S:
                return []
            self.drained_s = self._empty_s

    def _drain(self) -> Batch | None:
        """Return what waits, or as much as is enough for once."""
        now_s = self._clock_s()
        batch = self._read(Moment(now_s, self._outside.wall_s(), self._floor_s))
        if batch is not None:
            self._note(batch)
        if batch is None or not batch.more:
            self._empty_s = self._floor_s = now_s  # as of before the look
        elif batch.frames:
            self._floor_s = batch.frames[-1].at_s
        return batch

    def _read(self, moment: Moment) -> Batch | None:
        try:
            return self._reader.read(moment)
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
        # Told once. What waited is still there, and the socket works again when the link is up.
        self._looked_s = -LOOK_S
        return self._reader.read(moment)

    def _note(self, batch: Batch) -> None:
        counts = self.counts
        counts.lost += batch.lost
        if batch.other:
            counts.dropped.update(batch.other)
        for error in batch.errors:
            counts.errors.update(error.kinds)
            if error.state is not None:
                self._state = error.state
                self._was_off |= error.tells_bus_off
                self._looked_s = -LOOK_S

    def tend(self, recovery: BusOff) -> None:
        """Look at the interface twice a second, and mend what a process can mend.

        Args:
            recovery: from bus-off; it outlives this port.

        Raises:
            BusDown: the interface was removed, or made anew under its name.
        """
        now_s = self._clock_s()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        if self._socket.getsockname()[0] != self._channel:
            raise BusDown(f"{self._channel}: the interface was removed")
        self._look()
        bus_off = self._state == BUS_OFF
        if self._was_off and not bus_off:
            recovery.over(now_s)
        self._was_off = False
        while (act := self._asked(recovery, now_s)) is not Act.NOTHING:
            recovery.done(act, now_s, self._do(act))
            self._look()
        self._quiet = recovery.text(now_s)

    def _asked(self, recovery: BusOff, now_s: float) -> Act:
        up = None if self._link is None else self._link.up
        return recovery.step(now_s, bus_off=self._state == BUS_OFF, up=up)

    def _look(self) -> None:
        link = self._link = self._outside.ask(self._channel)
        if link is not None and link.state is not None:
            self._state = link.state.lower()

    def _do(self, act: Act) -> str:
        """Set the interface up or down; return why that could not be, "" if it was done."""
        try:
            self._outside.set_up(self._channel, up=act is Act.UP)
        except BusDown as error:
            return str(error)
        return ""

    def send(self, frame: Frame) -> None:
        """See Port. Refused where the kernel would take the frame and throw it away (trap 4)."""
        began_s = self._clock_s()
        link = self._outside.ask(self._channel)
        if self._clock_s() - began_s > LATE_S:
            raise SendFailed(f"{self._channel}: the kernel did not answer in time; not sent late")
        if link is not None and (why := link.trouble or link.mute):
            raise SendFailed(f"{self._channel}: {why}")
        data = frame_bytes(frame, self.form(frame))
        try:
            with self._sending:
                self._send_once(data)
        except (OSError, ValueError) as error:
            raise SendFailed(f"{self._channel}: {error}") from error

    def _send_once(self, data: bytes) -> None:
        try:
            self._socket.send(data, socket.MSG_DONTWAIT)
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            # Left over from a link that was down and is up again (trap 2): nothing was sent.
            self._socket.send(data, socket.MSG_DONTWAIT)
