"""Body of the control thread of one device: status first, then its commands.

All in one thread, so that an interlock never judges another status than the one that is reported.
"""

import threading
from collections.abc import Callable, Sequence

from agent.clock import Clock
from agent.device import Device
from agent.executor import Executor
from agent.observer import Observer
from bms_can.block import Block
from bms_can.frame import Frame
from bms_can.guard import Heard

LEAST_GAP_S = 0.003  # at most some 300 passes a second on a busy bus


def _nothing() -> None:
    """Stand where nothing is to be done."""


class ControlLoop:
    """Steps observer and executor at each change of the battery, and at least every 0.1 s.

    Attributes:
        beats: loop passes, for the watchdog.
        foreign: frames with our control identifiers that another node sent.
        each_pass: called in every pass, after status and commands.
    """

    def __init__(
        self,
        device: Device,
        observer: Observer,
        executor: Executor,
        clock: Clock,
        on_foreign: Callable[[Frame], None],
        record: Callable[[Sequence[Frame]], object] = lambda _: None,
    ) -> None:
        self._device = device
        self._intake, self._control_ids = device.intake, device.control.ids
        self._observer = observer
        self._executor = executor
        self._clock = clock
        self._on_foreign = on_foreign
        self._record = record
        self._wake = threading.Event()
        self._stop = threading.Event()
        self.beats = 0
        self.foreign = 0
        self.each_pass: Callable[[], None] = _nothing

    def take(self, frame: Frame) -> None:
        """Take one frame; see `take_many`."""
        self.take_many((frame,))

    def take_many(self, frames: Sequence[Frame]) -> None:
        """Take frames from the bus, oldest first; called in the receive thread."""
        self._record(frames)
        if type(frames) is Block and self._control_ids.isdisjoint(frames.keys):
            if self._intake.take_many(frames):
                self._wake.set()
            return
        for frame in frames:
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame[1:3] not in self._control_ids:
            if self._intake.take(frame):
                self._wake.set()
            return
        known = bool(self._device.control.foreign)
        if self._device.control.hear(frame) is Heard.FOREIGN:
            self.foreign += 1
            if not known:  # once: another master may send a hundred frames a second
                self._on_foreign(frame)
        self._wake.set()

    def wake(self) -> None:
        """Have a look now; may be called from any thread."""
        self._wake.set()

    def run(self) -> None:
        """Step until `stop`. To be the target of a thread."""
        while not self._stop.is_set():
            self.beats += 1
            self._wake.clear()
            pause_s = self.step()
            self._clock.wait(self._wake, pause_s)
            self._clock.wait(self._stop, LEAST_GAP_S)

    def step(self) -> float:
        """Look once; return when to look again at the latest [s]."""
        self._observer.step()
        pause_s = self._executor.step()
        self.each_pass()
        return pause_s

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()
        self._wake.set()
