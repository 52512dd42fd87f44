"""Takes frames in: decode, check counter and checksum, store. The same for live bus and replay.

A frame that fails any check changes nothing; it is counted by reason.

On a busy bus nearly all frames say what was said before (telling.py). So a block without news
waits until somebody looks at the table: many blocks at once cost a fraction of each by itself.
Nobody can tell the difference but by the clock of the processor.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bms_can.block import Block, ByHead, Key, joined
from bms_can.codec import Codec, Shape
from bms_can.database import Database
from bms_can.errors import BadFrame
from bms_can.frame import Frame
from bms_can.integrity import Integrity
from bms_can.profile import Profile
from bms_can.signals import Sample, Signals
from bms_can.table import SignalTable
from bms_can.telling import Teller, telling

MOST_WAITING = 512  # frames in blocks that nobody has looked at
MOST_KNOWN_PAGES = 1024  # of a message; a selector may be any number on pages without it
NO_PAGE = -1
MOST_UNKNOWN = 4096  # a babbling node with random identifiers must not fill the box's memory


class Known(NamedTuple):
    """A message, and which of its frames surely decode: those of this length and these pages.

    Attributes:
        shape: see Codec.shapes.
        checked: it has a counter or a checksum.
        pages: what its multiplexers selected in frames that decoded; {0} where it has none.
    """

    shape: Shape
    checked: bool
    pages: set[int]

    def page(self, data: bytes) -> int:
        """Return the page of a payload, `NO_PAGE` unless it surely decodes."""
        page = int.from_bytes(data, "little") & self.shape.selecting
        return page if page in self.pages and len(data) == self.shape.length else NO_PAGE

    def learn(self, data: bytes) -> None:
        """Take note of a payload that decoded: others of its page will."""
        if len(data) == self.shape.length:
            if len(self.pages) >= MOST_KNOWN_PAGES:
                self.pages.clear()
            self.pages.add(int.from_bytes(data, "little") & self.shape.selecting)


class Intake:
    """The way of a frame into the table of one device. One thread brings frames.

    Who looks at the table has the waiting ones taken first, in its own thread; all happens under
    the table's lock. The counts are those of the last look.

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
        self._codec = Codec(database, profile.wanted, profile.limits, profile.integrity)
        self.table = SignalTable(profile.deadlines_s, self._samples, self._settle)
        self.integrity = Integrity(database, profile.integrity)
        self._stated = profile.status_signals()
        self._stating = {*profile.required, *(name.split(".", 1)[0] for name in self._stated)}
        self._channel = profile.channel
        self._payloads: dict[str, bytes] = {}
        self._checked = frozenset(profile.integrity)
        self._telling = {
            name: Teller(profile, database, name, self.integrity.restless(name))
            for name in telling(profile)
        }
        tellers = dict(self._by_key(database))
        self._tellers = ByHead(lambda key: None if key is None else tellers.get(key))
        self._waiting: list[Block] = []
        self._frames_waiting = 0
        self._known = dict(self._known_messages()) if profile.channel is None else {}
        self.frames = 0
        self.decoded = 0
        self.unknown: Counter[tuple[int, bool]] = Counter()
        self.unknown_more = 0
        self.bad: Counter[str] = Counter()

    def _known_messages(self) -> Iterator[tuple[Key, Known]]:
        for key, shape in self._codec.shapes().items():
            pages = set[int]() if shape.selecting else {0}
            yield key, Known(shape, shape.message in self._checked, pages)

    def stated(self) -> Signals:
        """Return all that a status rests on, and nothing else: for who looks often."""
        return self.table.part(self._stated, self._stating)

    def _by_key(self, database: Database) -> Iterator[tuple[Key, Teller]]:
        for key, message in database.by_id.items():
            if message.name in self._telling:
                yield key, self._telling[message.name]

    def take(self, frame: Frame) -> bool:
        """Take one frame; tell whether a status or a command may rest on what it says.

        It may if it says something else than the one before, see `Teller`, or if somebody counts
        frames (`SignalTable.watch`). It is decoded when somebody looks, if nothing can be wrong
        with it any more: on a busy bus many frames of a message come between two looks. Of a
        multiplexed message the first frame of each page is decoded at once, as it may be no page.
        Counters and checksums are looked at each time.
        """
        with self.table.lock:
            self._settle()
            return self._take(frame)

    def _take(self, frame: Frame) -> bool:
        known = self._known.get(frame[1:3])  # identifier, kind of identifier
        if known is not None:
            page = known.page(frame.data)
            if page != NO_PAGE:
                return self._take_known(known, page, frame)
        elif self._channel is None and frame[1:3] in self.unknown:
            self.frames += 1
            self.unknown[frame.can_id, frame.extended] += 1
            return False
        accepted = self.accept(frame)
        if accepted is None:
            return False
        if known is not None:
            known.learn(frame.data)
        self.table.update(*accepted, frame)
        return self._are_news(accepted[0], (frame.data,))

    def _take_known(self, known: Known, page: int, frame: Frame) -> bool:
        message = known.shape.message
        self.frames += 1
        if known.checked and self._faults(message, (frame.data,)):
            return False
        self.decoded += 1
        self.table.postpone(message, page, frame)
        return self._are_news(message, (frame.data,))

    def take_many(self, frames: Sequence[Frame]) -> bool:
        """Take frames in order: the same as `take` with each. Tell whether any was news."""
        with self.table.lock:
            if type(frames) is not Block or self.table.watched:
                return self.take_each(frames)
            if self._may_be_news(frames):
                self._settle()
                return self._take_block(frames)
            self._waiting.append(frames)
            self._frames_waiting += len(frames.at_s)
            if self._frames_waiting >= MOST_WAITING:
                self._settle()
            return False

    def _may_be_news(self, block: Block) -> bool:
        """Tell whether a frame says something else than the newest one that was taken."""
        for place, head in enumerate(block.heads):
            teller = self._tellers[head]
            if teller is not None and teller.is_news(block.data(place)):
                return True
        return False

    def _settle(self) -> None:
        """Take the blocks that wait; none has news. For who holds the lock."""
        if self._waiting:
            blocks, self._waiting, self._frames_waiting = self._waiting, [], 0
            for block in joined(blocks):
                self._take_block(block)

    def take_each(self, frames: Iterable[Frame]) -> bool:
        """Take frames one by one; tell whether any was news."""
        news = False
        for frame in frames:
            news |= self.take(frame)
        return news

    def _take_block(self, block: Block) -> bool:
        """Take message by message; they do not depend on each other while nobody watches."""
        news = False
        for key, places in block.places.items():
            known = self._known.get(key)
            if known is not None:
                news |= self._take_run(key, known, block, places)
            elif key in self.unknown and self._channel is None:
                self.frames += len(places)
                self.unknown[key] += len(places)
            else:
                news |= self.take_each(block.frame(key, place) for place in places)
        return news

    def _take_run(self, key: Key, known: Known, block: Block, places: Sequence[int]) -> bool:
        """Take frames of a message; if they surely decode, all are checked, the newest kept."""
        payloads, times_s, newest = block.run(key, places)
        paged = known.shape.selecting != 0
        pages = [known.page(data) for data in payloads] if paged else [known.page(newest.data)]
        if NO_PAGE in pages:
            return self.take_each(block.frame(key, place) for place in places)
        message = known.shape.message
        self.frames += len(payloads)
        faults = self._faults(message, payloads) if known.checked else None
        if faults:
            good = [number for number in range(len(places)) if number not in faults]
            if not good:
                return False
            places = [places[number] for number in good]
            pages = [pages[number] for number in good] if paged else pages
            payloads, times_s, newest = block.run(key, places)
        self.decoded += len(payloads)
        kept = {0: newest}
        if paged:
            last = dict(zip(pages, places, strict=True))
            kept = {
                page: block.frame(key, last[page]) for page in sorted(last, key=last.__getitem__)
            }
        self.table.postpone_many(message, times_s, kept)
        return self._are_news(message, payloads)

    def _faults(self, message: str, payloads: Sequence[bytes]) -> Mapping[int, str]:
        """Check and count payloads of a message; return why those by place may not be used."""
        faults = self.integrity.faults(message, payloads)
        if faults:
            self.bad.update(faults.values())
        return faults

    def _are_news(self, message: str, payloads: Sequence[bytes]) -> bool:
        """Note what payloads say that were taken; tell whether any is news, see `take`."""
        teller = self._telling.get(message)
        if teller is None:
            return False
        news = self.table.watched
        for data in payloads:
            news |= teller.note(data)
        return news

    def _samples(self, frame: Frame) -> Mapping[str, Sample]:
        decoded = self._codec.decode(frame)
        return {} if decoded is None else decoded[1]

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
            self.integrity.check(decoded[0], frame.data)
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
