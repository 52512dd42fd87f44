"""One open bus through python-can. Its errors become ours here.

python-can's own troubles (traps 1 to 8) are handled by rule: any error on receive means reopen;
a send that returned proves nothing, only the echo of the frame does.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import can

from bms_can.busoff import BusOff
from bms_can.can_frame import CLASSICAL_DATA, PLAIN, Form
from bms_can.errors import BusDown, SendFailed
from bms_can.frame import Frame
from bms_can.link import LinkState


@dataclass(slots=True)
class BusCounts:
    """What is counted on a bus, over all reopenings. Written by can-rx, read by anybody.

    Attributes:
        dropped: messages that are not data frames, by kind: "error", "remote", "malformed".
        errors: error frames by what they report, see `error_frame.BusError.kinds`.
        lost: frames that the kernel threw away because nobody read them in time.
        buffer_bytes: size of the receive buffer as the kernel gave it, 0 while unknown.
    """

    dropped: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    buffer_bytes: int = 0


class Port:
    """One open bus. `receive` belongs to one thread, `send` to any one other.

    Attributes:
        counts: what is counted.
        drained_s: when the receive queue was last known to be empty [s], -inf before. A frame
            that arrived by then was handed on.
        forms: how frames with these (id, extended) go out; others are CAN FD only if they are long.
    """

    def __init__(self, bus: can.BusABC, clock_s: Callable[[], float], name: str = "") -> None:
        self._bus = bus
        self._clock_s = clock_s
        self._name = name
        self._sending = threading.Lock()
        self.counts = BusCounts()
        self.drained_s = -math.inf
        self.forms: Mapping[tuple[int, bool], Form] = {}

    @property
    def dropped(self) -> Counter[str]:
        """Messages that are not data frames, by kind."""
        return self.counts.dropped

    @property
    def trouble(self) -> str:
        """Why nothing can be sent or heard, "" while that is possible or not known."""
        return ""

    @property
    def doubt(self) -> str:
        """Why no frame should be sent that may come late, "" while all is well or not known."""
        return ""

    @property
    def link(self) -> LinkState | None:
        """What the kernel said about the interface; None where there is nobody to ask."""
        return None

    @property
    def true_echo(self) -> bool:
        """Whether a frame that comes back was sent, not only queued, as far as the driver tells."""
        return True

    def now_s(self) -> float:
        """Return the time of this port's clock [s]."""
        return self._clock_s()

    def tend(self, recovery: BusOff) -> None:
        """Look after the interface; called often by who receives.

        Raises:
            BusDown: it is gone; close this port and open a new one.
        """

    def receive_many(self, timeout_s: float) -> Sequence[Frame]:
        """Return the next data frames, oldest first; none after `timeout_s` [s].

        Raises:
            BusDown: the interface failed; close this port and open a new one.
        """
        frame = self.receive(timeout_s)
        return () if frame is None else (frame,)

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
        form = self.form(frame)
        message = can.Message(
            arbitration_id=frame.can_id,
            is_extended_id=frame.extended,
            data=frame.data,
            is_fd=form.fd,
            bitrate_switch=form.switch,
            check=True,
        )
        try:
            with self._sending:
                self._bus.send(message)
        except (can.CanError, OSError, ValueError) as error:
            # ValueError: select() on a socket that can-rx closed meanwhile.
            raise SendFailed(str(error)) from error

    def form(self, frame: Frame) -> Form:
        """Return how a frame goes out."""
        found = self.forms.get((frame.can_id, frame.extended), PLAIN)
        return found if len(frame.data) <= CLASSICAL_DATA else found._replace(fd=True)

    def close(self) -> None:
        """Close the bus; a `receive` in another thread ends within its time-out."""
        with suppress(can.CanError, OSError, ValueError):
            # An adapter that is gone cannot be closed properly; there is nothing left to close.
            self._bus.shutdown()
