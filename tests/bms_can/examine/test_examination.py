"""What is planted into a recording is found, with its place; the recording itself is clean."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from bms_can.database import Database, load
from bms_can.examine.examination import examine
from bms_can.examine.finding import Weight
from bms_can.examine.log_tally import MOST_STREAMS
from bms_can.frame import Frame
from bms_can.profile import Profile
from tests.bms_can.examine.logs import DBC, chunks, examined, of_kind, recorded

STATE, ENERGY, ELECTRICAL = 0x1801E5F4, 0x1803E5F4, 0x1802E5F4
FRAMES = recorded()


def test_our_own_recording_has_no_fault() -> None:
    """Nothing does not fit; its counters and checksums are found, under their names in the DBC."""
    seen = examined(FRAMES)
    assert [each for each in seen.findings if each.weight is Weight.WRONG] == []
    found = {
        (each.kind, each.numbers["signal"]) for each in seen.findings if "name" in each.numbers
    }
    assert found == {("checksum", "checksum")}
    assert {each.numbers["name"] for each in of_kind(seen, "checksum")} == {"crc8-sae-j1850"}
    assert {each.numbers["signal"] for each in of_kind(seen, "counter")} == {"counter"}
    assert of_kind(seen, "page") == []  # the DBC says that these messages are multiplexed
    (pause,) = of_kind(seen, "pause")  # the story has the battery fall silent at 22 s
    assert pause.numbers["longest_s"] == 3.1
    assert of_kind(seen, "gap") == []


def test_the_size_of_the_chunks_makes_no_difference() -> None:
    """Small pieces, or all at once: the same findings."""
    database = load(DBC)
    whole = examine(chunks(FRAMES, 60_000), database)
    assert examine(chunks(FRAMES, 61), database).findings == whole.findings


def test_short_frames_are_found() -> None:
    """All frames of a message lose a byte from the hundredth frame on."""
    frames = [
        frame._replace(data=frame.data[:7]) if number >= 100 and frame.can_id == ENERGY else frame
        for number, frame in enumerate(FRAMES)
    ]
    (found,) = of_kind(examined(frames), "length")
    assert found.weight is Weight.WRONG
    assert found.numbers["found"] == 7
    assert found.numbers["stated"] == 8
    cut = [n for n, frame in enumerate(frames, 1) if len(frame.data) == 7]
    assert (found.frames, found.first_line) == (len(cut), cut[0])


def test_values_outside_their_range_are_found_with_their_place() -> None:
    """A state of charge of 250 % in one frame of 27."""
    numbers = [n for n, frame in enumerate(FRAMES) if frame.can_id == ENERGY]
    frames = list(FRAMES)
    frames[numbers[5]] = frames[numbers[5]]._replace(data=b"\xc4\x09" + frames[numbers[5]].data[2:])
    seen = examined(frames)
    found = of_kind(seen, "range")
    assert found[0].numbers["value"] == 250
    assert [(each.subject, each.frames, each.first_line) for each in found] == [
        ("BAU_Energy.soc", 1, numbers[5] + 1)
    ]


def test_all_ones_count_apart() -> None:
    """They mostly mean: not available."""
    frames = [
        frame._replace(data=b"\xff\xff" + frame.data[2:]) if frame.can_id == ENERGY else frame
        for frame in FRAMES
    ]
    seen = examined(frames)
    assert [each.subject for each in of_kind(seen, "sentinel")] == ["BAU_Energy.soc"]
    assert of_kind(seen, "range") == []


def test_values_without_a_name_are_found() -> None:
    """A contactor status of 0, which the DBC does not name."""
    frames = [
        frame._replace(data=bytes([frame.data[0] & ~0x03]) + frame.data[1:])
        if frame.can_id == STATE
        else frame
        for frame in FRAMES
    ]
    assert "BAU_State.contactor_status" in {
        each.subject for each in of_kind(examined(frames), "enum")
    }


def test_damaged_checksums_and_lost_frames_are_found() -> None:
    """One flipped bit, one lost frame: one bad checksum, one jump, with their lines."""
    numbers = [n for n, frame in enumerate(FRAMES) if frame.can_id == ELECTRICAL]
    frames = list(FRAMES)
    bad = frames[numbers[100]]
    frames[numbers[100]] = bad._replace(data=bytes([bad.data[0] ^ 0x10]) + bad.data[1:])
    del frames[numbers[150]]
    seen = examined(frames)
    (checksum,) = [each for each in of_kind(seen, "checksum") if "BAU_Electrical" in each.subject]
    assert (checksum.numbers["bad"], checksum.first_line) == (1, numbers[100] + 1)
    assert checksum.weight is Weight.LOOK
    (counter,) = [each for each in of_kind(seen, "counter") if "BAU_Electrical" in each.subject]
    assert (counter.numbers["lost"], counter.numbers["repeated"]) == (1, 0)


def test_a_counter_in_an_unknown_identifier_is_found() -> None:
    """Without any help of the DBC; and what else moves in it."""
    rng = np.random.default_rng(1)
    strange = [
        Frame(
            FRAMES[0].at_s + 0.05 * n,
            0x123,
            extended=False,
            data=bytes([n % 16, int(rng.integers(9)), 7]),
        )
        for n in range(200)
    ]
    seen = examined(sorted([*FRAMES, *strange], key=lambda frame: frame.at_s))
    assert of_kind(seen, "unknown-ids")[0].frames == 200
    (counter,) = [each for each in of_kind(seen, "counter") if "0x123" in each.subject]
    assert (counter.numbers["place"], counter.numbers["modulo"]) == ("[0] bit 0..3", 16)
    (fields,) = of_kind(seen, "fields")
    assert fields.numbers["list"] == "[1] 0..8"


def test_another_period_than_the_dbc_says_is_found() -> None:
    """Every second frame of a message is missing."""
    numbers = [n for n, frame in enumerate(FRAMES) if frame.can_id == STATE]
    gone = set(numbers[::2])
    seen = examined([frame for n, frame in enumerate(FRAMES) if n not in gone])
    (found,) = of_kind(seen, "period")
    assert "BAU_State" in found.subject
    assert (found.numbers["stated_ms"], found.numbers["found_ms"]) == (100, 200.0)


def test_one_silent_sender_is_a_gap_not_a_pause() -> None:
    """Two seconds of one message are missing, the others go on."""
    start_s = FRAMES[0].at_s
    frames = [f for f in FRAMES if f.can_id != STATE or not 8 <= f.at_s - start_s < 10]
    found = of_kind(examined(frames), "gap")
    assert [each.subject for each in found] == [] or "BAU_State" in found[0].subject
    seen = examined([frame for frame in frames if frame.at_s - start_s < 20])
    (gap,) = of_kind(seen, "gap")
    assert gap.numbers["longest_s"] == pytest.approx(2.1, abs=0.11)


def test_another_battery_s_dbc_is_told() -> None:
    """The identifiers of our log are not in it: the bus is not described."""
    database = load(DBC.with_name("orion2.dbc"))
    (found,) = of_kind(examined(FRAMES, database), "not-described")
    assert found.weight is Weight.WRONG


def test_values_that_no_battery_has_are_told() -> None:
    """The highest cell voltage is below the lowest: the bits mean something else."""
    seen = examined(low_highs(FRAMES))
    assert [each.subject for each in of_kind(seen, "crossed")] == [
        "BAU_CellVoltageExtremes.highest_cell_voltage"
    ]


def low_highs(frames: list[Frame]) -> list[Frame]:
    """Take a volt off every highest cell voltage."""
    extremes = 0x1805E5F4
    found = []
    for frame in frames:
        data = frame.data
        if frame.can_id == extremes:
            data = (int.from_bytes(data[:2], "little") - 1000).to_bytes(2, "little") + data[2:]
        found.append(frame._replace(data=data))
    return found


def test_coarse_time_stamps_stop_all_talk_of_periods() -> None:
    """Whole seconds: one finding on the log, none on any period or gap."""
    seen = examined([frame._replace(at_s=float(int(frame.at_s))) for frame in FRAMES])
    assert of_kind(seen, "coarse-time")
    timed = {"period", "jitter", "gap", "pause"}
    assert not timed & {each.kind for each in seen.findings}


def test_two_channels_with_one_identifier_are_told() -> None:
    """The same identifier on two buses; the second channel is none of this DBC."""
    others = [
        Frame(frame.at_s, 0x700 + n % 4, extended=False, data=bytes(8), channel="can1")
        for n, frame in enumerate(FRAMES)
    ]
    shared = [replace_channel(frame) for frame in FRAMES[:300:3]]
    both = sorted([*FRAMES, *others, *shared], key=lambda frame: frame.at_s)
    seen = examined(both)
    assert of_kind(seen, "channels")[0].numbers["shared"]
    only = examine(chunks(both), load(DBC), channel="can0")
    assert only.evidence.log.frames == len(FRAMES)


def replace_channel(frame: Frame) -> Frame:
    """Return a frame as heard on the other bus."""
    return frame._replace(channel="can1")


def test_a_babbling_node_does_not_fill_the_memory() -> None:
    """More identifiers than are kept: the rest is only counted."""
    frames = [Frame(n / 1000, n, extended=True, data=b"") for n in range(MOST_STREAMS + 500)]
    seen = examine(chunks(frames))
    assert len(seen.evidence.log.streams) == MOST_STREAMS
    assert seen.evidence.log.beyond == 500
    assert of_kind(seen, "too-many-ids")[0].frames == 500


def test_an_empty_log_is_one_finding() -> None:
    """No frame: nothing else is said."""
    assert [each.kind for each in examine(iter(())).findings] == ["no-frames"]


@pytest.fixture
def pair(loaded: tuple[Profile, Database]) -> tuple[Profile, Database]:
    """Our battery with a short deadline and without integrity rules."""
    profile, database = loaded
    deadlines_s = {**profile.deadlines_s, "BAU_State": 0.05}
    return replace(profile, deadlines_s=deadlines_s, integrity={}), database


def test_a_profile_is_compared_with_the_log(pair: tuple[Profile, Database]) -> None:
    """A deadline shorter than the period; counters and checksums that it does not use."""
    profile, database = pair
    seen = examined([f for f in FRAMES if f.can_id != ELECTRICAL], database, profile)
    assert "BAU_State" in {each.subject for each in of_kind(seen, "deadline-short")}
    assert [each.subject for each in of_kind(seen, "profile-silent")] == ["BAU_Electrical"]
    unused = {each.subject for each in of_kind(seen, "profile-checksum")}
    assert unused == {"BAU_State", "BAU_Alarms", "BAU_Faults"}


def endless(times: int) -> Iterator[Frame]:
    """Yield the recording again and again, each time later."""
    for turn in range(times):
        for frame in FRAMES:
            yield frame._replace(at_s=frame.at_s + 30.0 * turn)


def test_memory_does_not_grow_with_the_log() -> None:
    """The sums of a log that is eight times as long are as large."""
    sizes = []
    for times in (1, 8):
        seen = examine(chunks(endless(times), 5000), load(DBC))
        log, dbc = seen.evidence.log, seen.evidence.dbc
        assert dbc is not None
        held = sum(len(part.at_s) for stream in log.streams.values() for part in stream._held)
        sizes.append((len(log.streams), len(dbc.signals), len(dbc.grid.series), held < 5000))
    assert sizes[0] == sizes[1]
