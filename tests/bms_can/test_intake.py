"""A frame is taken whole or changes nothing."""

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can import intake as module
from bms_can.block import Block, Sorter
from bms_can.can_frame import frame_bytes
from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.intake import MOST_WAITING, Intake
from bms_can.profile import Profile
from bms_can.signals import Signals
from bms_can.status import derive_status
from tests.bms_can.build import Battery

STATE_ID = 0x1801E5F4
WORDS = "open", "closed"


def block_of(*frames: Frame) -> Block:
    """Return frames as the reader brings them."""
    packed = b"".join(map(frame_bytes, frames))
    heads = Sorter().heads(packed)
    assert heads is not None
    return Block(packed, [each.at_s for each in frames], heads, "", None)


@pytest.fixture
def intake(loaded: tuple[Profile, Database]) -> Intake:
    """Return an empty intake of our default battery."""
    return Intake(*loaded)


def test_a_good_frame_is_taken(intake: Intake, battery: Battery) -> None:
    """Its values are in the table, with its time."""
    assert intake.take(battery.frame("BAU_State", 5.0, contactor_status="closed"))
    sample = intake.table.snapshot().samples["BAU_State.contactor_status"]
    assert (sample.raw, sample.at_s) == (1, 5.0)
    assert (intake.frames, intake.decoded, intake.bad, intake.unknown) == (1, 1, {}, {})


def test_a_repetition_keeps_the_message_fresh(intake: Intake, battery: Battery) -> None:
    """The same bytes again bring nothing new, but make every value of theirs as young as they."""
    frame = battery.frame("BAU_Energy", 1.0, soc=50)
    assert not intake.take(frame)
    assert not intake.take(frame._replace(at_s=2.0))
    soc = intake.table.snapshot().samples["BAU_Energy.soc"]
    assert (soc.value, soc.at_s) == (50, 2.0)
    intake.take(battery.frame("BAU_Energy", 3.0, soc=51))
    assert intake.table.snapshot().samples["BAU_Energy.soc"].value == 51
    assert intake.table.heard()["BAU_Energy"].count == 3


def test_only_what_a_status_rests_on_is_news(intake: Intake, battery: Battery) -> None:
    """Contactor, current, alarms and answers are; a state of charge is a number to be reported."""
    told = {name: intake.take(battery.frame(name, 1.0)) for name in battery.values}
    told |= {"BAU_Ack": intake.take(battery.frame("BAU_Ack", 1.0))}
    news = {"BAU_State", "BAU_Electrical", "BAU_Alarms", "BAU_Faults", "BAU_Ack"}
    assert {name for name, is_news in told.items() if is_news} == news & set(told)


def all_young(signals: Signals, now_s: float) -> bool:
    """Hold if every value is young: a condition that notices each time that is wrong."""
    return all(now_s - each.at_s < 1.0 for each in signals.samples.values())


class Plain(Intake):
    """Decodes each frame, whatever was before."""

    def take(self, frame: Frame) -> bool:
        """Take one frame."""
        accepted = self.accept(frame)
        return accepted is not None and self.store(*accepted, frame)


STEP = st.tuples(
    st.sampled_from(["frame"] * 5 + ["look", "watch", "bad"]),
    st.integers(0, 7),
    st.sampled_from([0.0, 0.01, 0.01, 0.1, 2.0]),
)


