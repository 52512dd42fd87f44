"""What a message says that may change a status or let a command go on. Pure.

Most of what changes on a bus changes nothing: a counter goes on, a voltage trembles, a current of
40 A becomes one of 41 A. A payload is news if a bit differs that an alarm, a contactor, a condition
or an answer is read from, or if a number has crossed a limit: a current its dead band, a
temperature its alarm. All other numbers wait until somebody asks for them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from bms_can.codec import Codec
from bms_can.database import Database
from bms_can.errors import BadFrame
from bms_can.frame import Frame
from bms_can.layout import field_of, occupied
from bms_can.profile import Condition, Profile, StatusRule
from bms_can.status import meaning_of

EVERY_BIT = -1
MOST_GRADES = 1024  # of numbers that are known by heart: a current comes back to where it was
END = b"\1"  # behind a payload, so that zeros that are not there differ from zeros


class Teller:
    """One message, and what it said when it said anything new; used by one thread at a time.

    Args:
        profile, database: the battery.
        message: its name.
        restless: bits of counter and checksum, see `Integrity.restless`: they say nothing, unless
            a signal that does shares them.
    """

    def __init__(self, profile: Profile, database: Database, message: str, restless: int) -> None:
        described = database.messages[message]
        self._key = described.frame_id, described.is_extended_frame
        exact, graded = (
            {signal for signal in signals if signal.split(".", 1)[0] == message}
            for signals in (exact_signals(profile), graded_signals(profile))
        )
        self._graded, self._exact = bits_of(database, graded), bits_of(database, exact)
        self._mask = self._graded | self._exact
        if described.is_multiplexed() and self._mask:  # on another page its bits are other signals
            selecting = Codec(database, {message: ()}).shapes()[self._key].selecting
            self._graded, self._exact = 0, EVERY_BIT
            self._mask = ~restless | self._mask | selecting
        self._profile = replace(
            profile,
            alarms=tuple(rule for rule in profile.alarms if rule.signal in graded),
            status=StatusRule(current=profile.status.current),
        )
        self._codec = Codec(database, {message: tuple(graded)}, profile.limits)
        self._grades: dict[int, tuple[object, ...]] = {}
        self._data = b""
        self._word: int | None = None

    def is_news(self, data: bytes) -> bool:
        """Tell whether a payload says something else than those that were noted last."""
        word = self._word
        if word is None:
            return True
        new = int.from_bytes(data + END, "little")
        changed = (new ^ word) & self._mask
        if not changed:
            return False
        if changed & self._exact:
            return True
        return self._graded_as(new, data) != self._graded_as(word, self._data)

    def note(self, data: bytes) -> bool:
        """Take a payload that was accepted; tell whether it was news."""
        if not self.is_news(data):
            return False
        self._data, self._word = data, int.from_bytes(data + END, "little")
        return True

    def _graded_as(self, word: int, data: bytes) -> tuple[object, ...]:
        """Return on which sides of their limits the numbers of a payload are."""
        numbers = word & self._graded
        known = self._grades.get(numbers)
        if known is None:
            try:
                decoded = self._codec.decode(Frame(0.0, *self._key, data))
            except BadFrame:
                return ()  # will be refused, and says nothing about these bits in a good one
            meaning = {} if decoded is None else meaning_of(self._profile, decoded[1])
            if len(self._grades) >= MOST_GRADES:
                self._grades.clear()
            known = self._grades[numbers] = tuple(meaning.values())
        return known


def telling(profile: Profile) -> frozenset[str]:
    """Return the messages that a status, an alarm, an interlock or a command rests on."""
    signals = {*exact_signals(profile), *graded_signals(profile)}
    return frozenset((*profile.required, *(signal.split(".", 1)[0] for signal in signals)))


def exact_signals(profile: Profile) -> Iterator[str]:
    """Yield the signals of which each value may mean something else."""
    rule = profile.status
    yield from replace(rule, current=None).signals()
    for alarm in profile.alarms:
        if alarm.when.at_least is None and alarm.when.at_most is None:
            yield alarm.signal
    for condition in conditions(profile):
        yield condition.signal


def graded_signals(profile: Profile) -> Iterator[str]:
    """Yield the signals of which only the side of a limit matters on which they are."""
    if profile.status.current is not None:
        yield profile.status.current.signal
    for alarm in profile.alarms:
        if alarm.when.at_least is not None or alarm.when.at_most is not None:
            yield alarm.signal


def conditions(profile: Profile) -> Iterator[Condition]:
    """Yield what interlocks, answers and proofs ask for."""
    yield from profile.interlocks.conditions
    if profile.interlocks.remote is not None:
        yield profile.interlocks.remote
    for plan in profile.commands.values():
        yield from (each for each in (plan.acknowledged, plan.refused) if each is not None)
        yield from plan.confirmed.conditions


def bits_of(database: Database, signals: Iterable[str]) -> int:
    """Return the bits of signals, as a mask of the payload read little-endian."""
    found = 0
    for signal in signals:
        field = field_of(*database.signals[signal])
        found |= 0 if field is None else occupied(field)
    return found
