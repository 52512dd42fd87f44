"""Takes frames in: decode, check counter and checksum, store. The same for live bus and replay.

A frame that fails any check changes nothing; it is counted by reason.
"""

from collections import Counter
from collections.abc import Mapping

from bms_can.codec import Codec
from bms_can.database import Database
from bms_can.errors import BadFrame
from bms_can.frame import Frame
from bms_can.integrity import Integrity
from bms_can.profile import Profile
from bms_can.signals import Sample
from bms_can.table import SignalTable

MOST_UNKNOWN = 4096  # a babbling node with random identifiers must not fill the box's memory


class Intake:
    """The way of a frame into the table of one device. Used by one thread.

    Attributes:
        table: where the values go.
        integrity: state of counters and checksums.
        frames: all data frames offered.
        decoded: frames whose values were taken.
        unknown: frames with an identifier that the profile does not use, by (id, extended).
        unknown_more: the same beyond the first `MOST_UNKNOWN` identifiers, without their names.
        bad: frames that changed nothing, by reason.
    """

    def __init__(self, profile: Profile, database: Database) -> None:
        self.table = SignalTable(profile.deadlines_s)
        self._codec = Codec(database, profile.wanted, profile.limits, profile.integrity)
        self.integrity = Integrity(database, profile.integrity)
        self._channel = profile.channel
        self._payloads: dict[str, bytes] = {}
        self.frames = 0
        self.decoded = 0
        self.unknown: Counter[tuple[int, bool]] = Counter()
        self.unknown_more = 0
        self.bad: Counter[str] = Counter()

    def take(self, frame: Frame) -> bool:
        """Take one frame; tell whether it brought new bytes of a message that we use."""
        accepted = self.accept(frame)
        return accepted is not None and self.store(*accepted, frame)

    def accept(self, frame: Frame) -> tuple[str, dict[str, Sample]] | None:
        """Check and count one frame; return message and samples if it may be used."""
        self.frames += 1
        if self._channel is not None and frame.channel not in ("", self._channel):
            return None
        try:
            decoded = self._codec.decode(frame)
            if decoded is None:
                self._count_unknown(frame)
                return None
            self.integrity.check(decoded[0], frame)
        except BadFrame as bad:
            self.bad[bad.reason] += 1
            return None
        self.decoded += 1
        return decoded

    def store(self, message: str, samples: Mapping[str, Sample], frame: Frame) -> bool:
        """Keep what a frame that was accepted says; tell whether its bytes are new."""
        self.table.update(message, samples, frame)
        changed = self._payloads.get(message) != frame.data
        self._payloads[message] = frame.data
        return changed

    def read(self, frame: Frame) -> tuple[str, dict[str, Sample]] | None:
        """Return message and samples of a frame that was checked and counted before."""
        return self._codec.decode(frame)

    def _count_unknown(self, frame: Frame) -> None:
        key = frame.can_id, frame.extended
        if key in self.unknown or len(self.unknown) < MOST_UNKNOWN:
            self.unknown[key] += 1
        else:
            self.unknown_more += 1
