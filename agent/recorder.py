"""The flight recorder: keeps the raw frames around each command and each alarm edge.

* can-rx puts every data frame into a ring: the battery's, echoes of our own, another master's. A
  bus without echoes does not show our own; the journal has them. Error and remote frames are not
  frames here.
* The control thread tells of alarm edges, loss of the BMS included; commands are read from the
  journal, so that each accepted one has its recording.
* A thread of its own writes, a little at a time, so that neither of them waits for the disk or for
  long work. Trouble with the disk costs the recording and is counted, never the agent.
* A recording is on disk under its name when it is complete. A crash of the process loses its last
  second, a power cut at the most the whole open one; what is left of it is kept at the next start.
"""

import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.clock import Clock
from agent.errors import JournalFailed
from agent.frame_ring import FrameRing
from agent.journal import Journal
from agent.recording import (
    ALARM,
    COMMAND,
    Cause,
    RecorderRules,
    Slice,
    Tally,
    alarm_edges,
    candump_text,
    file_name,
    joined,
    slice_for,
)
from agent.recording_file import PartFile, make_room, rescue
from bms_can.commands import CommandState
from bms_can.frame import Frame
from bms_can.status import BmsStatus

FOLDER = "recordings"
PASS_S = 1.0
LATE_S = 10.0  # the ring reaches back so much further, so that a late writer finds everything
SETTLE_S = 0.5  # a frame is in the ring so soon after its time
PAUSE_S = 0.003  # after each part of some 390 frames, for the threads that matter more
MOST_EDGES = 1000  # while the disk hangs; those that are dropped would have joined a recording
SHARE = 4  # the open recordings of all devices together may fill a quarter of the quota

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Current:
    """A recording under way; `offset_s`: wall minus monotonic time when it began [s].

    One offset for all of its frames: a step of the wall clock does not tear it.
    """

    what: Slice
    file: PartFile
    offset_s: float
    torn: bool = False


class Track:
    """What the recorder has of one device.

    Attributes:
        known: alarms that are on; belongs to the control thread.
        current: the recording under way.
        place: in the ring, up to which it was recorded.
    """

    def __init__(self, uid: str, channel: str, seconds: float) -> None:
        self.uid = uid
        self.channel = re.sub(r"[^!-~]", "_", channel)
        self.ring = FrameRing(seconds)
        self.known: frozenset[str] = frozenset()
        self.current: Current | None = None
        self.place = 0


