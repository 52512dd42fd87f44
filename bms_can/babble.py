"""Notices a node that sends far too much (reliability rule 36). Pure.

A babbling node takes the bus from all others. None of its frames is thrown away here: the live path
is cheap enough for a full bus. But a person must hear of it.
"""

from collections import Counter
from collections.abc import Iterable
from operator import itemgetter

from bms_can.block import Block, key_of
from bms_can.frame import Frame, frame_text

MOST_PER_S = 1000.0  # no battery sends one identifier faster than every few milliseconds
LOOK_S = 1.0
MOST_WAITING = 512  # frames
NAMED = 4
_key = itemgetter(1, 2)  # identifier and its kind; this runs for every frame


class Babble:
    """Counts frames by identifier and judges them once a second. Used by one thread.

    Attributes:
        text: which identifiers came too often in the last second, "" if none did.
        seconds: seconds with such an identifier so far.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, bool]] = Counter()
        self._heads: list[int] = []
        self._since_s: float | None = None
        self.text = ""
        self.seconds = 0

    def see(self, frames: Iterable[Frame], now_s: float) -> None:
        """Take frames into account; `now_s`: time of this look [s]."""
        if self._since_s is None:
            self._since_s = now_s
        if type(frames) is Block:
            self._heads += frames.heads
            if len(self._heads) >= MOST_WAITING:
                self._count()
        else:
            self._counts.update(map(_key, frames))
        took_s = now_s - self._since_s
        if took_s >= LOOK_S:
            self._judge(took_s)
            self._since_s = now_s

    def _count(self) -> None:
        """Count the frames of blocks; many at once cost less than each by itself."""
        for head, count in Counter(self._heads).items():
            key = key_of(head)
            if key is not None:  # always: a block has data frames only
                self._counts[key] += count
        self._heads.clear()

    def _judge(self, took_s: float) -> None:
        self._count()
        most = MOST_PER_S * took_s
        loud = [(key, count) for key, count in self._counts.most_common(NAMED) if count > most]
        names = [
            f"{frame_text(*key, b'').removesuffix('#')} {count / took_s:.0f}/s"
            for key, count in loud
        ]
        self.text = f"babbling: {', '.join(names)}" if loud else ""
        self.seconds += bool(loud)
        self._counts.clear()
