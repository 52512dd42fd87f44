"""Puts the frames of a log on buses at the log's own pace, on a clock that it is given.

The schedule is absolute: a frame is due at the start plus its distance from the first frame, so
that nothing adds up over hours. A frame never goes out early. What is overdue goes out at once, in
order; how late frames were is counted.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from agent.clock import Clock
from bms_can.errors import BadLogLine, SendFailed
from bms_can.frame import Frame

TICK_S = 0.001
BACK_S = 1.0  # the log's time steps back by more than this: another recording begins
FULL_S = 1.0  # a queue of the interface that stays full for so long is a bus without a listener
CLASSICAL_BYTES = 8
FLEXIBLE, CONTROL, OTHER_CHANNEL = "FD frame, needs --fd", "control frame", "other channel"

Send = Callable[[Frame], None]
Entry = Frame | BadLogLine


@dataclass(frozen=True, slots=True)
class PaceRules:
    """How the times of the log become times of the bus.

    Attributes:
        tick_s: a frame that is later than this counts as late [s].
        skip_s: a gap of the log that is longer is left out [s], None: never.
        apart_s: do not look at times: send frames so far apart [s]. None: look at them.
    """

    tick_s: float = TICK_S
    skip_s: float | None = None
    apart_s: float | None = None


class Pace:
    """Says when each frame is due.

    Attributes:
        due_s: when the newest frame was due [s].
    """

    def __init__(self, rules: PaceRules, start_s: float) -> None:
        self._rules = rules
        self._start_s = start_s
        self._base_s: float | None = None
        self._newest_s = 0.0
        self._count = 0
        self.due_s = start_s

    def due(self, at_s: float) -> float:
        """Return when a frame that the log has at `at_s` is due [s, the clock]."""
        rules = self._rules
        if rules.apart_s is not None:
            self.due_s = self._start_s + self._count * rules.apart_s
            self._count += 1
            return self.due_s
        if self._base_s is None:
            self._base_s = self._newest_s = at_s
        gap_s = at_s - self._newest_s
        if gap_s < -BACK_S or (rules.skip_s is not None and gap_s > rules.skip_s):
            self._base_s, self._start_s = at_s, self.due_s + rules.tick_s
            self._newest_s = at_s
        self._newest_s = max(self._newest_s, at_s)
        self.due_s = max(self.due_s, self._start_s + (at_s - self._base_s))
        return self.due_s

    def begin_again(self) -> None:
        """The next frame is the first of another pass over the log, a tick after the last one."""
        self._base_s = None
        self._start_s = self.due_s + (self._rules.apart_s or self._rules.tick_s)
        self._count = 0


@dataclass(slots=True)
class Tally:
    """What became of a log's entries.

    Attributes:
        sent: frames that the buses took; late: of them, those more than a tick late.
        worst_s: largest lateness [s].
        full: times at which a queue was full and the frame had to wait.
        left_out: entries that were not sent, by reason.
    """

    sent: int = 0
    late: int = 0
    worst_s: float = 0.0
    full: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which frames go where.

    Attributes:
        ways: how to send the frames of each channel of the log; "" takes all that have none.
        control: identifiers (id, extended) that are not sent.
        flexible: frames of more than 8 bytes may be sent.
        most: end after so many frames, None: never.
    """

    ways: Mapping[str, Send]
    control: frozenset[tuple[int, bool]] = frozenset()
    flexible: bool = False
    most: int | None = None

    def way(self, frame: Frame) -> Send | str:
        """Return how to send a frame, or why it is left out."""
        if (frame.can_id, frame.extended) in self.control:
            return CONTROL
        if len(frame.data) > CLASSICAL_BYTES and not self.flexible:
            return FLEXIBLE
        return self.ways.get(frame.channel) or self.ways.get("") or OTHER_CHANNEL


class Player:
    """Plays logs. Ends early when `stop` is set.

    Attributes:
        tally: what happened so far.
    """

    def __init__(
        self, clock: Clock, choice: Choice, rules: PaceRules, stop: threading.Event
    ) -> None:
        self._clock = clock
        self._choice = choice
        self._rules = rules
        self._stop = stop
        self._pace: Pace | None = None
        self.tally = Tally()

    @property
    def done(self) -> bool:
        """Nothing more is to be sent."""
        most = self._choice.most
        return self._stop.is_set() or (most is not None and self.tally.sent >= most)

    def play(self, entries: Iterable[Entry]) -> None:
        """Send the frames of one pass over a log.

        Raises:
            SendFailed: a bus does not take frames any more.
        """
        if self._pace is not None:
            self._pace.begin_again()
        for entry in entries:
            if self.done:
                return
            if isinstance(entry, BadLogLine):
                self.tally.left_out[entry.reason] += 1
                continue
            way = self._choice.way(entry)
            if isinstance(way, str):
                self.tally.left_out[way] += 1
            else:
                self._send_in_time(entry, way)

    def _send_in_time(self, frame: Frame, way: Send) -> None:
        clock = self._clock
        now_s = clock.monotonic_s()
        if self._pace is None:
            self._pace = Pace(self._rules, now_s)
        due_s = self._pace.due(frame.at_s)
        if due_s > now_s:
            now_s = self._sleep_until(due_s, now_s)
            if self._stop.is_set():
                return
        self._put(frame, way)
        late_s = now_s - due_s
        if self._rules.apart_s != 0:  # as fast as possible: nothing is ever late
            self.tally.late += late_s > self._rules.tick_s
            self.tally.worst_s = max(self.tally.worst_s, late_s)
        self.tally.sent += 1

    def _sleep_until(self, moment_s: float, now_s: float) -> float:
        """Wait; return the time then. A wait that ends too early is no wait."""
        while now_s < moment_s and not self._stop.is_set():
            self._clock.wait(self._stop, moment_s - now_s)
            now_s = self._clock.monotonic_s()
        return now_s

    def _put(self, frame: Frame, way: Send) -> None:
        """Send; while the queue of the interface is full, try the same frame again."""
        end_s: float | None = None
        while True:
            try:
                way(frame)
            except SendFailed:
                now_s = self._clock.monotonic_s()
                end_s = now_s + FULL_S if end_s is None else end_s
                if now_s >= end_s or self._stop.is_set():
                    raise
                self.tally.full += 1
                self._clock.wait(self._stop, self._rules.tick_s or TICK_S)
            else:
                return
