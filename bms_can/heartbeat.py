"""Cyclic frames that a BMS needs to go on, as a lease. Pure; time is an argument.

A heartbeat that outlives the program that meant it is worse than none: the battery would believe in
a master that is gone. So nobody switches it on for good (reliability rule 15): the control loop
renews a short lease again and again, and says each time whether frames may go out at all. Without
a renewal they end within `LEASE_S`, and with the process at once.
"""

from typing import NamedTuple

from bms_can.frame import Frame

LEASE_S = 1.0
GRID = 0.1  # of a period: so late a frame may be without moving those after it
NEVER = "the control loop has not renewed it yet"
LATE = f"the control loop has not renewed it for {LEASE_S:g} s"


class HeartbeatPlan(NamedTuple):
    """What goes out.

    Attributes:
        message: its name in the DBC.
        frames: the frame for each value of the rolling counter (one where there is none), at_s 0.
        period_s: time between two frames [s].
    """

    message: str
    frames: tuple[Frame, ...]
    period_s: float


class Heartbeat:
    """When the next frame is due, and whether it may go out.

    Not thread-safe: its owner holds one lock round all calls.

    Args:
        plan: what goes out.

    Attributes:
        sent: frames given out so far.
        skipped: periods in which no frame was given out although the lease held, because the
            caller came too late.
    """

    def __init__(self, plan: HeartbeatPlan) -> None:
        self.plan = plan
        self.sent = 0
        self.skipped = 0
        self._forbidden = NEVER
        self._renewed_s: float | None = None
        self._next_s: float | None = None

    def renew(self, now_s: float, forbidden: str = "") -> None:
        """Renew the lease; `forbidden`: why no frame may go out now, "" if one may."""
        self._renewed_s = now_s
        self._forbidden = forbidden

    def why_not(self, now_s: float) -> str:
        """Return why no frame may go out, "" if one may."""
        if self._renewed_s is None or self._forbidden:
            return self._forbidden
        age_s = now_s - self._renewed_s
        return "" if 0 <= age_s < LEASE_S else LATE

    def due(self, now_s: float) -> Frame | None:
        """Return the frame that is to go out now, None if none is. Each call takes it.

        What was missed is not made good: a burst would be out of time as much as a gap.
        """
        if self.why_not(now_s):
            self._next_s = None  # begins anew, at once, when it may again
            return None
        if self._next_s is None:
            self._next_s = now_s
        if now_s < self._next_s:
            return None
        late_s, period_s = now_s - self._next_s, self.plan.period_s
        self.skipped += int(late_s / period_s)
        # A little lateness must not add up; after much of it the next gap must not be short.
        self._next_s = (self._next_s if late_s < GRID * period_s else now_s) + period_s
        frame = self.plan.frames[self.sent % len(self.plan.frames)]
        self.sent += 1
        return frame._replace(at_s=now_s)

    def wait_s(self, now_s: float) -> float:
        """Return how long nothing is to be done [s], for the loop that calls `due`."""
        if self._next_s is None:
            return self.plan.period_s
        return min(self.plan.period_s, max(0.0, self._next_s - now_s))
