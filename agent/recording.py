"""What a recording is: which frames, its text, its name, and which one goes first. Pure.

A recording is a candump -l file from `before_s` before an event to `after_s` after it. Events that
come while one is open join it. A command always has its whole time before, because what stands
beside it may be deleted first; an alarm's recording begins where the last one ended.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from agent.frame_ring import unpack
from bms_can.alarms import COMMUNICATION_LOST
from bms_can.frame import frame_text
from bms_can.status import BmsStatus

COMMAND, ALARM = "command", "alarm"
LONGEST = 5  # times the length of an event's own recording: then the next event begins another
CLASSICAL_BYTES = 8
LEAST_BYTES = 16 * 1024 * 1024  # of the quota: a quarter of it holds a minute of a usual bus
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z_([A-Za-z0-9_-]{1,64})\.(command|alarm)\.(.{1,120})\.log")
_UNFIT = re.compile(r"[^A-Za-z0-9_.:-]")


@dataclass(frozen=True, slots=True)
class RecorderRules:
    """[recorder].

    Attributes:
        before_s, after_s: how much is kept before and after an event [s].
        max_bytes: of all recordings on disk; 0 switches the recorder off.
    """

    before_s: float = 30.0
    after_s: float = 30.0
    max_bytes: int = 128 * 1024 * 1024


@dataclass(slots=True)
class Tally:
    """How the recorder does.

    Attributes:
        kept: recordings that were completed.
        lost: recordings that the disk did not take; `trouble`: why, "" while all is well.
        cut: recordings that ended early because they grew too large.
        torn: recordings with frames missing, because the ring was too small for so late a writer.
        deleted: old recordings that made room.
    """

    kept: int = 0
    lost: int = 0
    cut: int = 0
    torn: int = 0
    deleted: int = 0
    trouble: str = ""


class Cause(NamedTuple):
    """Why something is recorded.

    Attributes:
        at_s: when it happened, monotonic [s].
        kind: COMMAND or ALARM.
        key: the command's id, or the alarm's key.
    """

    at_s: float
    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Slice:
    """The frames of one recording: from `since_s` to `until_s`, monotonic [s], both included."""

    causes: tuple[Cause, ...]
    since_s: float
    until_s: float


def slice_for(cause: Cause, rules: RecorderRules) -> Slice:
    """Return the recording that an event asks for."""
    return Slice((cause,), cause.at_s - rules.before_s, cause.at_s + rules.after_s)


def joined(before: Slice, cause: Cause, rules: RecorderRules) -> Slice | None:
    """Return an open recording with one more event; None if that needs a recording of its own."""
    until_s = cause.at_s + rules.after_s
    too_long = until_s - before.since_s > LONGEST * (rules.before_s + rules.after_s)
    of_a_command = before.causes[0].kind == COMMAND
    if cause.at_s > before.until_s or too_long or (cause.kind == COMMAND and not of_a_command):
        return None
    causes = (*before.causes, cause) if cause.kind == COMMAND else before.causes
    return replace(before, causes=causes, until_s=max(until_s, before.until_s))


def alarm_edges(known: frozenset[str], status: BmsStatus) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the alarms that count as on now, and those that came or went.

    An alarm that cannot be judged now counts as it was: silence of the BMS is one edge, that of
    `bms_communication_lost`, and not the end of all other alarms.
    """
    on = {alarm.key for alarm in status.alarms}
    dark = status.unknown_alarms
    kept = known - {COMMUNICATION_LOST} if dark is None else known.intersection(dark)
    after = frozenset(on | kept)
    return after, tuple(sorted(known ^ after))


class Text(NamedTuple):
    """Frames as candump text. `end`: place in the part where the first frame past the end is."""

    text: str
    end: int


def candump_text(part: bytes, wanted: Slice, channel: str, offset_s: float) -> Text:
    """Write the wanted frames of a part of the ring in the form of candump -l.

    Args:
        part: of agent.frame_ring.
        wanted: which frames.
        channel: name of the bus, without white space.
        offset_s: wall minus monotonic time [s].
    """
    lines: list[str] = []
    at = 0
    while at < len(part):
        frame = unpack(part, at)
        if frame.at_s > wanted.until_s:
            break
        if frame.at_s >= wanted.since_s:
            text = frame_text(frame.can_id, frame.extended, frame.data)
            if len(frame.data) > CLASSICAL_BYTES:
                text = text.replace("#", "##0")  # FD; its flags are not kept
            lines.append(f"({frame.at_s + offset_s:017.6f}) {channel} {text}\n")
        at = frame.end
    return Text("".join(lines), at)


def file_name(device_uid: str, cause: Cause, offset_s: float) -> str:
    """Return the name of a recording: UTC time of its event, device, and what happened."""
    moment = datetime.fromtimestamp(cause.at_s + offset_s, UTC)
    stamp = f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z"
    return f"{stamp}_{device_uid}.{cause.kind}.{_UNFIT.sub('-', cause.key)[:120]}.log"


class Kept(NamedTuple):
    """A recording on disk. Its name begins with its time, so that names sort by age."""

    name: str
    size: int

    @property
    def kind(self) -> str:
        """COMMAND or ALARM; "" for a file that is none of ours."""
        found = _NAME.fullmatch(self.name)
        return found[2] if found else ""


def doomed(kept: Iterable[Kept], budget: int) -> Sequence[Kept]:
    """Return which recordings must go so that the rest has at most `budget` bytes.

    Alarms' go before commands', the oldest first. Age is by wall time: of a box that began with a
    wrong clock, the recordings from before the first time signal may go too early.
    """
    ours = [each for each in kept if each.kind]
    ours.sort(key=lambda each: (each.kind == COMMAND, each.name))
    excess = sum(each.size for each in ours) - budget
    found: list[Kept] = []
    for each in ours:
        if excess <= 0:
            break
        found.append(each)
        excess -= each.size
    return found


def of_command(names: Iterable[str], command_id: str) -> str | None:
    """Return the name of a command's recording, None if there is none."""
    wanted = COMMAND, _UNFIT.sub("-", command_id)
    for name in names:
        found = _NAME.fullmatch(name)
        if found and found.groups()[1:] == wanted:
            return name
    return None
