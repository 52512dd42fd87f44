"""How a simulated battery takes a held request: as foxBMS 2 does. Pure; time is an argument.

From the maker's source (release 1.11.0), in own words. The mode of the last frame stays in force
without a limit of time. A look each 10 ms finds the request in time or not; the sum of what it
found raises the timing error at 100 and ends it at 0. An error opens the contactors 200 ms later.
Out of idle and error leads only "standby", out of error only when nothing is wrong any more.
"""

import math
from enum import Enum

from bms_can.pack import Pack, Phase
from bms_can.profile import CommandCode

LOOK_S = 0.01
LEAST, MOST = 0.95, 1.05  # of a period: so far apart frames may be
THRESHOLD = 100  # looks
DELAY_S = 0.2
WORST_LEVEL = 3
TIMING_ERROR = "can_timing_error"
CLOSE, OPEN = CommandCode.CLOSE_CONTACTOR, CommandCode.OPEN_CONTACTOR
CLOSED = frozenset({Phase.PRECHARGING, Phase.CLOSED})
EARLY_S = 1e-6  # rounding of times


class State(Enum):
    """Of the battery's own state machine; what else there is says the pack's phase."""

    IDLE = "idle"
    READY = "ready"
    ERROR = "fault"


class RequestEar:
    """Hears the request of one battery and lets its pack follow.

    Args:
        period_s: what the battery expects [s].
        now_s: start [s].
        key: alarm that says that the request is not in time.

    Attributes:
        state: see State.
        mode: what the last frame asked for, None before the first.
        count: of looks, see the header.
        watched: the timing is watched; a build can leave that out.
    """

    def __init__(self, period_s: float, now_s: float, key: str = TIMING_ERROR) -> None:
        self._period_s = period_s
        self._key = key
        self._looked_s = now_s
        self._heard_s = self._before_s = -math.inf
        self._error_s: float | None = None
        self._closed = False
        self.state = State.IDLE
        self.mode: CommandCode | None = None
        self.count = 0
        self.watched = True

    def hear(self, code: CommandCode | None, now_s: float, pack: Pack) -> None:
        """Take a frame; its reset comes with the mode "standby". None: no mode that counts."""
        self.step(now_s, pack)
        self._before_s, self._heard_s = self._heard_s, now_s
        self.mode = None if code is None else CLOSE if code is CLOSE else OPEN
        if code is CommandCode.FAULT_RESET:
            pack.command(code, now_s)
        self._follow(now_s, pack)

    def step(self, now_s: float, pack: Pack) -> None:
        """Let time pass."""
        while self._looked_s + LOOK_S <= now_s + EARLY_S:
            self._looked_s += LOOK_S
            self._look(self._looked_s, pack)
            self._follow(self._looked_s, pack)

    def word(self, pack: Pack) -> str:
        """Return the state as the battery's state message says it."""
        said = (
            pack.phase if pack.phase is not Phase.OPEN or self.state is State.READY else self.state
        )
        return str(said.value)

    def _look(self, now_s: float, pack: Pack) -> None:
        if not self.watched:
            return
        was = self.count
        self.count = min(self.count + 1, THRESHOLD) if self._late(now_s) else max(was - 1, 0)
        if was < THRESHOLD and self.count == THRESHOLD:
            pack.raise_alarm(self._key, WORST_LEVEL)
        elif was > 0 and self.count == 0:
            pack.clear_alarm(self._key)

    def _late(self, now_s: float) -> bool:
        """Tell whether a look finds the request out of time."""
        most_s = MOST * self._period_s + EARLY_S
        apart_s = self._heard_s - self._before_s
        early = not apart_s >= LEAST * self._period_s - EARLY_S  # also before the first two
        return now_s - self._heard_s > most_s or early or apart_s > most_s

    def _follow(self, now_s: float, pack: Pack) -> None:
        """Let the contactors follow error and mode."""
        pack.step(now_s)
        closed = pack.phase in CLOSED
        if self._closed and not closed and self.mode is CLOSE:
            self.state = State.ERROR  # only an error opens while closed is being asked
        self._closed = closed
        wrong = pack.reset_required or self._key in pack.alarms
        if wrong and self._error_s is None:
            self._error_s = now_s
        if wrong and self._error_s is not None and now_s - self._error_s >= DELAY_S - EARLY_S:
            self.state = State.ERROR
            pack.switch(OPEN)
            return
        if not wrong:
            self._error_s = None
        if self.mode is OPEN:
            if not wrong:
                self.state = State.READY
            pack.command(OPEN, now_s)
        elif self.mode is CLOSE and self.state is State.READY and pack.phase is Phase.OPEN:
            pack.command(CLOSE, now_s)
