"""The last gate before the bus: which frames may be sent at all. Pure.

A second opinion. It sees frames, not intentions; its table is written by hand in the profile, not
derived from the commands, and this module imports nothing that builds commands. Everything that
is not listed is refused. The rules follow reliability rules 17 and 18.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from bms_can.errors import FrameRefused
from bms_can.frame import Frame, frame_text

MINUTE_S = 60.0
ECHO_MEMORY = 64  # different frames that may be on their way

Key = tuple[int, bool, bytes]


@dataclass(frozen=True, slots=True)
class GuardEntry:
    """A kind of frame that may be sent: all bits under `mask` equal `data`.

    Attributes:
        name: for people.
        can_id, extended: identifier; the length is that of `data`.
        data, mask: bits that are fixed, and their values.
        per_minute: at most so many in any 60 s.
        when_latched: still allowed after another master was heard (opening is the safe side).
    """

    name: str
    can_id: int
    extended: bool
    data: bytes
    mask: bytes
    per_minute: int
    when_latched: bool = False

    def matches(self, frame: Frame) -> bool:
        """Tell whether a frame is of this kind."""
        if (frame.can_id, frame.extended) != (self.can_id, self.extended):
            return False
        if len(frame.data) != len(self.data):
            return False
        return all(
            not (sent ^ wanted) & mask
            for sent, wanted, mask in zip(frame.data, self.data, self.mask, strict=True)
        )


class Heard(Enum):
    """What a frame heard on the bus is to the guard."""

    OTHER = "other"  # not one of our control identifiers
    ECHO = "echo"  # our own frame, back from the bus
    FOREIGN = "foreign"  # our control identifier, but not sent by us: another master


class Guard:
    """Lets listed frames pass, refuses all others, and remembers what it let pass.

    Not thread-safe: its owner holds one lock round `allow` and `hear`.

    Attributes:
        refused: frames refused so far.
        ids: our control identifiers, as (id, extended).
        foreign: candump text of the first foreign control frame, "" while there was none. Once
            set it stays, until a person calls `unlatch`.
    """

    def __init__(self, entries: Sequence[GuardEntry]) -> None:
        self._entries = tuple(entries)
        self.ids = frozenset((entry.can_id, entry.extended) for entry in entries)
        self._sent_at_s: dict[GuardEntry, deque[float]] = {
            entry: deque(maxlen=entry.per_minute) for entry in entries
        }
        self._awaited: dict[Key, int] = {}
        self.refused = 0
        self.foreign = ""

    def allow(self, frame: Frame, now_s: float, unsafe: str = "") -> GuardEntry:
        """Return the entry that lets `frame` pass at `now_s` [s], and count it as sent.

        Args:
            frame: what is to be sent.
            now_s: monotonic [s].
            unsafe: why only entries with `when_latched` may pass, "" while all is well.

        Raises:
            FrameRefused: rule "unlisted", "foreign-master", "tx-unsafe" or "rate".
        """
        entry = next((entry for entry in self._entries if entry.matches(frame)), None)
        if entry is None:
            raise self._refusal("unlisted", frame, "no entry of the guard allows it")
        if self.foreign and not entry.when_latched:
            raise self._refusal("foreign-master", frame, f"{self.foreign} came from another sender")
        if unsafe and not entry.when_latched:
            raise self._refusal("tx-unsafe", frame, unsafe)
        sent = self._sent_at_s[entry]
        if len(sent) == entry.per_minute and now_s - sent[0] < MINUTE_S:
            raise self._refusal("rate", frame, f"{entry.per_minute} in a minute are the most")
        sent.append(now_s)
        self._await(_key(frame))
        return entry

    def hear(self, frame: Frame) -> Heard:
        """Judge a frame heard on the bus; latch when another node uses our control identifier.

        Where the bus tells who sent a frame, the same bytes from somebody else are no echo.
        """
        if (frame.can_id, frame.extended) not in self.ids:
            return Heard.OTHER
        key = _key(frame)
        if key in self._awaited and frame.own is not False:
            self._let_go(key)
            return Heard.ECHO
        if not self.foreign:
            self.foreign = frame_text(*key)
        return Heard.FOREIGN

    def awaits(self, frame: Frame) -> bool:
        """Tell whether a frame that was let pass has not come back from the bus yet."""
        return _key(frame) in self._awaited

    def outstanding(self, frame: Frame) -> int:
        """Return how many frames with these bytes were let pass and have not come back."""
        return self._awaited.get(_key(frame), 0)

    def withdraw(self, frame: Frame) -> None:
        """Forget the newest frame that was let pass: the bus did not take it.

        Heard now, it is foreign; and it does not count for the rate, so that an open that finds the
        bus closed again and again is not refused when the bus is back.
        """
        if _key(frame) not in self._awaited:
            return
        self._let_go(_key(frame))
        entry = next(entry for entry in self._entries if entry.matches(frame))
        self._sent_at_s[entry].pop()

    def unlatch(self) -> None:
        """Forget the foreign master and every frame that did not come back: a person looked.

        A lost frame of ours that comes out of a queue after this counts as foreign, rightly.
        """
        self.foreign = ""
        self._awaited.clear()

    def _await(self, key: Key) -> None:
        self._awaited[key] = self._awaited.pop(key, 0) + 1  # the newest stand last
        if len(self._awaited) > ECHO_MEMORY:
            del self._awaited[next(iter(self._awaited))]

    def _let_go(self, key: Key) -> None:
        left = self._awaited.pop(key) - 1
        if left:
            self._awaited[key] = left

    def _refusal(self, rule: str, frame: Frame, why: str) -> FrameRefused:
        self.refused += 1
        text = frame_text(frame.can_id, frame.extended, frame.data)
        return FrameRefused(rule, f"{text}: {why}")


def _key(frame: Frame) -> Key:
    return frame.can_id, frame.extended, frame.data
