"""Whatever the battery: what an intake saves itself is seen by nobody, and no news is lost."""

from collections import Counter
from dataclasses import replace
from math import inf
from random import Random

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from bms_can import intake, table, telling
from bms_can.block import Block
from bms_can.confirmation import is_met
from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.integrity import Integrity
from bms_can.layout import field_of, wire_length, write
from bms_can.profile import Profile
from bms_can.signals import Signals
from bms_can.status import derive_status
from bms_can.table import Watch
from tests.bms_can.any_battery import any_battery
from tests.bms_can.build import block_of

LIMITS = (  # small ones too, so that a short script reaches them
    (intake, "MOST_WAITING", (3, 20, 512)),
    (intake, "MOST_KNOWN_PAGES", (1, 4, 1024)),
    (intake, "MOST_UNKNOWN", (1, 2, 4096)),
    (table, "MOST_PAGES", (1, 3, 256)),
    (telling, "MOST_GRADES", (1, 3, 1024)),
)
LOOKS = ("nothing", "nothing", "nothing", "stated", "all", "watch")


class Sender:
    """Sends what a battery may send and much that it may not; often nearly the same again."""

    def __init__(self, chance: Random, profile: Profile, database: Database) -> None:
        self.chance, self.database, self.sealed = chance, database, profile.integrity
        self.seals = Integrity(database, profile.integrity)
        self.newest, self.counters, self.at_s = dict[str, bytes](), Counter[str](), 0.0

    def some(self) -> list[Frame]:
        """Return frames that one look at the bus brings."""
        channel = self.chance.choice(("", "", "can7", "can8"))
        count = self.chance.choice((1, 1, 2, 5, 20))
        return [self.frame()._replace(channel=channel) for _ in range(count)]

    def frame(self) -> Frame:
        """Return a frame of the battery, seldom one of somebody else."""
        chance = self.chance
        self.at_s += chance.choice((0, 0, 0.001, 0.01, 0.3))
        if chance.random() < 0.1:
            stranger = chance.choice((0x100, 0x555, 0x7FF)), chance.random() < 0.5
            return Frame(self.at_s, *stranger, chance.randbytes(chance.randrange(9)))
        name, message = chance.choice(list(self.database.messages.items()))
        right = wire_length(message.length)
        wrong = chance.choice((*self.database.more_lengths.get(name, ()), *range(9), 12))
        length = chance.choice([right] * 14 + [wrong])
        self.newest[name] = self.on_a_page(name, self.changed(name, right))
        data = self.newest[name].ljust(length, b"\0")
        if name in self.sealed and chance.random() < 0.93:
            self.counters[name] += chance.choice([1] * 30 + [0, 2, 3])
            data = self.seals.sealed(name, data, self.counters[name])
        return Frame(self.at_s, message.frame_id, message.is_extended_frame, data[:length])

    def changed(self, name: str, size: int) -> bytes:
        """Return a payload: the one before but for a few bits, or any other."""
        word = int.from_bytes(self.newest.get(name, b""), "little")
        for _ in range(self.chance.choice((0, 0, 0, 1, 1, 2, 4))):
            word ^= 1 << self.chance.randrange(8 * size)
        edges = bytes(self.chance.choices(b"\0\1\2\x7f\x80\xff", k=size))
        others = [edges, self.chance.randbytes(size)]
        return self.chance.choice([word.to_bytes(size, "little")] * 12 + others)

    def on_a_page(self, name: str, data: bytes) -> bytes:
        """Return a payload with most of its multiplexers on a page that there is."""
        message = self.database.messages[name]
        for signal in message.signals:
            inside = [each for each in message.signals if each.multiplexer_signal == signal.name]
            pages = [page for each in inside for page in each.multiplexer_ids or ()]
            field = field_of(message, signal)
            if pages and field is not None and self.chance.random() < 0.7:
                data = write(field, data, self.chance.choice(pages))
        return data


def values(signals: Signals) -> dict[str, str]:
    """Return samples in a form in which what is no number equals itself."""
    return {name: repr(sample) for name, sample in signals.samples.items()}


def facts(side: Intake) -> tuple[object, ...]:
    """Return all that can be seen of an intake."""
    return (
        (side.table.heard(), values(side.table.snapshot())),
        (side.frames, side.decoded, side.unknown, side.unknown_more, side.bad),
        (side.integrity.lost_by_message, side.integrity.refused),
    )


