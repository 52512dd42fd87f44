"""One identifier on two channels of a log is two things: what is read must come from one. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from bms_can.database import Database
from bms_can.errors import BadLogLine, TwoBuses
from bms_can.frame import Frame

Key = tuple[int, bool]
Entry = Frame | BadLogLine
SAY = "--channel {channel}"


class OneChannel:
    """Watches a log, frame by frame or in pieces, and refuses the first frame that would mix buses.

    Attributes:
        messages: names of the messages looked at, by (id, extended); None: all identifiers. Empty:
            nothing is refused.
    """

    def __init__(self, log: str, messages: Mapping[Key, str] | None, say: str = SAY) -> None:
        """Watch these messages of one log; `say` tells how a person names a `{channel}`."""
        self.messages = messages
        self._log, self._say = log, say
        self._seen: dict[Key, str] = {}

    def look(self, key: Key, channel: str) -> None:
        """Take note of one frame; without a channel it may be of any.

        Raises:
            TwoBuses: this identifier came on another channel before.
        """
        if not channel or (self.messages is not None and key not in self.messages):
            return
        before = self._seen.setdefault(key, channel)
        if before == channel:
            return
        two = sorted((before, channel))
        ways = " or ".join(self._say.format(channel=each) for each in two)
        name = "" if self.messages is None else f" ({self.messages[key]})"
        what = f"0x{key[0]:X}{name} comes on {two[0]} and on {two[1]}"
        why = "no channel is named, and on two buses one identifier can mean two things"
        which = f"say {ways}; bms-agent inspect shows which of them fits"
        raise TwoBuses(self._log, [f"{what}: {why}; {which}"])

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Hand entries of a log through.

        Raises:
            TwoBuses: see `look`.
        """
        for entry in entries:
            if isinstance(entry, Frame):
                self.look((entry.can_id, entry.extended), entry.channel)
            yield entry


def watched(database: Database, names: Iterable[str], channel: str | None) -> dict[Key, str]:
    """Return the messages to watch: all of `names`, or none where a channel is named."""
    if channel is not None:
        return {}
    messages = [database.messages[name] for name in names if name in database.messages]
    return {(each.frame_id, each.is_extended_frame): each.name for each in messages}
