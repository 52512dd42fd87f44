"""Status over a log: every change with its time, on the log's own clock.

The same intake and the same derivation as on a live bus. Silence inside a log shows at the moment
at which a deadline passes, not at the next frame.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import inf, nextafter
from typing import NamedTuple

from bms_can.database import Database
from bms_can.families import intake_of
from bms_can.frame import Frame
from bms_can.profile import Profile
from bms_can.signals import Sample, Signals
from bms_can.status import NOT_HEARD, BmsStatus, derive_status, meaning_of

AFTER_DEADLINE_S = 1e-6  # a message is late only after its deadline, not at it
# Channels are merged into one file a little out of order: up to 22 ms in a recording of a car. So
# another channel's frame says only that ours has come at least so far [s].
CHANNEL_SKEW_S = 0.05


class Change(NamedTuple):
    """The status from `at_s` [s, the log's clock] on; `rel_s` since the first frame of the log."""

    at_s: float
    rel_s: float
    status: BmsStatus


class Timeline:
    """Derives the status frame by frame and yields its changes. One use.

    It looks when a frame says something new, when a deadline passes, when a message comes back
    after that, and when the hold time of the current direction is over. `columnar/timeline.py`
    finds the frames that can matter in columns and gives only these to the same steps.

    Attributes:
        intake: values and counts so far.
        status: the newest status, None before the first frame.
        first_s, now_s: time of the first frame and of the newest [s, the log's clock].
        awaited: the messages and signals whose age the status depends on, with deadlines [s].
    """

    def __init__(self, profile: Profile, database: Database) -> None:
        self._profile = profile
        self.intake = intake_of(profile, database)
        self.status: BmsStatus | None = None
        self.first_s: float | None = None
        self.now_s = 0.0
        self._next_s = inf
        self._late: frozenset[str] = frozenset()
        self.awaited = awaited(profile)
        self._matters = frozenset(name.split(".", 1)[0] for name in self.awaited)
        self._said: dict[str, object] = {}

    def run(self, frames: Iterable[Frame]) -> Iterator[Change]:
        """Take all frames and yield the changes in order."""
        for frame in frames:
            yield from self.take(frame)

    def take(self, frame: Frame) -> Iterator[Change]:
        """Take one frame; yield the changes up to and including it."""
        if self.first_s is None:
            yield from self.begin(frame.at_s)
        ours = frame.channel in ("", self._profile.channel) or self._profile.channel is None
        yield from self.pass_time(frame.at_s if ours else frame.at_s - CHANNEL_SKEW_S)
        accepted = self.intake.accept(frame)
        if accepted is not None:
            yield from self.meet(*accepted, frame)

    def begin(self, at_s: float) -> Iterator[Change]:
        """Begin a log whose first frame comes at `at_s` [s]."""
        self.first_s = self.now_s = at_s
        yield from self._look(at_s)

    def pass_time(self, until_s: float) -> Iterator[Change]:
        """Let time pass without a frame; yield the changes that it brings [s, the log's clock]."""
        while self._next_s < until_s:
            yield from self._look(max(self.now_s, self._seen_s()))
        self.now_s = max(self.now_s, until_s)

    def _seen_s(self) -> float:
        """Return when the next moment shows [s]: a hold's end at it, a deadline after it."""
        if self._next_s == self._hold_ends_s():
            return self._next_s
        return max(self._next_s + AFTER_DEADLINE_S, nextafter(self._next_s, inf))

    def meet(self, message: str, samples: Mapping[str, Sample], frame: Frame) -> Iterator[Change]:
        """Take what a frame says that passed every check, at the present time."""
        self.intake.store(message, samples, frame)
        if message not in self._matters:
            return
        said = {message: True, **meaning_of(self._profile, samples)}
        news = any(self._said.get(part) != says for part, says in said.items())
        self._said |= said
        if news or not self._late.isdisjoint((message, *samples)):
            yield from self._look(self.now_s)
        else:
            self._plan()

    def renew(self, frames: Iterable[Frame], until_s: float) -> None:
        """Take frames that passed every check and say nothing new, up to `until_s` [s].

        Only for who knows that no deadline passed before them.
        """
        for frame in frames:
            read = self.intake.read(frame)
            if read is not None:
                self.intake.store(*read, frame)
        self.now_s = max(self.now_s, until_s)
        self._plan()

    def next_s(self, names: Iterable[str]) -> float:
        """Return when time alone may change the status next, as far as these names go [s]."""
        signals = self.intake.table.snapshot()
        moments = [self._newest_s(signals, name) + self.awaited[name] for name in names]
        moments.append(self._hold_ends_s())
        return min((each for each in moments if each >= self.now_s), default=inf)

    def _plan(self) -> None:
        """Find the next moment at which the status can change without a frame."""
        signals, now_s, next_s = self.intake.table.snapshot(), self.now_s, self._hold_ends_s()
        late = []
        if next_s < now_s:
            next_s = inf
        for name, deadline_s in self.awaited.items():
            moment_s = self._newest_s(signals, name) + deadline_s
            if moment_s < now_s:
                late.append(name)
            elif moment_s < next_s:
                next_s = moment_s
        self._late, self._next_s = frozenset(late), next_s

    def _newest_s(self, signals: Signals, name: str) -> float:
        """Return when a message or signal last came [s], the start of the log if never."""
        newest = signals.heard.get(name) or signals.samples.get(name)
        return (self.first_s or 0.0) if newest is None else newest.at_s

    def _hold_ends_s(self) -> float:
        """Return when a new direction of the current is reported, if it stays so [s]."""
        flow = None if self.status is None else self.status.flow
        rule = self._profile.status.current
        if flow is None or rule is None or flow.wanted is flow.reported:
            return inf
        ends_s = flow.wanted_since_s + rule.hold_s
        while ends_s - flow.wanted_since_s < rule.hold_s:  # as the status rounds
            ends_s = nextafter(ends_s, inf)
        return ends_s

    def _look(self, now_s: float) -> Iterator[Change]:
        self.now_s = now_s
        before = self.status
        after = derive_status(
            self.intake.table.snapshot(),
            self._profile,
            now_s,
            listening_since_s=self.first_s or 0.0,
            before=before,
        )
        self.status = after
        self._plan()
        if before is None or _told(before) != _told(after):
            yield Change(now_s, now_s - (self.first_s or 0.0), after)


def awaited(profile: Profile) -> dict[str, float]:
    """Return the messages and signals whose age the status depends on, with their deadlines [s]."""
    found = {message: profile.deadlines_s[message] for message in profile.required}
    for signal in profile.status_signals():
        name = signal if signal in profile.deadlines_s else signal.split(".")[0]
        found[name] = profile.deadlines_s[name]
    return found


def _told(status: BmsStatus) -> tuple[object, ...]:
    """Return what a person who reads a timeline is told when it changes.

    Also that all messages were heard at last and the status still is unknown: for another reason.
    """
    return *what_counts(status), status.why.startswith(NOT_HEARD)


def what_counts(status: BmsStatus) -> tuple[object, ...]:
    """Return the parts of a status whose change is a change."""
    alarms = tuple((alarm.key, alarm.level) for alarm in status.alarms)
    return status.operating, status.disconnected, status.alarm_count, status.contactor, alarms