def told(profile: Profile, signals: Signals) -> tuple[object, ...]:
    """Return all that anybody may conclude, numbers and the time that goes by aside."""
    ageless = replace(profile, deadlines_s=dict.fromkeys(profile.deadlines_s, inf))
    status = derive_status(signals, ageless, 0.0)
    met = [is_met(each, signals, ageless, 0.0) for each in telling.conditions(profile)]
    flow = None if status.flow is None else status.flow.wanted
    return replace(status, current_a=None, age_s=None, flow=None), flow, met


def holds_now_and_then(signals: Signals, _now_s: float) -> bool:
    """Hold for some values and not for others: a condition that notices any of them."""
    return sum(map(len, values(signals).values())) % 3 != 0


class Hearing:
    """One battery heard in three ways: by blocks, frame by frame, and without any shortcut."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.profile, self.database = any_battery(chance)
        self.by_block, self.by_frame, self.plain = self.sides = [
            Intake(self.profile, self.database) for _ in range(3)
        ]
        self.sender = Sender(chance, self.profile, self.database)
        self.watches: list[Watch] = []
        self.told = told(self.profile, Signals())

    def hear(self) -> None:
        """Let all hear the same; a block is news if one of its frames is."""
        frames = self.sender.some()
        block = block_of(frames)
        event(f"block: {type(block) is Block}")
        news = [self.is_news(frame) for frame in frames]
        assert self.by_block.take_many(block) is any(news)

    def is_news(self, frame: Frame) -> bool:
        """Take a frame; whatever changes a status or a condition is news."""
        if (accepted := self.plain.accept(frame)) is not None:
            self.plain.store(*accepted, frame)
        news, before = self.by_frame.take(frame), self.told
        self.told = told(self.profile, self.plain.table.snapshot())
        assert news or self.told == before, frame
        return news

    def look(self, what: str) -> None:
        """Compare what is seen by who looks at this."""
        if what == "all":
            assert facts(self.by_block) == facts(self.by_frame) == facts(self.plain)
        if what == "stated":
            self.look_at_stated()
        if what == "watch":
            self.watch_or_not()
        looks = zip(self.sides, self.watches, strict=False)  # or nobody watches
        seen = [side.table.look(watch) for side, watch in looks]
        assert all(each == seen[0] for each in seen)

    def look_at_stated(self) -> None:
        """Compare what a status rests on with that part of all that was heard."""
        names = self.profile.status_signals()
        messages = {*self.profile.required, *(name.split(".", 1)[0] for name in names)}
        right = self.plain.table.part(names, messages)
        for part in (self.by_block.stated(), self.by_frame.stated()):
            assert (part.heard, values(part)) == (right.heard, values(right))

    def watch_or_not(self) -> None:
        """Begin to watch a message and a signal, or end it."""
        for side, watch in zip(self.sides, self.watches, strict=False):
            side.table.unwatch(watch)
        everything = self.database.messages, self.database.signals
        names = frozenset(self.chance.choice(list(each)) for each in everything)
        after_s = self.sender.at_s - self.chance.choice((0, 1))
        tables = [] if self.watches else [side.table for side in self.sides]
        self.watches = [t.watch(names, holds_now_and_then, after_s) for t in tables]

    def assert_bounded(self) -> None:
        """No traffic fills the memory."""
        for side in (self.by_block, self.by_frame):
            assert side._frames_waiting < intake.MOST_WAITING
            assert len(side.unknown) <= intake.MOST_UNKNOWN
            known, tellers = side._known.values(), side._telling.values()
            assert all(len(each.pages) <= intake.MOST_KNOWN_PAGES for each in known)
            assert all(len(late) <= table.MOST_PAGES for late in side.table._late.values())
            assert all(len(teller._grades) <= telling.MOST_GRADES for teller in tellers)


# A smaller seed is no shorter script: there is nothing to shrink.
@settings(max_examples=300, phases=set(Phase) - {Phase.shrink})
@given(st.randoms(use_true_random=True))
def test_any_battery_is_heard_as_if_each_frame_were_decoded_at_once(chance: Random) -> None:
    """Overlaps, pages within pages, odd lengths, bad sums: all that a profile may be told."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, limits in LIMITS:
            patch.setattr(module, name, chance.choice(limits))
        hearing = Hearing(chance)
        for _ in range(chance.randint(5, 30)):
            hearing.hear()
            hearing.look(chance.choice(LOOKS))
            hearing.assert_bounded()
        hearing.look("all")
    event(f"decoded: {hearing.plain.decoded > 0}")