@given(st.data())
def test_decoding_on_change_is_the_same_as_decoding_each_frame(
    loaded: tuple[Profile, Database], data: st.DataObject
) -> None:
    """Any frames, repeated or not, pages, gaps, bad ones, with looks and watches in between."""
    profile, database = loaded
    intakes = Intake(profile, database), Plain(profile, database)
    source = Battery(profile, database)
    pool = [
        *(source.frame("BAU_Energy", 0.0, soc=soc) for soc in (10, 20)),
        *(source.frame("BAU_CellVoltages", 0.0, page=page) for page in (0, 1)),
        *(source.frame("BAU_State", 0.0) for _ in range(4)),
    ]
    watches = None
    at_s = 0.0
    for what, pick, gap_s in data.draw(st.lists(STEP, min_size=20, max_size=60)):
        at_s += gap_s
        frame = pool[pick % len(pool)]
        if what == "bad":
            frame = frame._replace(data=frame.data[:5])
        if what == "look":
            assert intakes[0].table.snapshot() == intakes[1].table.snapshot()
            assert intakes[0].table.heard() == intakes[1].table.heard()
        elif what == "watch" and watches is None:
            messages = frozenset({"BAU_Energy", "BAU_CellVoltages", "BAU_State"})
            watches = [each.table.watch(messages, all_young, 0.1) for each in intakes]
        elif what == "watch" and watches is not None:
            for each, watch in zip(intakes, watches, strict=True):
                each.table.unwatch(watch)
            watches = None
        else:
            for each in intakes:
                each.take(frame._replace(at_s=at_s))
        if watches is not None:
            seen = [each.table.look(watch) for each, watch in zip(intakes, watches, strict=True)]
            assert seen[0].counts == seen[1].counts
            assert seen[0].frames == seen[1].frames
    fast, plain = intakes
    assert fast.table.snapshot() == plain.table.snapshot()
    assert (fast.frames, fast.decoded, fast.bad) == (plain.frames, plain.decoded, plain.bad)
    assert fast.integrity.lost_frames == plain.integrity.lost_frames


