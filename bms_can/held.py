"""A request that a BMS wants to hear all the time, at rest or held closed. Pure.

The frame is the command: closed lasts as long as it is sent. So closed is a *hold*: it begins with
the first frame of one close command, and ends with the first thing that is not as it must be. After
its end no frame of it is given out, ever; a new one needs a new command. docs/adr/0014.

    rest --ask(close)--> asked --first frame--> hold --prove--> proven hold
      ^___________________|______________________|________________|   by `end`, or in `due`
"""

from collections import deque

from bms_can.frame import Frame
from bms_can.held_plan import Asked, Ended, HeldPlan, Hold

LEASE_S = 1.0
MOST_PERIODS = 3  # after a longer gap the BMS may have noticed: the hold is over
GRID = 0.04  # of a period: so late a frame may be without moving those after it
POLL = 0.05  # of a period: between two looks for what does not come at a known time
HELD_UP = 0.5  # of a period: who needs so long for a send may have sent a frame too late
PROOF_GRACE_S = 1.0  # the command itself ends an unproven hold; this only if it forgets
KEPT_ENDS = 16
NEVER = "the control loop has not renewed it yet"
LATE = f"the control loop has not renewed it for {LEASE_S:g} s"


class HeldRequest:
    """Which frame is due, and whether it may go out. Not thread-safe: its owner holds one lock.

    The owner gives each frame that `due` returns to the bus before it does anything else, and says
    with `sent`, `failed`, `back` and `lost` what became of it.

    Args:
        plan: what the battery wants to hear.

    Attributes:
        hold: closed is in force; None: at rest.
        on_way: a frame that has not come back yet.
        ends: holds that are over, oldest first, until the owner takes them.
        last_end: the newest of them.
        last_s: when the newest frame went out [s]; None before the first.
        sent_frames, skipped: frames so far, and periods in which none went out though one was due.
        at_rest_since: frames since the last closed one; None before the first closed one.
    """

    def __init__(self, plan: HeldPlan) -> None:
        self.plan = plan
        self.hold: Hold | None = None
        self.on_way: Frame | None = None
        self.ends: deque[Ended] = deque(maxlen=KEPT_ENDS)
        self.last_end: Ended | None = None
        self.last_s: float | None = None
        self.sent_frames = self.skipped = 0
        self.at_rest_since: int | None = None
        self._asked: Asked | None = None
        self._renewed_s: float | None = None
        self._silent = self._breaks = self._stops = NEVER
        self._next_s: float | None = None
        self._paused_until_s = float("-inf")
        self._on_way_of: Asked | None = None

    @property
    def why_silent(self) -> str:
        """Why not even rest may go out, "" if it may. A lease that is late only ends holds."""
        return self._silent

    # --- the thread that judges

    def renew(self, now_s: float, silent: str = "", breaks: str = "", stops: str = "") -> None:
        """Renew the lease.

        Args:
            now_s: the moment [s].
            silent: why no frame may go out at all, "" if rest may.
            breaks: why no hold may be in force, "" if one may.
            stops: why nothing but rest may go out.
        """
        self._renewed_s = now_s
        self._silent, self._breaks, self._stops = silent, breaks, stops
        self._end_what_is_over(now_s, "")

    def ask(self, asked: Asked, now_s: float) -> None:
        """Let a command have its frames; it takes the place of any before. An open ends a hold."""
        if self._asked is not None:
            self.end(self._asked.command_id, f"command {asked.command_id} takes its place", now_s)
        if self.hold is not None and not asked.opens:
            asked.refused = f"held by command {self.hold.asked.command_id}"
            return
        if self.hold is not None:
            self._end_hold(f"command {asked.command_id} opens", now_s)
        self._asked = asked

    def withdraw(self, asked: Asked, reason: str) -> bool:
        """Take back a command that has not sent a frame; tell whether none went out, or ever will.

        One whose first frame is out is left as it is, also if it is over.
        """
        if asked.frames:
            return False
        asked.refused = asked.refused or reason
        if self._asked is asked:
            self._asked = None
        return True

    def leave(self, reason: str, now_s: float) -> None:
        """End a hold and all that waits for a frame; opens only may still be asked for."""
        if self.hold is not None:
            self._end_hold(reason, now_s)
        if self._asked is not None and not self._asked.opens:
            self._asked.refused, self._asked = reason, None

    def prove(self, command_id: str) -> None:
        """The battery has shown the effect: the hold lasts until something ends it."""
        if self.hold is not None and self.hold.asked.command_id == command_id:
            self.hold = self.hold._replace(proven=True)

    def end(self, command_id: str, reason: str, now_s: float) -> None:
        """End what a command has begun or asked for; nothing if that is over."""
        if self.hold is not None and self.hold.asked.command_id == command_id:
            self._end_hold(reason, now_s)
        if self._asked is not None and self._asked.command_id == command_id:
            self._asked.refused, self._asked = reason, None

    def at_rest(self, now_s: float) -> tuple[str, str]:
        """Return who holds it closed, and why it is not sent regularly; "" for what is well."""
        held_by = "" if self.hold is None else self.hold.asked.command_id
        return held_by, self._silent or self._gap(now_s)

    # --- the thread that sends

    def due(self, now_s: float, cannot: str = "", silent: str = "") -> Frame | None:
        """Return the frame that is to go to the bus now, None if none is. Each call takes it.

        Args:
            now_s: the moment [s].
            cannot: why nothing but rest may go out, as it is right now.
            silent: why not even rest may; until the next renewal.
        """
        self._silent = self._silent or silent
        self._end_what_is_over(now_s, cannot)
        asked = self._asked
        forced = asked is not None and asked.opens
        if not forced:
            if self.why_silent:
                self._next_s = None  # begins anew, at once, when it may again
                return None
            if self.on_way is not None or now_s < self._paused_until_s:
                return None
        if self._next_s is None:
            self._next_s = now_s
        if now_s < self._next_s:
            return None
        self._plan_next(now_s)
        return self._frame(now_s)._replace(at_s=now_s)

    def sent(self, frame: Frame, now_s: float) -> None:
        """The bus took a frame; `now_s`: after the send [s]."""
        self.sent_frames += 1
        self.last_s, self.on_way = frame.at_s, frame
        if now_s - frame.at_s > GRID * self.plan.period_s and self._next_s is not None:
            self._next_s = now_s + self.plan.period_s  # it left late: the next one moves, too
        hold, asked = self.hold, self._asked
        self._on_way_of = asked if hold is None else hold.asked
        if hold is None and self.at_rest_since is not None:
            self.at_rest_since += 1
        if hold is not None:
            self.at_rest_since = 0
            if not hold.asked.frames:
                hold.asked.frames.append(frame)
            if now_s - frame.at_s > HELD_UP * self.plan.period_s:
                self._end_hold("the process was held up while a frame left", now_s)
        elif asked is not None:
            asked.frames.append(frame)
            if len(asked.frames) >= asked.count:
                self._asked = None

    def failed(self, error: str, now_s: float) -> None:
        """The bus or the guard did not take the frame. Only an open tries again."""
        if self.hold is not None:
            self._end_hold(error, now_s)
        elif self._asked is not None and self._asked.opens:
            self._asked.refused = error
        elif self._asked is not None:
            self._asked.refused, self._asked = error, None

    def back(self) -> None:
        """The frame on its way came back from the bus."""
        self.on_way = None
        if self._on_way_of is not None:
            self._on_way_of.returned = True

    def lost(self, now_s: float, pause_s: float) -> None:
        """It does not come back. The next frame waits `pause_s` [s], unless an open wants it."""
        self.on_way, self._paused_until_s = None, now_s + pause_s
        self._next_s = None
        if self._on_way_of is not None and self._on_way_of.returned is None:
            self._on_way_of.returned = False
        if self.hold is not None:
            self._end_hold("a frame did not come back from the bus", now_s)

    def wait_s(self, now_s: float) -> float:
        """Return how long nothing is to be done [s], for the loop that calls `due`."""
        least_s = POLL * self.plan.period_s
        if self._next_s is None:
            return least_s
        left_s = max(0.0, self._next_s - now_s)
        return max(left_s, least_s) if self.on_way is not None else left_s

    # --- inside

    def _lease(self, now_s: float) -> str:
        if self._renewed_s is None:
            return NEVER
        return "" if 0 <= now_s - self._renewed_s < LEASE_S else LATE

    def _end_what_is_over(self, now_s: float, cannot: str) -> None:
        """End a hold, or refuse what waits for its first frame, when something is wrong."""
        if self.hold is not None:
            reason = self._wrong(now_s, cannot) or self._unproven(now_s)
            if reason:
                self._end_hold(reason, now_s)
        asked = self._asked
        if asked is None:
            return
        if now_s >= asked.expires_s and not (asked.opens and asked.frames):
            asked.refused, self._asked = "the life of the command was over", None
            return
        if asked.opens:
            return
        reason = self._wrong(now_s, cannot) if asked.holds else self._wrong_for_all(now_s, cannot)
        if reason:
            asked.refused, self._asked = reason, None

    def _wrong_for_all(self, now_s: float, cannot: str) -> str:
        """Return why nothing but rest may go out."""
        return self._lease(now_s) or self._silent or self._stops or cannot

    def _wrong(self, now_s: float, cannot: str) -> str:
        """Return why closed may not go out."""
        return self._wrong_for_all(now_s, cannot) or self._breaks or self._gap(now_s)

    def _unproven(self, now_s: float) -> str:
        hold = self.hold
        if hold is None or hold.proven:
            return ""
        over = now_s - hold.since_s >= hold.asked.proof_s + PROOF_GRACE_S
        return "its effect was not proven in time" if over else ""

    def _gap(self, now_s: float) -> str:
        """Return that the last frame is too long ago for the BMS to have heard one request."""
        if self.last_s is None:
            return "no frame went out before it"
        gap_s = now_s - self.last_s
        late = gap_s > MOST_PERIODS * self.plan.period_s
        return f"no frame for {gap_s:.2f} s" if late else ""

    def _plan_next(self, now_s: float) -> None:
        """Set the next deadline. No catching up; much lateness moves what follows."""
        due_s, period_s = self._next_s, self.plan.period_s
        assert due_s is not None  # noqa: S101 - `due` has just set it
        late_s = now_s - due_s
        self.skipped += int(late_s / period_s)
        self._next_s = (due_s if late_s < GRID * period_s else now_s) + period_s

    def _frame(self, now_s: float) -> Frame:
        asked = self._asked
        if asked is not None and asked.holds:
            self.hold, self._asked = Hold(asked, now_s), None
        if self.hold is not None:
            return self.hold.asked.frame
        return self.plan.rest if asked is None else asked.frame

    def _end_hold(self, reason: str, now_s: float) -> None:
        hold, self.hold = self.hold, None
        assert hold is not None  # noqa: S101 - callers have looked
        asked = hold.asked
        asked.refused = asked.refused or reason
        if not asked.frames:
            return
        self.last_end = Ended(asked.command_id, now_s, now_s - hold.since_s, hold.proven, reason)
        self.ends.append(self.last_end)
