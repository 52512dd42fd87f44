"""Body of the can-rx thread: open, receive, take in, reopen. It ends only when told to.

Health is decided by the freshness of messages, never by the absence of errors: after a USB adapter
is pulled, python-can reports one error and then silence for ever (traps 1 and 3).
"""

import threading
from collections.abc import Callable, Sequence

from bms_can.babble import Babble
from bms_can.busoff import BusOff
from bms_can.errors import BusDown
from bms_can.frame import Frame
from bms_can.port import BusCounts, Port

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 1.0  # back in service 2 s after any fault ends (reliability row T22)
POLL_S = 0.05  # also the longest doubt about an empty queue, see Port.drained_s
NOT_OPEN = "the bus is not open"


class Receiver:
    """Keeps one bus open and hands each frame on.

    Args:
        open_bus: opens the bus anew; raises BusDown.
        take: called with the frames of each look, oldest first, in this thread.
        silence_s: after so long without any frame the bus is reopened [s].
        on_trouble: called in this thread when the bus fails, with the reason, once for each reason;
            and with "" at the first frame after that.
        pause: waits for the event or so long [s], whichever comes first.

    Attributes:
        port: the open port, None while there is none.
        opened: how often the bus was opened.
        frames: data frames handed on.
        last_error: text of the last failure, "" while there was none.
        beats: loop passes, for the watchdog.
        counts: what is counted on the bus, over all reopenings.
        recovery: from bus-off.
        babble: notices a node that sends too much.
        doubt: why no frame should be sent that may come late, "" while all is well or not known.
    """

    def __init__(
        self,
        open_bus: Callable[[], Port],
        take: Callable[[Sequence[Frame]], object],
        silence_s: float = 5.0,
        on_trouble: Callable[[str], None] = lambda _: None,
        pause: Callable[[threading.Event, float], object] = lambda stop, s: stop.wait(s),
    ) -> None:
        self._open_bus = open_bus
        self._take = take
        self._silence_s = silence_s
        self._on_trouble = on_trouble
        self._pause = pause
        self._trouble = ""
        self._stop = threading.Event()
        self.port: Port | None = None
        self.opened = 0
        self.frames = 0
        self.last_error = ""
        self.beats = 0
        self.counts = BusCounts()
        self.recovery = BusOff()
        self.babble = Babble()
        self.doubt = NOT_OPEN

    def run(self) -> None:
        """Receive until `stop`. To be the target of a thread."""
        wait_s = FIRST_WAIT_S
        while not self._stop.is_set():
            self.beats += 1
            before = self.frames
            try:
                self._listen()
            except BusDown as error:
                self.last_error = str(error)
                self._tell(self.last_error)
                wait_s = FIRST_WAIT_S if self.frames > before else wait_s
                self._pause(self._stop, wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            else:
                # Silence, not failure: reopen at once. A silent battery can still be told to open.
                wait_s = FIRST_WAIT_S

    def facts(self) -> dict[str, object]:
        """Return how the bus is doing, for people; may be called from any thread."""
        port, counts = self.port, self.counts
        link = None if port is None else port.link
        return {
            "trouble": self._closed() if port is None else port.trouble or self.babble.text,
            "doubt": self.doubt,
            "state": None if link is None else link.state,
            "bitrate": None if link is None else link.bitrate,
            "restart_ms": None if link is None else link.restart_ms,
            "opened": self.opened,
            "frames": self.frames,
            "lost": counts.lost,
            "dropped": dict(counts.dropped),
            "errors": dict(counts.errors),
            "babbling_s": self.babble.seconds,
            "bus_off_recoveries": self.recovery.recoveries,
            "buffer_bytes": counts.buffer_bytes,
        }

    def _closed(self) -> str:
        return f"{NOT_OPEN}: {self._trouble}" if self._trouble else NOT_OPEN

    def stop(self) -> None:
        """Let `run` return within its poll time."""
        self._stop.set()

    def _listen(self) -> None:
        """Open the bus, hand on frames until silence, stop or BusDown, and close it."""
        port = self._open_bus()
        self.opened += 1
        self.counts.buffer_bytes = port.counts.buffer_bytes
        port.counts = self.counts
        self.port = port  # in doubt until the first look at it
        try:
            self._pump(port)
        finally:
            self.port, self.doubt = None, NOT_OPEN
            port.close()

    def _pump(self, port: Port) -> None:
        quiet_polls = 0
        while not self._stop.is_set() and quiet_polls * POLL_S < self._silence_s:
            self.beats += 1
            frames = port.receive_many(POLL_S)
            port.tend(self.recovery)
            self.babble.see(frames, port.now_s())
            self.doubt, trouble = port.doubt, port.trouble or self.babble.text
            if trouble:
                self._tell(trouble)
            if not frames:
                # While we know why it is silent, opening it anew would not help.
                quiet_polls = 0 if port.trouble else quiet_polls + 1
                continue
            quiet_polls = 0
            self.frames += len(frames)
            if not trouble:
                self._tell("")
            self._take(frames)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._on_trouble(trouble)