def test_what_came_and_went_within_a_block_is_news(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """Open, closed, open between two looks: the last frame says nothing new, the one before did."""
    profile, database = loaded
    intake = Intake(replace(profile, integrity={}), database)
    opened, closed = (battery.frame("BAU_State", 1.0, contactor_status=each) for each in WORDS)
    assert intake.take_many(block_of(opened))
    assert not intake.take_many(block_of(opened, opened))
    assert intake.take_many(block_of(opened, closed, opened))
    assert not intake.take_many(block_of(opened))
    assert intake.table.heard()["BAU_State"].count == 7


def test_a_counter_that_goes_on_is_no_news(intake: Intake, battery: Battery) -> None:
    """Nor is the checksum over it: else the control thread would be woken for every frame."""
    first, second = (battery.frame("BAU_State", at_s) for at_s in (1.0, 1.1))
    assert first.data != second.data
    assert intake.take(first)
    assert not intake.take(second)
    assert intake.take(battery.frame("BAU_State", 1.2, contactor_status="closed"))


def test_while_frames_are_counted_each_is_news(intake: Intake, battery: Battery) -> None:
    """A command waits for its proof: it must not be late because the battery repeats itself."""
    intake.take(battery.frame("BAU_State", 1.0))
    watch = intake.table.watch(frozenset({"BAU_State"}), lambda *_: True, 0.5)
    assert intake.take(battery.frame("BAU_State", 1.1))
    assert intake.take_many(block_of(battery.frame("BAU_State", 1.2)))
    assert intake.table.look(watch).streak == 2


def test_blocks_that_say_nothing_new_wait_for_a_look(intake: Intake, battery: Battery) -> None:
    """A look sees all of them, whatever of it is asked; the counts are those of the last look."""
    intake.take_many(block_of(battery.frame("BAU_State", 1.0)))
    intake.take_many(block_of(battery.frame("BAU_State", 1.1), battery.frame("BAU_Energy", 1.1)))
    intake.take_many(block_of(battery.frame("BAU_State", 1.2)))
    assert intake.frames == 1
    assert intake.table.heard()["BAU_State"].count == 3
    assert intake.frames == 4
    intake.take_many(block_of(battery.frame("BAU_State", 1.3)))
    sample = intake.table.snapshot().samples["BAU_State.contactor_status"]
    assert (sample.at_s, intake.frames) == (1.3, 5)


def test_what_a_status_rests_on_can_be_had_alone(
    loaded: tuple[Profile, Database], intake: Intake, battery: Battery
) -> None:
    """The control thread asks ten times a second: the same status, without the other numbers."""
    profile, _ = loaded
    for at_s in (1.0, 1.1):
        for name in (*profile.required, "BAU_Energy"):
            intake.take_many(block_of(battery.frame(name, at_s)))
        stated = intake.stated()
        statuses = [
            derive_status(each, profile, at_s) for each in (stated, intake.table.snapshot())
        ]
        assert statuses[0] == statuses[1]
        assert set(stated.samples) == set(profile.status_signals())
        assert set(stated.heard) == set(profile.required)
    assert intake.table.snapshot().samples["BAU_Energy.soc"].at_s == 1.1


def test_frames_from_before_a_watch_do_not_count_for_it(intake: Intake, battery: Battery) -> None:
    """They may wait when it begins, and the moment after which it counts may be earlier."""
    intake.take_many(block_of(battery.frame("BAU_State", 1.0)))
    intake.take_many(block_of(battery.frame("BAU_State", 1.1)))
    watch = intake.table.watch(frozenset({"BAU_State"}), lambda *_: True, 0.5)
    assert intake.table.look(watch).streak == 0
    intake.take_many(block_of(battery.frame("BAU_State", 1.2)))
    assert intake.table.look(watch).streak == 1


def test_a_single_frame_comes_after_the_blocks_that_wait(intake: Intake, battery: Battery) -> None:
    """The newest values are the newest ones, and no counter goes back."""
    intake.take_many(block_of(battery.frame("BAU_State", 1.0)))
    intake.take_many(block_of(battery.frame("BAU_State", 1.1)))
    intake.take(battery.frame("BAU_State", 1.2))
    assert intake.table.snapshot().samples["BAU_State.contactor_status"].at_s == 1.2
    assert (intake.integrity.lost_frames, intake.bad) == (0, {})


def test_not_many_frames_wait(intake: Intake, battery: Battery) -> None:
    """Where nobody looks the memory does not fill."""
    intake.take_many(block_of(battery.frame("BAU_State", 0.0)))
    for number in range(3 * MOST_WAITING):
        intake.take_many(block_of(battery.frame("BAU_Energy", number / 100, soc=50)))
    assert intake.frames >= 2 * MOST_WAITING


def test_looks_from_another_thread_lose_no_frame(intake: Intake, battery: Battery) -> None:
    """Who looks takes what waits, while the receive thread brings more."""
    intake.take_many(block_of(battery.frame("BAU_State", 0.0)))
    frames = [battery.frame("BAU_State", number / 100) for number in range(1, 3001)]
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            intake.table.snapshot()

    reader = threading.Thread(target=look)
    reader.start()
    for at in range(0, 3000, 2):
        intake.take_many(block_of(*frames[at : at + 2]))
    done.set()
    reader.join()
    assert intake.table.heard()["BAU_State"].count == 3001
    assert (intake.frames, intake.integrity.lost_frames, intake.bad) == (3001, 0, {})


def test_a_watch_sees_every_frame_of_a_block(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """A command waits for three frames in a row: each counts, with the values of its moment."""
    profile, database = loaded
    intake = Intake(profile, database)
    words = ("closed", "closed", "open", "closed", "closed", "closed")
    frames = [battery.frame("BAU_State", 1.0, contactor_status=each) for each in words]

    def is_closed(signals: Signals, _now_s: float) -> bool:
        return signals.samples["BAU_State.contactor_status"].raw == 1

    watch = intake.table.watch(frozenset({"BAU_State"}), is_closed, 0.5)
    intake.take_many(block_of(*frames))
    assert intake.table.look(watch).streak == 3
    assert list(intake.table.look(watch).frames) == frames[3:]


def spoilt(battery: Battery, how: str) -> Frame:
    """Return a frame that must change nothing."""
    frame = battery.frame("BAU_State", 2.0, contactor_status="closed")
    data = frame.data
    if how == "length":
        return frame._replace(data=data[:7])
    if how == "too long":
        return frame._replace(data=data + b"\0")
    if how == "checksum":
        return frame._replace(data=bytes([data[0] ^ 4]) + data[1:])
    if how == "mux":
        return battery.frame("BAU_CellVoltages", 2.0)._replace(data=b"\x63" + bytes(7))
    return frame


@pytest.mark.parametrize(
    ("how", "reason"),
    [("length", "length"), ("too long", "length"), ("checksum", "checksum"), ("mux", "mux")],
)
def test_a_bad_frame_changes_nothing(
    intake: Intake, battery: Battery, how: str, reason: str
) -> None:
    """It is counted by its reason; values, times and counts of the table stay."""
    intake.take(battery.frame("BAU_State", 1.0))
    before = intake.table.snapshot()
    assert not intake.take(spoilt(battery, how))
    after = intake.table.snapshot()
    assert (after.samples, after.heard) == (before.samples, before.heard)
    assert intake.bad == {reason: 1}
    assert (intake.frames, intake.decoded) == (2, 1)


def test_a_frozen_sender_is_not_fresh(intake: Intake, battery: Battery) -> None:
    """The same frame for ever, with its counter standing still, is silence."""
    frame = battery.frame("BAU_State", 1.0)
    intake.take(frame)
    for i in range(10):
        intake.take(frame._replace(at_s=2.0 + i))
    assert intake.bad == {"counter": 10}
    assert intake.table.heard()["BAU_State"].at_s == 1.0


def test_the_other_kind_of_identifier_is_another_message(intake: Intake, battery: Battery) -> None:
    """The same number as a standard identifier is not the battery's message (trap 16)."""
    frame = battery.frame("BAU_State", 1.0)
    assert not intake.take(frame._replace(extended=False))
    assert intake.unknown == {(frame.can_id, False): 1}
    assert intake.table.heard() == {}


def test_unknown_identifiers_are_counted(intake: Intake) -> None:
    """Frames of others are no mistake."""
    for can_id in (0x10, 0x11, 0x10):
        assert not intake.take(Frame(1.0, can_id, extended=False, data=b""))
    assert intake.unknown == {(0x10, False): 2, (0x11, False): 1}


def test_a_babbling_node_does_not_fill_the_memory(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Identifiers are remembered up to a limit; those beyond are counted together."""
    monkeypatch.setattr(module, "MOST_UNKNOWN", 3)
    for can_id in (1, 2, 3, 4, 5, 1):
        intake.take(Frame(1.0, can_id, extended=False, data=b""))
    assert len(intake.unknown) == 3
    assert (intake.unknown[1, False], intake.unknown_more) == (2, 2)


@pytest.mark.parametrize(
    ("channel", "heard_on", "taken"),
    [
        (None, "can0", True), ("can1", "can1", True), ("can1", "", True), ("can1", "can0", False),
    ],
)  # fmt: skip
def test_only_the_profile_s_channel(
    loaded: tuple[Profile, Database],
    battery: Battery,
    channel: str | None,
    heard_on: str,
    *,
    taken: bool,
) -> None:
    """A log with several buses gives only the frames of one; a bus without name always counts."""
    rules, database = loaded
    intake = Intake(replace(rules, channel=channel), database)
    assert intake.take(battery.frame("BAU_State", 1.0)._replace(channel=heard_on)) == taken
    assert intake.frames == 1
    assert intake.unknown == {}


@pytest.mark.parametrize("channels", [("can0", "can1"), ("can1", "can0")])
def test_strangers_on_another_channel_are_not_counted(
    loaded: tuple[Profile, Database], channels: tuple[str, str]
) -> None:
    """Nor those whose identifier is known from our own channel."""
    rules, database = loaded
    intake = Intake(replace(rules, channel="can0"), database)
    for channel in channels:
        intake.take(Frame(1.0, 0x10, extended=False, data=b"", channel=channel))
    assert intake.unknown == {(0x10, False): 1}


FRAMES = st.builds(
    Frame,
    st.floats(0, 100),
    st.sampled_from([STATE_ID, 0x1802E5F4, 0x1811F4E5, 0x100]) | st.integers(0, 0x1FFFFFFF),
    st.booleans(),
    st.binary(max_size=8) | st.binary(max_size=64),
)


@given(st.lists(FRAMES, max_size=30))
def test_random_frames_never_raise_and_never_power_down(
    loaded: tuple[Profile, Database], frames: list[Frame]
) -> None:
    """Noise is counted; without right checksums it makes no status."""
    rules, database = loaded
    intake = Intake(rules, database)
    for frame in frames:
        intake.take(frame)
    counted = intake.decoded + intake.unknown.total() + intake.bad.total()
    assert counted == intake.frames == len(frames)
    status = derive_status(intake.table.snapshot(), rules, 101.0, listening_since_s=100.9)
    assert status.operating is None
