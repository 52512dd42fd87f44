"""Everything that is judged, in one value; and what the judges share. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from bms_can.database import Database
from bms_can.examine.dbc_tally import DbcTally
from bms_can.examine.finding import identifier
from bms_can.examine.log_tally import LogTally
from bms_can.examine.stream import Stream, StreamKey
from bms_can.profile import Profile

LEAST_FRAMES = 20  # fewer frames of an identifier say little
COARSE = 20  # frames to one time stamp: then times say nothing about periods
DESCRIBED_PCT = 5.0  # of a channel's frames, below which a DBC does not describe it, unless ...
DESCRIBED_HEARD = 0.5  # ... this share of the DBC's messages is heard: one device of a shared bus


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was gathered from one log.

    Attributes:
        log: running sums of the log; dbc: of the DBC's messages in it, None without a DBC.
        profile: None without one.
        channel: the only channel that was looked at, None: all.
    """

    log: LogTally
    dbc: DbcTally | None
    profile: Profile | None
    channel: str | None

    @property
    def database(self) -> Database | None:
        """The DBC."""
        return None if self.dbc is None else self.dbc.database

    @property
    def coarse(self) -> bool:
        """Whether the times of the log are too coarse to speak of periods."""
        return self.log.frames > 5 * COARSE and self.log.order.moves * COARSE < self.log.frames

    @property
    def many_channels(self) -> bool:
        """Whether a subject must name its channel."""
        return len(self.log.channels) > 1

    def where(self, channel: str, name: str) -> str:
        """Return a subject, with its channel where there are several."""
        return f"{channel} {name}" if self.many_channels else name

    def stream_name(self, stream: Stream) -> str:
        """Return identifier and message name of a stream."""
        can_id, extended = stream.key.can_id, stream.key.extended
        text = identifier(can_id, extended=extended)
        message = None if self.database is None else self.database.by_id.get((can_id, extended))
        return self.where(stream.key.channel, text if message is None else f"{text} {message.name}")

    def is_known(self, key: StreamKey) -> bool:
        """Tell whether the DBC has the identifier, be it ambiguous."""
        database = self.database
        if database is None:
            return False
        short = (key.can_id, key.extended)
        return short in database.by_id or short in database.ambiguous

    def known_frames(self, channel: str) -> int:
        """Return how many frames of a channel have an identifier of the DBC."""
        return sum(
            s.frames for s in self.streams() if s.key.channel == channel and self.is_known(s.key)
        )

    def heard_messages(self, channel: str) -> int:
        """Return how many messages of the DBC a channel has frames of."""
        return sum(s.key.channel == channel and self.is_known(s.key) for s in self.streams())

    def known_percent(self, channel: str) -> float:
        """Return the same as a share of the channel's frames [%]."""
        frames = self.log.channels[channel]
        return 100 * self.known_frames(channel) / frames if frames else 0.0

    def described(self, channel: str) -> bool:
        """Tell whether the DBC is about this channel at all."""
        if self.dbc is None:
            return False
        total = len(self.dbc.database.by_id)
        heard = self.heard_messages(channel) >= DESCRIBED_HEARD * total
        return heard or self.known_percent(channel) >= DESCRIBED_PCT

    def streams(self) -> Iterator[Stream]:
        """Yield all identifiers, in order."""
        for key in sorted(self.log.streams):
            yield self.log.streams[key]


def listed(words: list[str], most: int = 6) -> str:
    """Return a list for a sentence, cut with the number of those left out."""
    shown = ", ".join(words[:most])
    return shown if len(words) <= most else f"{shown}, +{len(words) - most}"
