"""Status over a log: every change with its time, on the log's own clock.

The same intake and the same derivation as on a live bus. Silence inside a log shows at the moment
at which a deadline passes, not at the next frame.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.profile import Profile
from bms_can.status import BmsStatus, derive_status

AFTER_DEADLINE_S = 1e-6  # a message is late only after its deadline, not at it


class Change(NamedTuple):
    """The status from `at_s` [s, the log's clock] on; `rel_s` since the first frame of the log."""

    at_s: float
    rel_s: float
    status: BmsStatus


class Timeline:
    """Derives the status frame by frame and yields its changes. One use.

    Attributes:
        intake: values and counts so far.
        status: the newest status, None before the first frame.
        first_s, now_s: time of the first frame and of the newest [s, the log's clock].
    """

    def __init__(self, profile: Profile, database: Database) -> None:
        self._profile = profile
        self.intake = Intake(profile, database)
        self.status: BmsStatus | None = None
        self.first_s: float | None = None
        self.now_s = 0.0
        self._next_deadline_s = float("inf")
        watched = {*profile.required, *(alarm.signal.split(".")[0] for alarm in profile.alarms)}
        self._watched = tuple(watched)

    def run(self, frames: Iterable[Frame]) -> Iterator[Change]:
        """Take all frames and yield the changes in order."""
        for frame in frames:
            yield from self.take(frame)

    def take(self, frame: Frame) -> Iterator[Change]:
        """Take one frame; yield the changes up to and including it."""
        if self.first_s is None:
            self.first_s = self.now_s = frame.at_s
            self._plan_deadline()
            yield from self._look(frame.at_s)
        yield from self.pass_time(frame.at_s)
        if self.intake.take(frame):
            yield from self._look(self.now_s)
        self._plan_deadline()

    def pass_time(self, until_s: float) -> Iterator[Change]:
        """Let time pass without a frame; yield the changes that silence brings [s, log's clock]."""
        while self._next_deadline_s < until_s:
            self.now_s = max(self.now_s, self._next_deadline_s + AFTER_DEADLINE_S)
            yield from self._look(self.now_s)
            self._plan_deadline()
        self.now_s = max(self.now_s, until_s)

    def _plan_deadline(self) -> None:
        """Find the next moment at which a message that came becomes late."""
        heard = self.intake.table.heard()
        start_s = self.first_s or 0.0
        moments = (
            (heard[message].at_s if message in heard else start_s)
            + self._profile.deadlines_s[message]
            for message in self._watched
        )
        self._next_deadline_s = min(
            (moment for moment in moments if moment > self.now_s), default=float("inf")
        )

    def _look(self, now_s: float) -> Iterator[Change]:
        before = self.status
        after = derive_status(
            self.intake.table.snapshot(),
            self._profile,
            now_s,
            listening_since_s=self.first_s or 0.0,
            before=before,
        )
        self.status = after
        if before is None or what_counts(before) != what_counts(after):
            yield Change(now_s, now_s - (self.first_s or 0.0), after)


def what_counts(status: BmsStatus) -> tuple[object, ...]:
    """Return the parts of a status whose change is a change."""
    alarms = tuple((alarm.key, alarm.level) for alarm in status.alarms)
    return status.operating, status.disconnected, status.alarm_count, status.contactor, alarms
