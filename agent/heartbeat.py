"""Body of the heartbeat thread of one device: sends what its lease lets out, one frame at a time.

Renewed by the control thread, so that a control loop that hangs ends it. At most one frame is on
its way: while the last one has not come back the bus does not take them, and more would only wait
in a queue (reliability rule 21). One that is lost latches nothing: it asks for nothing. But what is
sent behind it would come late, so no close goes out until a heartbeat has come back again.
"""

import threading
from collections.abc import Callable, Mapping

from agent.clock import Clock
from agent.device import Device
from agent.echoes import ECHO_S, LONGEST_WAIT_S
from agent.errors import JournalFailed
from bms_can.errors import FrameRefused, SendFailed
from bms_can.frame import Frame
from bms_can.guard import GuardEntry
from bms_can.heartbeat import Heartbeat, HeartbeatPlan
from bms_can.profile import Profile

RENEW_S = 0.2  # the lock-out stands on the disk: not looked at in each of 300 passes a second
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # after a frame that did not come back
LOST = "the last one did not come back from the bus"


def allowed(profile: Profile, *, heartbeat: bool) -> tuple[GuardEntry, ...]:
    """Return what the guard lets out; without a heartbeat its frame is anybody else's business."""
    plan = profile.heartbeat
    if heartbeat or plan is None:
        return profile.guard
    return tuple(
        entry for entry in profile.guard if not any(entry.matches(each) for each in plan.frames)
    )


class HeartbeatSender:
    """The heartbeat of one device.

    Args:
        device: whose.
        plan: what is sent.
        clock: time.
        lockout: returns the local lock-out, "" while there is none; raises JournalFailed.
        doubt: returns why a frame could be late or lost on the bus, "" while all is well; None:
            what stops a close. Where devices share a bus that would be too much: two of them, each
            waiting for the other's lost heartbeat, would wait for ever.

    Attributes:
        beats: loop passes, for the watchdog.
        trouble: why the last frame was not sent, "" if it was.
    """

    def __init__(
        self,
        device: Device,
        plan: HeartbeatPlan,
        clock: Clock,
        lockout: Callable[[], str],
        doubt: Callable[[], str] | None = None,
    ) -> None:
        self._device = device
        self._clock = clock
        self._lockout = lockout
        self._doubt = doubt or device.bus_doubt
        self._lease = Heartbeat(plan)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._renewed_s = -RENEW_S
        self._last: Frame | None = None
        self._before, self._sent_s = 0, 0.0
        self._pause_s = FIRST_PAUSE_S
        self.beats = 0
        self.trouble = ""

    def renew(self) -> None:
        """Renew the lease; called by the control loop in each pass."""
        now_s = self._clock.monotonic_s()
        if now_s - self._renewed_s < RENEW_S:
            return
        self._renewed_s = now_s
        forbidden = self._forbidden()
        with self._lock:
            self._lease.renew(self._clock.monotonic_s(), forbidden)

    def run(self) -> None:
        """Send until `stop`. To be the target of a thread."""
        while not self._stop.is_set():
            self.beats += 1
            self._clock.wait(self._stop, self.step())

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()

    def step(self) -> float:
        """Send what is due; return how long nothing is to be done [s]."""
        now_s = self._clock.monotonic_s()
        if self._is_lost(now_s):
            return min(ECHO_S, self._lease.plan.period_s)
        with self._lock:
            frame = self._lease.due(now_s)
            if frame is None:
                self.trouble = self._lease.why_not(now_s) or self.trouble
        if frame is not None:
            self._send(frame, now_s)
        with self._lock:
            return self._lease.wait_s(self._clock.monotonic_s())

    def facts(self) -> Mapping[str, object]:
        """Return how it goes, for people."""
        with self._lock:
            why = self._lease.why_not(self._clock.monotonic_s()) or self.trouble
            return {"why_not": why, "sent": self._lease.sent, "skipped": self._lease.skipped}

    def _forbidden(self) -> str:
        device = self._device
        try:
            lockout = self._lockout()
        except JournalFailed as error:
            return f"the journal cannot be read: {error}"
        latched = device.control.unsafe or device.control.foreign
        return (
            (f"local lock-out: {lockout}" if lockout else "")
            or (f"latched: {latched}" if latched else "")
            or self._doubt()
        )

    def _send(self, frame: Frame, now_s: float) -> None:
        self._before = self._device.control.outstanding(frame)
        try:
            self._device.control.send(frame, now_s)
        except (FrameRefused, SendFailed) as error:
            self.trouble, self._last = str(error), None
            return
        self._sent_s = self._clock.monotonic_s()
        self.trouble, self._last = "", frame if self._device.echo else None

    def _is_lost(self, now_s: float) -> bool:
        """Tell whether to wait: the last frame is still on its way, or its pause is not over."""
        last, control = self._last, self._device.control
        if last is None:
            return False
        drained_s = control.drained_s  # before the look at what came
        if control.outstanding(last) <= self._before:
            self._last, self._pause_s, control.stuck = None, FIRST_PAUSE_S, ""
            return False
        waited_s = now_s - self._sent_s
        if waited_s < ECHO_S:
            return True
        self.trouble = LOST
        if drained_s > self._sent_s + ECHO_S or waited_s > LONGEST_WAIT_S:
            control.stuck = f"heartbeat: {LOST}"
        if waited_s < self._pause_s:
            return True
        self._last, self._pause_s = None, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return False
