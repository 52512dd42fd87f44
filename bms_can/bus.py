"""The only import of python-can's Bus: open, receive, send. Its errors become ours here.

python-can's own troubles (traps 1 to 8) are handled by rule: any error on receive means reopen;
a send that returned proves nothing, only the echo of the frame does.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import can

from bms_can.errors import BusDown, SendFailed
from bms_can.frame import Frame

# Interfaces whose Bus may be read in one thread while another one sends; others get a lock.
THREAD_SAFE = frozenset({"socketcan", "virtual", "udp_multicast"})

# python-can's bus between processes. It refuses `receive_own_messages`, yet the kernel always gives
# own datagrams back (IP_MULTICAST_LOOP). No frame leaves the machine unless `hop_limit` is set.
MULTICAST = "udp_multicast"
MULTICAST_ARGUMENTS = {"hop_limit": 0}
HINTS = {
    "msgpack not installed": 'install the extra: pip install "bms-can-agent[demo]"',
    "could not create or configure socket": "this machine has no route for multicast; as root:"
    " ip link set lo multicast on && ip route add 239.0.0.0/8 dev lo",
}


@dataclass(frozen=True, slots=True)
class BusSettings:
    """Which bus to open.

    Attributes:
        interface: python-can's name, such as "socketcan" or "virtual".
        channel: such as "can0".
        bitrate: [bit/s], for interfaces that set it themselves; SocketCAN does not.
        fd: whether CAN FD frames are wanted.
        options: further arguments of python-can's Bus for this interface.
        name: what frames carry as their channel.
    """

    interface: str
    channel: str
    bitrate: int | None = None
    fd: bool = False
    options: Mapping[str, object] = field(default_factory=dict)
    name: str = ""

    def arguments(self) -> dict[str, object]:
        """Return the arguments for python-can's Bus."""
        found: dict[str, object] = {"interface": self.interface, "channel": self.channel}
        if self.bitrate is not None:
            found["bitrate"] = self.bitrate
        if self.fd:
            found["fd"] = True
        if self.interface == MULTICAST:
            found |= MULTICAST_ARGUMENTS
        return found | dict(self.options)


class Port:
    """One open bus. `receive` belongs to one thread, `send` to any one other.

    Attributes:
        dropped: messages that are not data frames, by kind: "error", "remote".
        drained_s: when the receive queue was last known to be empty [s], -inf before. A frame
            that arrived by then was handed on.
    """

    def __init__(self, bus: can.BusABC, clock_s: Callable[[], float], name: str = "") -> None:
        self._bus = bus
        self._clock_s = clock_s
        self._name = name
        self._sending = threading.Lock()
        self.dropped: Counter[str] = Counter()
        self.drained_s = -math.inf

    def receive(self, timeout_s: float) -> Frame | None:
        """Return the next data frame, stamped with our clock, or None after `timeout_s` [s].

        None does not prove that the bus is alive (trap 1).

        Raises:
            BusDown: the interface failed; close this port and open a new one.
        """
        now_s = self._clock_s()
        end_s = now_s + timeout_s
        message = self._next_message(timeout_s, now_s)
        while message is not None and (message.is_error_frame or message.is_remote_frame):
            # Waits on: an error frame is no silence, and a burst of them must not look like it.
            self.dropped["error" if message.is_error_frame else "remote"] += 1
            now_s = self._clock_s()
            message = self._next_message(end_s - now_s, now_s) if end_s > now_s else None
        if message is None:
            return None
        return Frame(
            self._clock_s(),
            message.arbitration_id,
            message.is_extended_id,
            bytes(message.data),
            self._name,
        )

    def _next_message(self, timeout_s: float, now_s: float) -> can.Message | None:
        try:
            message = self._bus.recv(0)
            if message is None:
                self.drained_s = now_s  # as of before the look
                message = self._bus.recv(timeout_s)
        except (can.CanError, OSError, ValueError) as error:
            # ValueError: select() on a socket that another thread closed.
            raise BusDown(str(error)) from error
        return message

    def send(self, frame: Frame) -> None:
        """Queue a frame. Returning means queued, never "on the wire" (reliability rule 21).

        Raises:
            SendFailed: the frame was not taken.
        """
        message = can.Message(
            arbitration_id=frame.can_id,
            is_extended_id=frame.extended,
            data=frame.data,
            is_fd=len(frame.data) > 8,  # noqa: PLR2004 - length limit of a classical frame, ISO 11898-1
            check=True,
        )
        try:
            with self._sending:
                self._bus.send(message)
        except (can.CanError, OSError, ValueError) as error:
            # ValueError: select() on a socket that can-rx closed meanwhile.
            raise SendFailed(str(error)) from error

    def close(self) -> None:
        """Close the bus; a `receive` in another thread ends within its time-out."""
        with suppress(can.CanError, OSError, ValueError):
            # An adapter that is gone cannot be closed properly; there is nothing left to close.
            self._bus.shutdown()


def open_port(
    settings: BusSettings, clock_s: Callable[[], float], *, own_frames: bool = True
) -> Port:
    """Open a bus.

    Args:
        settings: which one.
        clock_s: monotonic clock [s] that stamps the frames.
        own_frames: hear our own frames too: they are the proof of transmission.

    Raises:
        BusDown: it cannot be opened now.
    """
    kind = can.Bus if settings.interface in THREAD_SAFE else can.ThreadSafeBus
    own = {} if settings.interface == MULTICAST else {"receive_own_messages": own_frames}
    try:
        bus = kind(**own, **settings.arguments())  # type: ignore[arg-type]  # options come from a file
    except (can.CanError, OSError, ValueError, TypeError, ImportError) as error:
        # python-can raises each of these for a missing interface, driver or option (trap 2).
        hint = HINTS.get(str(error))
        words = f"{error}; {hint}" if hint else str(error)
        raise BusDown(f"{settings.interface} {settings.channel}: {words}") from error
    return Port(bus, clock_s, settings.name)
