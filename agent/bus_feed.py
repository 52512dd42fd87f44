"""Frames of a bus for a person who watches: with pauses to draw in, and patient with the bus."""

import threading
from collections.abc import Iterator
from contextlib import closing

from agent.clock import Clock
from bms_can.bus import BusSettings, open_port
from bms_can.busoff import OnlyLooks
from bms_can.errors import BusDown
from bms_can.frame import Frame
from bms_can.port import Port

DRAW_S = 0.2
FIRST_S, SILENT_S = 0.5, 2.0  # without a frame at first, and later, until a person is told
AGAIN_S = 0.5  # between two tries to open a bus that is not there


class BusFeed:
    """The frames of a bus until a moment. It listens and never sends.

    Args:
        settings: which bus.
        clock: time.
        end_s: when to end, monotonic [s].
        stop: ends it at once.
        patient: a bus that is down is tried again; else it is an error.

    Attributes:
        trouble: why nothing can be heard now, "" while that is possible.
    """

    def __init__(
        self,
        settings: BusSettings,
        clock: Clock,
        end_s: float,
        stop: threading.Event,
        *,
        patient: bool,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._end_s = end_s
        self._stop = stop
        self._patient = patient
        self._draw_s = self._came_s = clock.monotonic_s()
        self._patience_s = FIRST_S
        self.trouble = ""

    @property
    def silence(self) -> str:
        """Why no frame comes, or that none does, and for how long; "" while they come."""
        quiet_s = self._clock.monotonic_s() - self._came_s
        silent = f"no frame for {quiet_s:.0f} s" if quiet_s >= self._patience_s else ""
        return ", ".join(filter(None, (self.trouble, silent)))

    def frames(self) -> Iterator[Frame | None]:
        """Yield frames as they come, and None whenever it is time to draw.

        Raises:
            BusDown: the bus is not there, or failed.
        """
        while self._goes_on():
            try:
                clock_s = self._clock.monotonic_s
                with closing(open_port(self._settings, clock_s, own_frames=False)) as port:
                    yield from self._from(port)
            except BusDown as error:
                if not self._patient:
                    raise
                self.trouble = str(error)
                yield None
                self._clock.wait(self._stop, AGAIN_S)

    def _goes_on(self) -> bool:
        return not self._stop.is_set() and self._clock.monotonic_s() < self._end_s

    def _from(self, port: Port) -> Iterator[Frame | None]:
        recovery = OnlyLooks()
        while self._goes_on():
            now_s = self._clock.monotonic_s()
            if now_s >= self._draw_s:
                self._draw_s = now_s + DRAW_S
                yield None
            frames = port.receive_many(max(0.0, min(self._draw_s, self._end_s) - now_s))
            port.tend(recovery)  # an interface that was removed says nothing by itself (trap 3)
            self.trouble = port.trouble
            if frames:
                self._came_s, self._patience_s = self._clock.monotonic_s(), SILENT_S
            yield from frames
