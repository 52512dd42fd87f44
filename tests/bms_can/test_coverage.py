"""How much of a log a DBC explains, and what speaks against it."""

from pathlib import Path

import pytest

from bms_can.candump import candump_frames
from bms_can.coverage import KEPT_LINES, Coverage
from bms_can.database import Database, load
from bms_can.errors import BadLogLine
from bms_can.frame import Frame

DBC = """\
VERSION ""
BS_:
BU_: BMS
BO_ 256 Pack: 2 BMS
 SG_ soc : 0|8@1+ (1,0) [0|100] "%" BMS
 SG_ free : 8|8@1+ (1,0) [0|0] "" BMS
BO_ 2147483904 PackExtended: 1 BMS
 SG_ soc : 0|8@1+ (1,0) [0|100] "%" BMS
"""
PACK, ALIEN = 256, 512


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Give a DBC with a standard and an extended message of the same number."""
    path = tmp_path_factory.mktemp("coverage") / "pack.dbc"
    path.write_text(DBC, encoding="ascii")
    return load(path)


def frame(can_id: int, data: bytes, *, extended: bool = False, channel: str = "") -> Frame:
    """Return a frame; time does not matter here."""
    return Frame(0.0, can_id, extended, data, channel)


def covered(database: Database, *frames: Frame, channel: str | None = None) -> Coverage:
    """Count some frames."""
    coverage = Coverage(database, channel)
    for each in frames:
        coverage.take(each)
    return coverage


def test_an_empty_log(database: Database) -> None:
    """Nothing is known of nothing, and nothing is doubtful."""
    found = covered(database)
    assert (found.frames, found.known, found.percent_known) == (0, 0, 0.0)
    assert found.doubts() == {}


def test_known_and_unknown(database: Database) -> None:
    """Frames are told apart by identifier and its kind; both are counted."""
    found = covered(
        database,
        frame(PACK, b"\x32\x00"),
        frame(PACK, b"\x32", extended=True),
        frame(ALIEN, b""),
        frame(ALIEN, b"", extended=True),
        frame(ALIEN, b""),
    )
    assert (found.frames, found.known, found.decoded) == (5, 2, 2)
    assert found.percent_known == 40.0
    assert found.unknown == {(ALIEN, False): 2, (ALIEN, True): 1}


def test_frames_of_the_wrong_length_are_evidence(database: Database) -> None:
    """They are known, not decoded, counted by reason, and make the message doubtful."""
    found = covered(database, frame(PACK, b"\x32\x00"), frame(PACK, b"\x32"), frame(PACK, b"\x32"))
    assert (found.known, found.decoded) == (3, 1)
    assert found.bad == {"length": 2}
    assert found.doubts()["Pack"].share == pytest.approx(2 / 3)


def test_impossible_values_are_evidence(database: Database) -> None:
    """A value outside the range that the DBC itself declares is counted by signal."""
    frames = [frame(PACK, b"\xff\xff")] * 2 + [frame(PACK, b"\x32\xff")] * 8
    doubts = covered(database, *frames).doubts()
    assert dict(doubts["Pack"].impossible) == {"Pack.soc": 2}
    assert doubts["Pack"].share == pytest.approx(0.2)


def test_one_accident_in_a_hundred_is_no_doubt(database: Database) -> None:
    """Up to one frame in a hundred may be out of range; one more is too many."""
    good, odd = frame(PACK, b"\x32\x00"), frame(PACK, b"\xff\x00")
    assert covered(database, *[good] * 99, odd).doubts() == {}
    assert "Pack" in covered(database, *[good] * 98, odd, odd).doubts()


def test_the_worst_message_comes_first(database: Database) -> None:
    """Doubts are sorted by share, whatever the order of the frames."""
    half = [frame(PACK, b"\xff\x00"), frame(PACK, b"\x01\x00")]
    found = covered(database, *half, frame(PACK, b"", extended=True)).doubts()
    assert list(found) == ["PackExtended", "Pack"]


def test_other_channels_do_not_count(database: Database) -> None:
    """With a channel given, frames of another are only counted as such."""
    frames = [
        frame(PACK, b"\x32\x00", channel="can0"),
        frame(PACK, b"\x32", channel="can1"),
        frame(PACK, b"\x32\x00"),
    ]
    found = covered(database, *frames, channel="can0")
    assert (found.frames, found.other_channel, found.looked_at, found.known) == (3, 1, 2, 2)
    assert found.percent_known == 100.0
    assert not found.bad


def test_skipped_lines_keep_their_first_numbers(database: Database) -> None:
    """Lines without a data frame are counted by reason; a few numbers are kept of each."""
    coverage = Coverage(database)
    for number in range(1, 9):
        coverage.skip(BadLogLine(number, "not a frame", "text"))
    coverage.skip(BadLogLine(9, "remote frame", "text"))
    assert coverage.lines == {"not a frame": 8, "remote frame": 1}
    assert coverage.line_numbers["not a frame"] == list(range(1, KEPT_LINES + 1))
    assert coverage.line_numbers["remote frame"] == [9]


def test_the_right_dbc_is_not_doubtful() -> None:
    """Our own recording against our own DBC: everything known, nothing bad, no doubt."""
    root = Path(__file__).parents[2]
    coverage = Coverage(load(root / "dbc" / "ess_bau.dbc"))
    with (root / "tests" / "data" / "ess_bau" / "half_minute.log").open(encoding="ascii") as lines:
        for each in candump_frames(lines):
            assert isinstance(each, Frame)
            coverage.take(each)
    assert coverage.percent_known == 100.0
    assert coverage.decoded == coverage.frames
    assert coverage.doubts() == {}
