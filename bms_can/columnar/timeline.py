"""The status over a log on columns: exactly the changes that `bms_can.timeline` finds.

One source of meaning: the steps are those of `Timeline`; here is only decided which frames they
need to see. Most frames say what the frame before said. They are left out, and of each message the
newest of these is handed in right before the next look, so that ages are right to the bit.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from bms_can.columnar.chunk import Chunk
from bms_can.columnar.watched import Rows, Times, Watched, Watcher, frame_at
from bms_can.database import Database
from bms_can.profile import Profile
from bms_can.timeline import CHANNEL_SKEW_S, Change, Timeline

FEW = 48  # rows up to which a plain loop is quicker than numpy


class ColumnTimeline:
    """Derives the status chunk by chunk and yields its changes. One use.

    Attributes:
        timeline: the state; the counts of its intake are those of the frames that it was shown.
    """

    def __init__(self, profile: Profile, database: Database) -> None:
        self.timeline = Timeline(profile, database)
        self._channel = profile.channel
        self._watcher = Watcher(profile, database, self.timeline.intake)
        # Signals on one of several pages have ages of their own; all frames with them are shown.
        self._paged = tuple(name for name in self.timeline.awaited if "." in name)
        self._passed_s = -np.inf

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Change]:
        """Take all chunks and yield the changes in order."""
        for chunk in chunks:
            yield from self.take(chunk)

    def take(self, chunk: Chunk) -> Iterator[Change]:
        """Take one chunk; yield the changes in it."""
        if not len(chunk):
            return
        timeline = self.timeline
        if timeline.first_s is None:
            yield from timeline.begin(float(chunk.at_s[0]))
        ours = np.array([self._is_ours(name) for name in chunk.channels], np.bool_)[chunk.channel]
        passed_s = np.where(ours, chunk.at_s, chunk.at_s - CHANNEL_SKEW_S)
        passed_s[0] = max(float(passed_s[0]), self._passed_s)
        np.maximum.accumulate(passed_s, out=passed_s)
        self._passed_s = float(passed_s[-1])
        found = self._watcher.look(chunk, ours, passed_s, timeline.first_s or 0.0)
        yield from _Walk(timeline, chunk, passed_s, found, self._paged).run()

    def _is_ours(self, channel: str) -> bool:
        return self._channel is None or channel in ("", self._channel)


class _Walk:
    """One walk through the rows of a chunk that matter."""

    def __init__(
        self,
        timeline: Timeline,
        chunk: Chunk,
        passed_s: Times,
        found: Watched,
        paged: tuple[str, ...],
    ) -> None:
        self._timeline = timeline
        self._chunk = chunk
        self._passed_s = passed_s
        self._found = found
        self._paged = paged
        self._place = 0  # rows of `found` before this place are known to the timeline

    def run(self) -> Iterator[Change]:
        """Show the timeline what matters."""
        end = len(self._chunk)
        alarms = self._found.alarms
        stops = np.unique(np.concatenate((self._found.news, alarms[alarms < end])))
        news = set(self._found.news.tolist())
        for stop in stops.tolist():
            yield from self._until(stop)
            yield from self._stop(stop)
            if stop in news:
                yield from self._show(stop)
        yield from self._until(end)
        self._renew(len(self._found.rows))
        yield from self._timeline.pass_time(float(self._passed_s[-1]))

    def _until(self, stop: int) -> Iterator[Change]:
        """Stop at the rows before `stop` at which time alone may change the status."""
        while True:
            moment_s = self._timeline.next_s(self._paged)
            row = int(np.searchsorted(self._passed_s, moment_s, side="right"))
            if row >= stop:
                return
            yield from self._stop(row)

    def _stop(self, row: int) -> Iterator[Change]:
        """Let the timeline know all frames before a row, then the time of the row."""
        self._renew(int(np.searchsorted(self._found.rows, row)))
        yield from self._timeline.pass_time(float(self._passed_s[row]))

    def _show(self, row: int) -> Iterator[Change]:
        """Give the timeline the frame of a row that matters."""
        frame = frame_at(self._chunk, row)
        read = self._timeline.intake.read(frame)
        self._place += 1
        if read is not None:
            yield from self._timeline.meet(*read, frame)

    def _renew(self, place: int) -> None:
        """Hand in the newest frame of each message that was left out before a place."""
        if place <= self._place:
            return
        rows = self._found.rows[self._place : place]
        newest = _newest(rows, self._found.messages[self._place : place])
        self._place = place
        frames = map(partial(frame_at, self._chunk), newest)
        self._timeline.renew(frames, float(self._passed_s[rows[-1]]))


def _newest(rows: Rows, messages: Rows) -> list[int]:
    """Return the last row of each message."""
    if len(rows) <= FEW:
        found = dict(zip(messages.tolist(), rows.tolist(), strict=True))
        return list(found.values())
    _, last = np.unique(messages[::-1], return_index=True)
    return [int(row) for row in rows[::-1][last]]
