"""Counters and checksums: known answers, sealing, and every way a sender can go wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.database import Database, load
from bms_can.errors import BadDatabase, BadFrame
from bms_can.integrity import ALGORITHMS, Integrity, rule_mistakes
from bms_can.profile import IntegrityRule

DBC = """VERSION ""
NS_ :
BS_:
BU_: A
BO_ 256 Little: 8 A
 SG_ order : 0|8@1+ (1,0) [0|0] "" A
 SG_ count : 8|4@1+ (1,0) [0|0] "" A
 SG_ sum : 56|8@1+ (1,0) [0|0] "" A
 SG_ signed : 16|8@1- (1,0) [0|0] "" A
 SG_ askew : 25|8@1+ (1,0) [0|0] "" A
BO_ 2566869232 Big: 8 A
 SG_ sum : 7|8@0+ (1,0) [0|0] "" A
 SG_ count : 11|4@0+ (1,0) [0|0] "" A
BO_ 513 Mux: 8 A
 SG_ sel M : 0|8@1+ (1,0) [0|0] "" A
 SG_ paged m0 : 8|8@1+ (1,0) [0|0] "" A
"""
CHECK = b"123456789"  # the usual check string of CRC catalogues


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Return the database above."""
    path: Path = tmp_path_factory.mktemp("integrity") / "x.dbc"
    path.write_text(DBC)
    return load(path)


def _integrity(
    database: Database, algorithm: str | None = "sum8", modulo: int = 16, message: str = "Little"
) -> Integrity:
    checksum = None if algorithm is None else "sum"
    rule = IntegrityRule(message, "count", modulo, checksum, algorithm)
    return Integrity(database, {message: rule})


def _check(integrity: Integrity, data: bytes, message: str = "Little") -> str:
    """Return "" if the frame is accepted, else the reason."""
    try:
        integrity.check(message, data)
    except BadFrame as bad:
        return bad.reason
    return ""


def _counts(integrity: Integrity, *counters: int) -> list[str]:
    return [
        _check(integrity, integrity.sealed("Little", bytes(8), counter)) for counter in counters
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("crc8", 0xF4), ("crc8-sae-j1850", 0x4B), ("crc8-autosar", 0xDF)],
)
def test_crcs_give_the_published_check_values(name: str, expected: int) -> None:
    """As in every CRC catalogue; the checksum's own byte is passed over, wherever it stands."""
    assert ALGORITHMS[name](0, b"\0" + CHECK, 0) == expected
    assert ALGORITHMS[name](0, CHECK[:4] + b"\0" + CHECK[4:], 4) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sum8", 0x35), ("sum8-inverted", 0xCA), ("xor8", 0xCF), ("sum8-id-len", 0x3C)],
)
def test_sums_by_hand(name: str, expected: int) -> None:
    """0xFF + 0x33 + 0x03 worked out by hand, with id 0x103 and length 4 where it counts.

    The checksum's own byte does not count, whatever it says.
    """
    assert ALGORITHMS[name](0x103, b"\xff\x33\x03\x99", 3) == expected


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("message", ["Little", "Big"])
def test_sealed_frames_pass(database: Database, algorithm: str, message: str) -> None:
    """A whole turn of the counter passes, in both byte orders, and payload bits stay."""
    integrity = _integrity(database, algorithm, message=message)
    payload = b"\x00\x00\x11\x22\x33\x44\x55\x00"
    frames = integrity.counter_frames(message, payload)
    assert len(set(frames)) == 16
    assert [_check(integrity, frame, message) for frame in (*frames, *frames)] == [""] * 32
    assert {frame[2:7] for frame in frames} == {payload[2:7]}
    assert integrity.lost_frames == 0
    assert integrity.refused == {}


def test_seals_the_full_identifier(database: Database) -> None:
    """The sum over id and length uses the 29-bit id without its flag."""
    sealed = _integrity(database, "sum8-id-len", message="Big").sealed("Big", bytes(8), 0)
    assert sealed[0] == (0x18FF50F0 + 8) & 0xFF


def test_counter_only_and_no_rule(database: Database) -> None:
    """A message may have a counter without checksum; one without a rule passes as it is."""
    integrity = _integrity(database, None, modulo=3)
    assert [frame[1] for frame in integrity.counter_frames("Little", bytes(8))] == [0, 1, 2]
    assert integrity.counter_frames("Big", b"\1") == (b"\1",)
    assert _check(integrity, b"\1\2", "Big") == ""
    assert _counts(integrity, 0, 1, 2, 0, 1) == [""] * 5


def test_checksum_only(database: Database) -> None:
    """A message may have a checksum without counter: one frame, and repeats are fine."""
    rule = IntegrityRule("Little", None, 16, "sum", "xor8")
    integrity = Integrity(database, {"Little": rule})
    frames = integrity.counter_frames("Little", b"\x5a" + bytes(7))
    assert frames == (b"\x5a" + bytes(6) + b"\x5a",)
    assert [_check(integrity, frames[0]) for _ in range(3)] == [""] * 3


