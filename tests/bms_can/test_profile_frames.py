"""Section [frames]: lengths and senders that the DBC has wrong, as codec and profile see them."""

from pathlib import Path

import pytest

from bms_can.database import Database
from bms_can.errors import BadFrame, BadProfile
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from tests.bms_can.build import toml_text
from tests.bms_can.tiny import Toml, read

# Motorola order: a signal's place must not move when the message gets longer or shorter.
TRUCK = """VERSION ""
BS_:
BU_: BMS
BO_ 2566869246 CellData: 6 BMS
 SG_ current : 7|16@0- (0.1,0) [0|0] "A" BMS
 SG_ closed : 23|8@0+ (1,0) [0|3] "" BMS
 SG_ tail : 47|8@0+ (1,0) [0|0] "" BMS
BO_ 2566869500 Other: 8 BMS
 SG_ x : 0|8@1+ (1,0) [0|0] "" BMS
BO_ 257 Short: 8 BMS
 SG_ y : 0|8@1+ (1,0) [0|0] "" BMS
"""
DBC_ID, ON_BUS, OTHER_ID = 0x18FF50FE, 0x18FF50F4, 0x18FF51FC
SAID: Toml = {
    "profile": {"name": "truck", "dbc": "truck.dbc", "read_only": "test"},
    "freshness": {"required": ["CellData"], "deadline_ms": {"CellData": 500}},
    "operating_status": {
        "contactor": {"signals": [{"signal": "CellData.closed", "closed": [1], "open": [0]}]},
        "current": {"signal": "CellData.current", "positive": "charging", "dead_band_a": 1},
    },
}


def truck(folder: Path, frames: object) -> tuple[Profile, Database]:
    """Load the truck with its section [frames]."""
    (folder / "truck.dbc").write_text(TRUCK, encoding="utf-8")
    path = folder / "truck.toml"
    path.write_text(toml_text(SAID | {"frames": frames}), encoding="utf-8")
    return load_profile(path)


def heard(loaded: tuple[Profile, Database], can_id: int, data: str) -> float | str | None:
    """Return the current in a frame, or the reason why the frame was refused."""
    intake = Intake(*loaded)
    intake.take(Frame(1.0, can_id, can_id > 0x7FF, bytes.fromhex(data)))
    if intake.bad:
        return next(iter(intake.bad))
    sample = intake.table.snapshot().samples.get("CellData.current")
    return None if sample is None else sample.value


@pytest.mark.parametrize(
    ("length", "data", "expected"),
    [
        (8, "006401000000AAAA", 10.0),
        (8, "006401000000", "length"),
        (3, "006401", 10.0),
        ([3, 6, 8], "006401", 10.0),
        ([3, 6, 8], "006401000000", 10.0),
        ([8, 3], "FF9C01FFFFFFFFFF", -10.0),
        ([3, 8], "00640100", "length"),
        (64, "006401" + 61 * "00", 10.0),
    ],
)
def test_the_stated_length_counts(
    tmp_path: Path, length: object, data: str, expected: float | str
) -> None:
    """Declared with 6 bytes; a frame is used if it has a stated length, and only then."""
    loaded = truck(tmp_path, {"CellData": {"length": length}})
    assert heard(loaded, DBC_ID, data) == expected


def test_without_a_word_the_dbc_counts(tmp_path: Path) -> None:
    """No section: 6 bytes as declared, at the DBC's identifier."""
    loaded = truck(tmp_path, {})
    assert heard(loaded, DBC_ID, "006401000000") == 10.0
    assert heard(loaded, DBC_ID, "006401000000AAAA") == "length"
    assert heard(loaded, ON_BUS, "006401000000") is None


def test_a_j1939_sender_is_stated(tmp_path: Path) -> None:
    """The file has a placeholder for the sender; only the stated address counts on the bus."""
    loaded = truck(tmp_path, {"Cell*": {"source": 0xF4, "length": 8}})
    assert heard(loaded, ON_BUS, "0064010000000000") == 10.0
    assert heard(loaded, DBC_ID, "0064010000000000") is None
    assert loaded[1].messages["CellData"].frame_id == ON_BUS
    assert loaded[1].messages["Other"].frame_id == OTHER_ID


def test_globs_and_names_add_up(tmp_path: Path) -> None:
    """A later line adds to an earlier one."""
    frames = {"*Data": {"source": 0xF4}, "CellData": {"length": 8}}
    assert heard(truck(tmp_path, frames), ON_BUS, "0064010000000000") == 10.0


FEEDBACK = "operating_status.contactor.signals[0].signal"
LENGTHS = "1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64"


@pytest.mark.parametrize(
    ("frames", "mistake"),
    [
        ({"CelData": {"length": 8}}, "frames.CelData: the DBC has no such message"),
        ({"CellData": {}}, "frames.CellData: needs length or source"),
        ({"CellData": 8}, "frames.CellData: must be a table, not an integer"),
        (
            {"CellData": {"length": 9}},
            f"frames.CellData.length: must be of {LENGTHS}, each once",
        ),
        (
            {"CellData": {"length": [8, 8]}},
            f"frames.CellData.length: must be of {LENGTHS}, each once",
        ),
        (
            {"CellData": {"source": 0xFE}},
            "frames.CellData.source: must be at most 253, not 254",
        ),
        (
            {"Short": {"source": 1}},
            "frames.Short.source: Short has an 11-bit identifier: no J1939 address in it",
        ),
        (
            {"CellData": {"length": 2}},
            f'{FEEDBACK}: "CellData.closed" is not usable in a message of 2 bytes',
        ),
    ],
)
def test_mistakes(tmp_path: Path, frames: object, mistake: str) -> None:
    """What does not fit the DBC is refused, with the key."""
    with pytest.raises(BadProfile) as caught:
        truck(tmp_path, frames)
    assert mistake in caught.value.mistakes


def test_two_messages_cannot_share_an_identifier(tmp_path: Path) -> None:
    """A sender that moves a message onto another one's identifier is refused."""
    text = TRUCK.replace("2566869500", "2566869236")  # 18FF50F4
    (tmp_path / "truck.dbc").write_text(text, encoding="utf-8")
    path = tmp_path / "truck.toml"
    frames = {"CellData": {"source": 0xF4}}
    path.write_text(toml_text(SAID | {"frames": frames}), encoding="utf-8")
    with pytest.raises(BadProfile) as caught:
        load_profile(path)
    assert caught.value.mistakes[0].endswith("would have the identifier of another message")


def test_seals_know_the_stated_lengths(tmp_path: Path) -> None:
    """Counter and checksum are checked on every stated length, and on no other."""
    loaded = read(
        tmp_path,
        ("frames", {"Alive": {"length": [2, 4]}}),
        ("integrity[1]", {"messages": ["Alive"], "counter": "beat", "modulo": 16}),
        ("telemetry.beat", "Alive.beat"),
        ("freshness.deadline_ms", {"Alive": 500}),
    )
    intake = Intake(*loaded)
    for data in ("0100", "02000000", "03000000", "0400"):
        assert intake.accept(Frame(1.0, 260, extended=False, data=bytes.fromhex(data)))
    assert intake.accept(Frame(1.0, 260, extended=False, data=bytes(3))) is None
    assert dict(intake.bad) == {"length": 1}
    with pytest.raises(BadFrame, match="3 bytes, not 2"):
        intake.integrity.check("Alive", bytes(3))
