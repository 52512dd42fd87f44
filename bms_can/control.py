"""The one way of a control frame to the bus: guard first, then the port, then wait for the echo.

Shared by the control thread (send) and can-rx (hear); one lock.
"""

import math
import threading
from collections.abc import Callable

from bms_can.bus import Port
from bms_can.errors import FrameRefused, SendFailed
from bms_can.frame import Frame
from bms_can.guard import Guard, Heard


class ControlPort:
    """Sends listed frames and knows which of them came back from the bus.

    Args:
        guard: the last gate.
        port: returns the open port, or None while the bus is down.
        read_only: True refuses every frame.

    Attributes:
        ids: our control identifiers, as (id, extended); only frames with these concern `hear`.
        unsafe: why nothing but safe frames may be sent any more, "" while all is well. Set when a
            frame did not come back: it may still be waiting in a queue (reliability rule 21).
        clears: how often a person had it forget what is awaited.
        stuck: why a frame that asks for nothing may still be waiting there, "" while none is known
            to. It ends by itself, when the next one comes back.
    """

    def __init__(
        self, guard: Guard, port: Callable[[], Port | None], *, read_only: bool = False
    ) -> None:
        self._guard = guard
        self._port = port
        self._read_only = read_only
        self._lock = threading.Lock()
        self.ids = guard.ids
        self._sent_by: Port | None = None
        self.unsafe = ""
        self.stuck = ""
        self.clears = 0

    @property
    def foreign(self) -> str:
        """Candump text of a control frame that another node sent, "" while there was none."""
        return self._guard.foreign

    @property
    def drained_s(self) -> float:
        """When the receive queue of the bus was last known to be empty [s], -inf without a bus."""
        port = self._port()
        return -math.inf if port is None else port.drained_s

    def send(self, frame: Frame, now_s: float) -> None:
        """Send one frame.

        Raises:
            FrameRefused: the guard or the read-only mode refuses it.
            SendFailed: the bus is down or did not take it.
        """
        if self._read_only:
            raise FrameRefused("read-only", "this device is configured to listen only")
        with self._lock:
            port = self._port()
            if port is None:
                raise SendFailed("the bus is down")
            self._guard.allow(frame, now_s, self.unsafe)
            self._sent_by = port
            try:
                port.send(frame)
            except SendFailed:
                self._guard.withdraw(frame)
                raise

    def hear(self, frame: Frame) -> Heard:
        """Look at a received frame: echo of ours, foreign control frame, or neither."""
        with self._lock:
            if self._sent_by is not self._port():  # sent before the bus was opened anew
                frame = frame._replace(own=None)
            return self._guard.hear(frame)

    def echoed(self, frame: Frame) -> bool:
        """Tell whether a frame sent here has come back from the bus."""
        with self._lock:
            return not self._guard.awaits(frame)

    def outstanding(self, frame: Frame) -> int:
        """Return how many frames with these bytes were sent here and have not come back."""
        with self._lock:
            return self._guard.outstanding(frame)

    def restore(self, unsafe: str, foreign: str) -> None:
        """Take over what an earlier process had found; nobody has looked since."""
        with self._lock:
            self.unsafe = self.unsafe or unsafe
            self._guard.foreign = self._guard.foreign or foreign

    def clear(self) -> None:
        """A person has checked the bus: forget the foreign master and the lost frame."""
        with self._lock:
            self.clears += 1
            self._guard.unlatch()
            self.unsafe = self.stuck = ""
