"""The one shared mutable object: newest sample of each signal of one device.

One thread updates (can-rx), others take snapshots or read a watch. A bad frame never gets here,
so an update is all or nothing. Times are those of the frames: monotonic on a live bus, the log's
own on replay.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from bms_can.frame import Frame
from bms_can.signals import Heard, Sample, Signals

Predicate = Callable[[Signals, float], bool]
KEPT_FRAMES = 8
MOST_PAGES = 256  # that wait for a look; a thread that looks no more must not fill the memory


@dataclass(slots=True)
class Watch:
    """Counts frames in a row, newer than a moment, for which a condition holds.

    Evaluated inside the update, so that no frame is missed between two looks. A message heard
    before the moment proves nothing: each of `messages` must have come after it.

    Attributes:
        messages: names of the messages that count; "Message.Signal" counts only the frames that
            carry this signal (it stands on one of several multiplexer pages).
        predicate: the condition, given all values with this frame's in place and its time [s].
        after_s: only frames later than this count [s].
        counts: frames in a row for which it held, by name.
        frames: the frames of the current streak, newest last, the last few kept.
    """

    messages: frozenset[str]
    predicate: Predicate
    after_s: float
    counts: dict[str, int] = field(default_factory=dict)
    frames: deque[Frame] = field(default_factory=lambda: deque(maxlen=KEPT_FRAMES))

    @property
    def streak(self) -> int:
        """Frames in a row of the message (or signal) that was heard least."""
        return min((self.counts.get(message, 0) for message in self.messages), default=0)

    def see(
        self, message: str, samples: Mapping[str, Sample], frame: Frame, signals: Signals
    ) -> None:
        """Take one accepted frame and the samples it brought into account."""
        names = [name for name in self.messages if name == message or name in samples]
        if not names or frame.at_s <= self.after_s:
            return
        if self.predicate(signals, frame.at_s):
            for name in names:
                self.counts[name] = self.counts.get(name, 0) + 1
            self.frames.append(frame)
        else:
            self.counts.clear()
            self.frames.clear()


@dataclass(slots=True)
class _Tally:
    """When a message was heard, see Heard. `limit_s`: a longer gap ends its steadiness [s]."""

    at_s: float
    steady_since_s: float
    count: int
    limit_s: float


class SignalTable:
    """The newest samples of one device. Thread-safe: one lock, snapshots are copies.

    Who takes several frames as one holds `lock` meanwhile; see `watched`.

    Args:
        deadlines_s: longest allowed age of each message [s]; a longer gap ends its steadiness.
        decode: returns the samples of a frame that was postponed; it cannot fail.
        settle: brings what its owner keeps back until somebody looks; called with `lock` held.
    """

    def __init__(
        self,
        deadlines_s: Mapping[str, float],
        decode: Callable[[Frame], Mapping[str, Sample]] = lambda _: {},
        settle: Callable[[], object] = lambda: None,
    ) -> None:
        self._deadlines_s = dict(deadlines_s)
        self.lock = threading.RLock()
        self._samples: dict[str, Sample] = {}
        self._heard: dict[str, _Tally] = {}
        self._decode = decode
        self._settle = settle
        self._late: dict[str, dict[int, Frame]] = {}  # by message and page, the newest last
        self._watches: list[Watch] = []

    def update(self, message: str, samples: Mapping[str, Sample], frame: Frame) -> None:
        """Take the values of one valid frame."""
        with self.lock:
            self._catch_up(message)
            self._samples.update(samples)
            self._count(message, (frame.at_s,))
            self._show(message, samples, frame)

    @property
    def watched(self) -> bool:
        """Whether a watch runs: then frames must be taken one by one, in order."""
        return bool(self._watches)

    def postpone(self, message: str, page: int, frame: Frame) -> None:
        """Take a valid frame that brings all signals of a page; decode it at the next look.

        The same as `update` with its samples, as far as anybody can see.

        Args:
            message: its name.
            page: frames of one page carry the same signals.
            frame: as received.
        """
        with self.lock:
            if self._watches:
                self.update(message, self._decode(frame), frame)
            else:
                self.postpone_many(message, (frame.at_s,), {page: frame})

    def postpone_many(
        self, message: str, times_s: Sequence[float], newest: Mapping[int, Frame]
    ) -> None:
        """Take valid frames of a message that came at these times [s]: `postpone` with each.

        For who holds `lock` and has seen that nobody watches.

        Args:
            message: its name.
            times_s: of all of them, oldest first.
            newest: that of each page, the newest of all last.
        """
        waiting = self._late.setdefault(message, {})
        for page, frame in newest.items():
            waiting.pop(page, None)
            waiting[page] = frame
        if len(waiting) > MOST_PAGES:
            self._catch_up(message)
        self._count(message, times_s)

    def _count(self, message: str, times_s: Sequence[float]) -> None:
        """Note when frames of a message came, oldest first."""
        tally = self._heard.get(message)
        if tally is None:
            limit_s = self._deadlines_s.get(message, float("inf"))
            tally = self._heard[message] = _Tally(times_s[0], times_s[0], 0, limit_s)
        if times_s[-1] - tally.at_s > tally.limit_s:
            for at_s in times_s:
                if at_s - tally.at_s > tally.limit_s:
                    tally.steady_since_s = at_s
                tally.at_s = at_s
        tally.at_s = times_s[-1]
        tally.count += len(times_s)

    def _show(self, message: str, samples: Mapping[str, Sample], frame: Frame) -> None:
        """Let each watch see a frame that was taken."""
        if self._watches:
            self._catch_up_all()
            for watch in self._watches:
                watch.see(message, samples, frame, Signals(self._samples, self._heard_now()))

    def _catch_up_all(self) -> None:
        """Decode all that waits."""
        for message in tuple(self._late):
            self._catch_up(message)

    def _catch_up(self, message: str) -> None:
        """Decode what waits of a message: what stands on several pages is as the newest says."""
        for frame in self._late.pop(message, {}).values():
            self._samples.update(self._decode(frame))

    def _heard_now(self, messages: Iterable[str] | None = None) -> dict[str, Heard]:
        names = self._heard if messages is None else self._heard.keys() & messages
        found = {}
        for name in names:
            tally = self._heard[name]
            found[name] = Heard(tally.at_s, tally.steady_since_s, tally.count)
        return found

    def snapshot(self) -> Signals:
        """Return all newest values as an immutable copy."""
        with self.lock:
            self._settle()
            self._catch_up_all()
            return Signals(
                MappingProxyType(dict(self._samples)), MappingProxyType(self._heard_now())
            )

    def part(self, signals: Iterable[str], messages: Collection[str]) -> Signals:
        """Return some of what `snapshot` returns, for less; the rest goes on waiting.

        Args:
            signals: names of those wanted.
            messages: names of the messages that carry them, and of any others that count.
        """
        with self.lock:
            self._settle()
            for message in messages:
                self._catch_up(message)
            samples = {key: self._samples[key] for key in signals if key in self._samples}
            return Signals(MappingProxyType(samples), MappingProxyType(self._heard_now(messages)))

    def heard(self) -> dict[str, Heard]:
        """Return when each message was heard; cheaper than a snapshot."""
        with self.lock:
            self._settle()
            return self._heard_now()

    def watch(self, messages: frozenset[str], predicate: Predicate, after_s: float) -> Watch:
        """Start to count frames for which `predicate` holds; end it with `unwatch`."""
        watch = Watch(messages, predicate, after_s)
        with self.lock:
            self._settle()  # these came before
            self._watches.append(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """End a watch; its last numbers stay readable."""
        with self.lock:
            self._watches = [kept for kept in self._watches if kept is not watch]

    def look(self, watch: Watch) -> Watch:
        """Return a consistent copy of a running watch."""
        with self.lock:
            return replace(
                watch, counts=dict(watch.counts), frames=deque(watch.frames, KEPT_FRAMES)
            )