@given(st.sampled_from(["crc8", "crc8-sae-j1850", "crc8-autosar"]), st.data())
def test_any_flipped_bit_is_refused(
    database: Database, algorithm: str, data: st.DataObject
) -> None:
    """A CRC sees every single wrong bit, in payload, counter or checksum."""
    message = data.draw(st.sampled_from(["Little", "Big"]))
    integrity = _integrity(database, algorithm, message=message)
    payload = data.draw(st.binary(min_size=8, max_size=8))
    sealed = integrity.sealed(message, payload, data.draw(st.integers(0, 15)))
    bit = data.draw(st.integers(0, 63))
    flipped = (int.from_bytes(sealed, "big") ^ 1 << bit).to_bytes(8, "big")
    assert _check(integrity, flipped, message) == "checksum"
    assert _check(integrity, sealed, message) == ""


def test_a_wrong_checksum_leaves_the_counter_alone(database: Database) -> None:
    """A damaged frame is not looked at any further: the next good one is in order."""
    integrity = _integrity(database)
    assert _counts(integrity, 3) == [""]
    assert _check(integrity, b"\1\4" + bytes(6)) == "checksum"
    assert _counts(integrity, 4) == [""]
    assert integrity.refused == {"checksum": 1}
    assert integrity.lost_frames == 0


def test_wrong_lengths_are_refused(database: Database) -> None:
    """No field is read beyond the end."""
    integrity = _integrity(database)
    assert [_check(integrity, bytes(length)) for length in (0, 7, 9)] == ["length"] * 3
    assert integrity.refused == {"length": 3}


def test_a_frozen_sender_is_not_fresh(database: Database) -> None:
    """The same counter again is refused each time; a lasting freeze needs five right frames."""
    integrity = _integrity(database)
    assert _counts(integrity, 7, 7, 8) == ["", "counter", ""]
    assert _counts(integrity, *[8] * 20) == ["counter"] * 20
    assert _counts(integrity, 9, 10, 11, 12, 13, 14) == ["counter"] * 4 + ["", ""]


def test_lost_frames_are_counted_and_forgiven(database: Database) -> None:
    """A gap is accepted, also over the end of the range, and the missing frames are counted."""
    integrity = _integrity(database)
    assert _counts(integrity, 0, 1, 4, 5, 15, 2) == [""] * 6
    assert integrity.lost_frames == 2 + 9 + 2
    assert integrity.lost_by_message == {"Little": 13}


def test_a_counter_wrong_too_often_is_not_believed(database: Database) -> None:
    """The leaky count: +1 wrong, -1 right, refused from five until it is back at zero."""
    integrity = _integrity(database)
    assert _counts(integrity, 0, 2, 4, 6, 8) == [""] * 5
    assert _counts(integrity, 10) == ["counter"]
    assert _counts(integrity, 11, 12, 14, 15) == ["counter"] * 4
    assert _counts(integrity, 0, 1, 2) == ["counter", "counter", ""]


def test_the_counter_must_be_in_range(database: Database) -> None:
    """A modulo below the field's range makes the rest of it invalid."""
    integrity = _integrity(database, None, modulo=15)
    assert _check(integrity, bytes([0, 15]) + bytes(6)) == "counter"
    assert _counts(integrity, 14, 0) == ["", ""]


@given(st.lists(st.integers(0, 15), max_size=60))
def test_accepted_counters_always_move(database: Database, counters: list[int]) -> None:
    """Whatever comes: no accepted frame repeats its predecessor, and counts add up."""
    integrity = _integrity(database, None)
    results = _counts(integrity, *counters)
    for before, now, result in zip(counters, counters[1:], results[1:], strict=False):
        assert result == "counter" or before != now
    assert sum(integrity.refused.values()) == sum(result != "" for result in results)


@pytest.mark.parametrize(
    ("rule", "mistake"),
    [
        (IntegrityRule("None", None, 16, None, None), "no usable message"),
        (IntegrityRule("Little", "nope", 16, None, None), r"Little\.nope: no usable signal"),
        (IntegrityRule("Little", "count", 17, None, None), r"modulo 17, not in 2\.\.16"),
        (IntegrityRule("Little", "count", 1, None, None), r"modulo 1, not in 2\.\.16"),
        (IntegrityRule("Little", "signed", 16, None, None), "must be unsigned"),
        (IntegrityRule("Mux", "paged", 16, None, None), "on every page"),
        (IntegrityRule("Little", None, 16, "count", "sum8"), "one whole byte"),
        (IntegrityRule("Little", None, 16, "askew", "sum8"), "one whole byte"),
        (IntegrityRule("Little", None, 16, "sum", "md5"), "algorithm 'md5', not of sum8"),
        (IntegrityRule("Little", None, 16, "sum", None), "go together"),
        (IntegrityRule("Little", None, 16, None, "sum8"), "go together"),
    ],
)
def test_rules_that_cannot_serve(database: Database, rule: IntegrityRule, mistake: str) -> None:
    """Each is named before any frame is judged by it."""
    assert len(rule_mistakes(database, rule)) == 1
    with pytest.raises(BadDatabase, match=mistake):
        Integrity(database, {rule.message: rule})