class FlightRecorder:
    """Records the buses of all devices of a box.

    Args:
        state_dir: the recordings are in its folder `FOLDER`.
        rules: how much is kept.
        channels: name of the bus by device_uid.
        journal: tells of accepted commands.
        clock: time.

    Attributes:
        beats: loop passes, for the watchdog.
        folder: of the recordings.
        tally: how it does.

    Raises:
        JournalFailed: the journal cannot be read.
    """

    def __init__(
        self,
        state_dir: Path,
        rules: RecorderRules,
        channels: Mapping[str, str],
        journal: Journal,
        clock: Clock,
    ) -> None:
        self.folder = state_dir / FOLDER
        self._rules = rules
        self._journal = journal
        self._clock = clock
        seconds = rules.before_s + LATE_S
        self._tracks = {uid: Track(uid, name, seconds) for uid, name in channels.items()}
        self._share = rules.max_bytes // (SHARE * len(channels))
        self._edges: deque[tuple[Track, Cause]] = deque(maxlen=MOST_EDGES)
        self._seen_seq = journal.head()[0]
        self._stop = threading.Event()
        self.beats = 0
        self.tally = Tally()

    def counts(self) -> Mapping[str, object]:
        """Return how it does, for people."""
        return asdict(self.tally)

    def tap(self, device_uid: str) -> Callable[[Sequence[Frame]], None]:
        """Return what takes the frames of a device, in its receive thread."""
        return self._tracks[device_uid].ring.take_many if self._rules.max_bytes else _pass_by

    def look(self, device_uid: str, status: BmsStatus | None) -> None:
        """Note alarms that came or went; belongs to the control thread of the device."""
        if status is None or not self._rules.max_bytes:
            return
        track, now_s = self._tracks[device_uid], self._clock.monotonic_s()
        track.known, edges = alarm_edges(track.known, status)
        for key in edges:
            self._edges.append((track, Cause(now_s, ALARM, key)))

    def run(self) -> None:
        """Record until `stop`. To be the target of a thread."""
        self._rescue()
        while not self._stop.is_set():
            self.beats += 1
            self.step()
            self._clock.wait(self._stop, PASS_S)
        self.end()

    def stop(self) -> None:
        """Let `run` return; open recordings end here."""
        self._stop.set()

    def step(self) -> None:
        """Begin what was asked for, and write what came since the last step."""
        if not self._rules.max_bytes:
            return
        for track, cause in (*self._commands(), *self._alarms()):
            with self._at_its_risk(track):
                self._begin(track, cause)
        for track in self._tracks.values():
            with self._at_its_risk(track):
                self._go_on(track)

    def end(self) -> None:
        """Complete open recordings with what there is."""
        self.step()
        for track in self._tracks.values():
            with self._at_its_risk(track):
                self._finish(track)

    def _rescue(self) -> None:
        try:
            found = rescue(self.folder)
        except OSError as error:
            log.warning("recordings: cannot keep what was left open: %s", error)
            return
        if found:
            log.warning("recordings: kept what a crash left of %d", found)

    def _commands(self) -> Iterator[tuple[Track, Cause]]:
        """Yield the commands that were accepted since the last look."""
        try:
            rows = self._journal.log(self._seen_seq)
        except JournalFailed:
            return  # the next look begins where this one should have
        for row in rows:
            self._seen_seq = row.seq
            track = self._tracks.get(row.device_uid)
            if row.state is CommandState.ACCEPTED and row.command_id and track:
                yield track, Cause(row.monotonic_s, COMMAND, row.command_id)

    def _alarms(self) -> Iterator[tuple[Track, Cause]]:
        while self._edges:  # nobody else takes from it
            yield self._edges.popleft()

    @contextmanager
    def _at_its_risk(self, track: Track) -> Iterator[None]:
        """Trouble with the disk costs the recording under way, nothing else."""
        try:
            yield
        except OSError as error:
            self.tally.lost += 1
            if self.tally.trouble != str(error):
                log.warning("device %s: a recording is lost: %s", track.uid, error)
            self.tally.trouble = str(error)
            if track.current is not None:
                with suppress(OSError):
                    track.current.file.discard()
            track.current, track.place = None, 0

    def _begin(self, track: Track, cause: Cause) -> None:
        """Add an event to the recording under way, or begin another one."""
        current = track.current
        if current is not None:
            more = joined(current.what, cause, self._rules)
            if more is not None:
                current.what = more
                return
            self._write(track, current)
            self._finish(track)
        self._make_room(self._growing() + 1)
        what = slice_for(cause, self._rules)
        now_s, wall_s = self._clock.monotonic_s(), self._clock.wall().timestamp()
        offset_s = max(0.0, wall_s - now_s)
        file = PartFile(self.folder, file_name(track.uid, cause, offset_s))
        place = track.ring.place_of(what.since_s)
        track.place = place if cause.kind == COMMAND else max(place, track.place)
        track.current = Current(what, file, offset_s)

    def _go_on(self, track: Track) -> None:
        current = track.current
        if current is None:
            return
        over = self._clock.monotonic_s() > current.what.until_s + SETTLE_S
        self._make_room(self._growing())
        if self._write(track, current) or over:
            self._finish(track)

    def _write(self, track: Track, current: Current) -> bool:
        """Write what came; tell whether the recording is complete, or too large."""
        parts, lost = track.ring.read(track.place)
        track.place += lost
        self.tally.torn += bool(lost) and not current.torn
        current.torn |= bool(lost)
        for part in parts:
            text, end = candump_text(part, current.what, track.channel, current.offset_s)
            if current.file.size + len(text) > self._share:
                self.tally.cut += 1
                log.warning("device %s: a recording grew too large and ends early", track.uid)
                return True
            current.file.write(text)
            track.place += end
            if end < len(part):
                return True
            self._clock.wait(self._stop, PAUSE_S)
        current.file.flush()
        return False

    def _finish(self, track: Track) -> None:
        """Complete the recording under way."""
        current = track.current
        if current is None:
            return
        more = current.what.causes[1:]
        name = current.file.keep([file_name(track.uid, each, current.offset_s) for each in more])
        track.current = None
        self.tally.kept += 1
        self.tally.trouble = ""
        log.info("device %s: recorded %s", track.uid, name)

    def _growing(self) -> int:
        return sum(track.current is not None for track in self._tracks.values())

    def _make_room(self, growing: int) -> None:
        quota = self._rules.max_bytes - growing * self._share
        self.tally.deleted += make_room(self.folder, quota)


def _pass_by(frames: Sequence[Frame]) -> None:
    """Take no frame."""
