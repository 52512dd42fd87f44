"""How much of a log its DBC explains, and whether it is the right DBC at all. Pure counting.

An identifier match is not a DBC match: frames of the wrong length and values that the DBC itself
declares impossible are evidence that the file belongs to another battery or firmware.
"""

from collections import Counter
from dataclasses import dataclass, field

from bms_can.codec import Codec
from bms_can.database import Database
from bms_can.errors import BadFrame, BadLogLine
from bms_can.frame import Frame

DOUBTFUL_SHARE = 0.01  # of frames: one in a hundred with an impossible value is no accident
KEPT_LINES = 5


@dataclass(slots=True)
class Doubt:
    """What speaks against one message of the DBC."""

    frames: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    impossible: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """Share of the frames with something impossible in them, by the worst signal."""
        worst = max(self.impossible.values(), default=0)
        return (self.bad.total() + worst) / self.frames if self.frames else 0.0


class Coverage:
    """Counts frames and lines of one log against one DBC.

    Args:
        database: the DBC.
        channel: only frames of this channel count, None: all.

    Attributes:
        frames: data frames in the log; `other_channel` of them are not looked at.
        known: frames whose identifier is in the DBC; `decoded` of them could be decoded.
        unknown: frames by (id, extended) that the DBC does not have.
        messages: by name of the message, what was seen of it.
        lines: lines without a data frame, by reason; the first few numbers of each.
    """

    def __init__(self, database: Database, channel: str | None = None) -> None:
        self._codec = Codec(database)
        self._names = {key: message.name for key, message in database.by_id.items()}
        self.channel = channel
        self.frames = 0
        self.other_channel = 0
        self.known = 0
        self.decoded = 0
        self.unknown: Counter[tuple[int, bool]] = Counter()
        self.messages: dict[str, Doubt] = {}
        self.lines: Counter[str] = Counter()
        self.line_numbers: dict[str, list[int]] = {}

    def take(self, frame: Frame) -> None:
        """Count one data frame."""
        self.frames += 1
        if self.channel is not None and frame.channel not in ("", self.channel):
            self.other_channel += 1
            return
        name = self._names.get((frame.can_id, frame.extended))
        if name is None:
            self.unknown[frame.can_id, frame.extended] += 1
            return
        self.known += 1
        seen = self.messages.setdefault(name, Doubt())
        seen.frames += 1
        try:
            decoded = self._codec.decode(frame)
        except BadFrame as bad:
            seen.bad[bad.reason] += 1
            return
        self.decoded += 1
        samples = {} if decoded is None else decoded[1]
        seen.impossible.update(key for key, sample in samples.items() if sample.value is None)

    def skip(self, line: BadLogLine) -> None:
        """Count a line of the log that holds no data frame."""
        self.lines[line.reason] += 1
        numbers = self.line_numbers.setdefault(line.reason, [])
        if len(numbers) < KEPT_LINES:
            numbers.append(line.line_number)

    @property
    def looked_at(self) -> int:
        """Frames of the channel that counts."""
        return self.frames - self.other_channel

    @property
    def percent_known(self) -> float:
        """Share of the frames looked at whose identifier is in the DBC [%]."""
        return 100 * self.known / self.looked_at if self.looked_at else 0.0

    @property
    def bad(self) -> Counter[str]:
        """Frames with a known identifier that could not be decoded, by reason."""
        total: Counter[str] = Counter()
        for seen in self.messages.values():
            total.update(seen.bad)
        return total

    def doubts(self) -> dict[str, Doubt]:
        """Return the messages that do not look like what the DBC says, worst first."""
        found = {name: seen for name, seen in self.messages.items() if seen.share > DOUBTFUL_SHARE}
        return dict(sorted(found.items(), key=lambda item: (-item[1].share, item[0])))
