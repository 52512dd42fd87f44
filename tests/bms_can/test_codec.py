"""The codec: equal to cantools, stricter than cantools, and exact on the way out."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cantools
import pytest
from cantools.database.can import Message, Signal
from cantools.database.conversion import BaseConversion
from hypothesis import assume, given
from hypothesis import strategies as st

from bms_can.codec import Codec, encode
from bms_can.database import Database, load
from bms_can.errors import BadDatabase, BadFrame, BadValue
from bms_can.frame import Frame
from bms_can.profile import IntegrityRule, SignalLimits
from bms_can.signals import Sample

DBC = """VERSION ""
NS_ :
BS_:
BU_: A
BO_ 256 State: 8 A
 SG_ mode : 0|4@1+ (1,0) [0|9] "" A
 SG_ flag : 4|1@1- (1,0) [0|0] "" A
 SG_ current : 8|16@1- (0.1,0) [-1000|1000] "A" A
 SG_ motor : 39|16@0+ (1,-40) [0|0] "degC" A
 SG_ falling : 48|8@1+ (-0.5,10) [-20|5] "" A
BO_ 2147483904 Extended: 2 A
 SG_ word : 0|16@1+ (1,0) [0|0] "" A
BO_ 512 Mux: 8 A
 SG_ sel M : 0|8@1+ (1,0) [0|0] "" A
 SG_ a m0 : 8|8@1+ (1,0) [0|0] "" A
 SG_ sub m1M : 8|8@1+ (1,0) [0|0] "" A
 SG_ b m3 : 16|8@1+ (1,0) [0|0] "" A
 SG_ both m0 : 32|8@1+ (1,0) [0|0] "" A
BO_ 513 Real: 8 A
 SG_ small : 0|32@1- (1,0) [-1|0.1] "" A
 SG_ scaled : 32|32@1- (2,1) [0|0] "" A
BO_ 514 Empty: 0 A
BO_ 515 Long: 10 A
 SG_ last : 72|8@1+ (1,0) [0|0] "" A
BO_ 516 Sealed: 8 A
 SG_ order : 0|8@1+ (1,0) [0|0] "" A
 SG_ count : 8|4@1+ (1,0) [1|15] "" A
 SG_ sum : 56|8@1+ (1,0) [0|0] "" A
BO_ 517 Clash: 1 A
 SG_ low : 0|6@1+ (1,0) [0|0] "" A
 SG_ high : 2|6@1+ (1,0) [0|0] "" A
BO_ 518 Flat: 2 A
 SG_ fixed : 0|8@1+ (0,5) [0|4] "" A
 SG_ free : 8|8@1+ (0,5) [0|9] "" A
VAL_ 256 mode 0 "off" 1 "on" 2 "twin" 3 "twin" 15 "far" ;
SIG_VALTYPE_ 513 small : 1;
SIG_VALTYPE_ 513 scaled : 1;
SG_MUL_VAL_ 512 a sel 0-0;
SG_MUL_VAL_ 512 sub sel 1-1;
SG_MUL_VAL_ 512 b sub 3-5, 9-9;
SG_MUL_VAL_ 512 both sel 0-1;
"""
GOOD: Mapping[str, int | float | str] = {
    "mode": "on",
    "flag": 0,
    "current": -12.3,
    "motor": 60,
    "falling": 4.5,
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Return the database above."""
    path = tmp_path_factory.mktemp("codec") / "x.dbc"
    path.write_text(DBC)
    return load(path)


def _samples(codec: Codec, can_id: int, data: bytes, at_s: float = 1.0) -> dict[str, Sample]:
    decoded = codec.decode(Frame(at_s, can_id, extended=False, data=data))
    assert decoded is not None
    return decoded[1]


def _values(samples: Mapping[str, Sample]) -> dict[str, int | float | None]:
    return {name.split(".")[1]: sample.value for name, sample in samples.items()}


def test_decodes_raw_value_and_time(database: Database) -> None:
    """A sample carries the raw value, the physical value and the frame's time."""
    data = bytes([0x01, 0x85, 0xFF, 0, 0, 100, 11, 0])
    samples = _samples(Codec(database), 256, data, at_s=7.5)
    assert samples["State.mode"] == Sample(1, 1, 7.5)
    assert samples["State.current"] == Sample(-123, -12.3, 7.5)
    assert samples["State.motor"] == Sample(100, 60, 7.5)
    assert isinstance(samples["State.motor"].value, int)
    assert samples["State.falling"] == Sample(11, 4.5, 7.5)


def test_key_is_id_and_width(database: Database) -> None:
    """0x100 with 29 bits is another message than 0x100 with 11 (trap 16); others are None."""
    codec = Codec(database)
    decoded = codec.decode(Frame(0.0, 256, extended=True, data=b"\1\2"))
    assert decoded == ("Extended", {"Extended.word": Sample(0x201, 0x201, 0.0)})
    assert codec.decode(Frame(0.0, 256 + 1, extended=True, data=b"\1\2")) is None


@pytest.mark.parametrize("length", [0, 7, 9, 64])
def test_length_must_be_exact(database: Database, length: int) -> None:
    """Neither a short nor a long frame is decoded, not even in part (trap 15)."""
    with pytest.raises(BadFrame, match="State") as caught:
        Codec(database).decode(Frame(0.0, 256, extended=False, data=bytes(length)))
    assert caught.value.reason == "length"


def test_lengths_without_a_frame_of_their_own(database: Database) -> None:
    """Ten bytes travel as twelve on CAN FD; a message of declared length 0 takes any."""
    codec = Codec(database)
    assert _values(_samples(codec, 515, bytes(9) + b"\7\0\0")) == {"last": 7}
    with pytest.raises(BadFrame, match="length"):
        codec.decode(Frame(0.0, 515, extended=False, data=bytes(10)))
    assert codec.decode(Frame(0.0, 514, extended=False, data=b"\1")) == ("Empty", {})


def test_values_out_of_range_are_unknown(database: Database) -> None:
    """Heard but impossible is None with its raw value, at either end and with a negative factor."""
    codec = Codec(database)
    data = bytes([10, 0x11, 0x27, 0, 0, 0, 9, 0])
    samples = _samples(codec, 256, data)
    assert samples["State.mode"] == Sample(10, None, 1.0)
    assert samples["State.current"] == Sample(10001, None, 1.0)
    assert samples["State.falling"] == Sample(9, None, 1.0)
    edge = bytes([9, 0x10, 0x27, 0, 0, 0, 10, 0])
    assert _values(_samples(codec, 256, edge)) == {
        "mode": 9,
        "flag": 0,
        "current": 1000.0,
        "motor": -40,
        "falling": 5.0,
    }


def test_site_limits_and_sentinels_replace_those_of_the_dbc(database: Database) -> None:
    """A wider or narrower range, and raw values that mean "not available"."""
    limits = {
        "State.mode": SignalLimits(frozenset({3}), maximum=15),
        "State.current": SignalLimits(frozenset({0x7FFF, -1}), minimum=-0.25, maximum=4000),
        "Real.small": SignalLimits(frozenset({2.0}), maximum=4),
    }
    codec = Codec(database, limits=limits)

    def current(raw: int) -> float | None:
        data = bytes(1) + raw.to_bytes(2, "little", signed=True) + bytes(5)
        return _samples(codec, 256, data)["State.current"].value

    assert [current(raw) for raw in (0x7FFF, -1, -2, -3, 10001)] == [
        None,
        None,
        -0.2,
        None,
        1000.1,
    ]
    modes = [_samples(codec, 256, bytes([raw]) + bytes(7))["State.mode"].value for raw in (3, 15)]
    assert modes == [None, 15]
    real = _samples(codec, 513, bytes.fromhex("00000040") + bytes(4))
    assert real["Real.small"] == Sample(2.0, None, 1.0)


def test_a_factor_of_zero_is_a_constant(database: Database) -> None:
    """The constant is valid or not; nothing divides by it."""
    assert _values(_samples(Codec(database), 518, b"\1\2")) == {"fixed": None, "free": 5}
    with pytest.raises(BadValue, match="factor 0"):
        Codec(database).encode("Flat", {"fixed": 5, "free": 5})


@pytest.mark.parametrize("bits", ["0000c07f", "0000807f", "000080ff", "00000040"])
def test_no_number_and_out_of_range_floats_are_unknown(database: Database, bits: str) -> None:
    """NaN, infinities and 2.0 where at most 0.1 is declared (trap 15)."""
    sample = _samples(Codec(database), 513, bytes.fromhex(bits) + bytes(4))["Real.small"]
    assert sample.value is None
    assert isinstance(sample.raw, float)


def test_a_float_on_its_limit_is_valid(database: Database) -> None:
    """0.1 as a 32-bit float is above 0.1, and still what the file allows."""
    data = encode(database.messages["Real"], {"small": 0.1, "scaled": 3})
    samples = _samples(Codec(database), 513, data)
    assert samples["Real.small"].value == pytest.approx(0.1)
    assert samples["Real.scaled"] == Sample(1.0, 3.0, 1.0)


def test_nested_multiplexing(database: Database) -> None:
    """Only the selected pages are there, also two deep and with several selecting values."""
    codec = Codec(database)
    assert _values(_samples(codec, 512, bytes([0, 7, 0, 0, 9, 0, 0, 0]))) == {
        "sel": 0,
        "a": 7,
        "both": 9,
    }
    assert _values(_samples(codec, 512, bytes([1, 4, 8, 0, 9, 0, 0, 0]))) == {
        "sel": 1,
        "sub": 4,
        "b": 8,
        "both": 9,
    }


@pytest.mark.parametrize("head", [b"\2\0", b"\1\0", b"\1\6"])
def test_unknown_pages_are_bad_frames(database: Database, head: bytes) -> None:
    """A selector without a page spoils the whole frame, on either level."""
    with pytest.raises(BadFrame, match="Mux") as caught:
        Codec(database).decode(Frame(0.0, 512, extended=False, data=head + bytes(6)))
    assert caught.value.reason == "mux"


def test_overlapping_signals_are_read_where_the_file_says(database: Database) -> None:
    """The file's bits are plain, though cantools misplaces or refuses such signals."""
    assert _values(_samples(Codec(database), 517, b"\xc7")) == {"low": 7, "high": 0x31}


def test_wanted_narrows_messages_and_signals(database: Database) -> None:
    """Bare and full names serve; other messages are not decoded, selectors are still checked."""
    wanted = {"State": ["mode"], "Mux": ["Mux.b"], "Extended": []}
    codec = Codec(database, wanted)
    assert set(_samples(codec, 256, bytes(8))) == {"State.mode"}
    assert _samples(codec, 512, bytes(8)) == {}
    assert codec.decode(Frame(0.0, 513, extended=False, data=bytes(8))) is None
    assert codec.decode(Frame(0.0, 256, extended=True, data=bytes(2))) == ("Extended", {})
    with pytest.raises(BadFrame):
        codec.decode(Frame(0.0, 512, extended=False, data=b"\2" + bytes(7)))


def test_unknown_wishes_are_all_named(database: Database) -> None:
    """A wish that the database cannot fulfil is an error at start, not silence later."""
    with pytest.raises(BadDatabase) as caught:
        Codec(database, {"None": [], "State": ["mode", "nope"]})
    assert len(caught.value.mistakes) == 2


def test_encodes_and_reads_back(database: Database) -> None:
    """Choices, exact steps and negative numbers come back as they went in."""
    codec = Codec(database)
    data = codec.encode("State", GOOD)
    values = _values(_samples(codec, 256, data))
    assert values == {"mode": 1, "flag": 0, "current": -12.3, "motor": 60, "falling": 4.5}
    assert codec.encode("Mux", {"sel": 1, "sub": 9, "b": 255, "both": 1}) == bytes(
        [1, 9, 255, 0, 1, 0, 0, 0]
    )
    assert codec.encode("Long", {"last": 1}) == bytes(9) + b"\1\0\0"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": 1.6}, r"State\.mode: 1\.6 must be an integer"),
        ({"mode": 1.0}, r"State\.mode: 1\.0 must be an integer"),
        ({"mode": True}, r"State\.mode: True is neither"),
        ({"mode": None}, r"State\.mode: None is neither"),
        ({"mode": 10}, r"State\.mode: 10 is outside of its declared range"),
        ({"mode": 16}, r"State\.mode: 16 is raw 16, but its 4 bits hold 0\.\.15"),
        ({"mode": "nope"}, r"State\.mode: no choice .nope."),
        ({"mode": "twin"}, r"State\.mode: 2 choices"),
        ({"flag": 1}, r"State\.flag: 1 is raw 1, but its 1 bits hold -1\.\.0"),
        ({"current": math.nan}, r"State\.current: nan is not a finite number"),
        ({"current": -math.inf}, r"State\.current: -inf is not a finite number"),
        ({"current": 0.05}, r"State\.current: 0\.05 is not a whole number of steps"),
        ({"current": 1000.1}, r"State\.current: 1000\.1 is outside"),
        ({"motor": 1e9}, r"State\.motor: 1000000000\.0 is raw"),
        ({"extra": 1}, r"State\.extra: not a signal of the selected page"),
    ],
)
def test_refuses_to_send_what_was_not_meant(
    database: Database, change: dict[str, int | float | str], reason: str
) -> None:
    """Every doubt is one kind of error that names message and signal (trap 14)."""
    with pytest.raises(BadValue, match=reason):
        Codec(database).encode("State", {**GOOD, **change})


def test_refuses_incomplete_and_impossible_messages(database: Database) -> None:
    """No default fills a gap, no page is guessed, and shared bits cannot hold two values."""
    codec = Codec(database)
    cases: Sequence[tuple[str, dict[str, int | float | str], str]] = [
        ("State", {"mode": 1}, r"State\.flag: has no value"),
        ("Mux", {"sel": 0, "a": 1}, r"Mux\.both: has no value"),
        ("Mux", {"sel": 0, "a": 1, "both": 1, "b": 1}, r"Mux\.b: not a signal of the selected"),
        ("Mux", {"sel": 2}, r"Mux\.sel: no page 2"),
        ("Clash", {"low": 63, "high": 0}, r"Clash\.low: overwritten"),
        ("Real", {"small": 0, "scaled": 1e39}, r"Real\.scaled: 1e\+39 is too large"),
        ("Real", {"small": 0.2, "scaled": 0}, r"Real\.small: 0\.2 is outside"),
        ("None", {}, "None: no usable message"),
    ]
    for message, values, reason in cases:
        with pytest.raises(BadValue, match=reason):
            codec.encode(message, values)


def test_counter_and_checksum_are_left_to_the_seal(database: Database) -> None:
    """They are 0 here, whatever their range, and naming them is a mistake."""
    rule = IntegrityRule("Sealed", "count", 16, "sum", "sum8")
    codec = Codec(database, integrity={"Sealed": rule})
    assert codec.encode("Sealed", {"order": 2}) == b"\2" + bytes(7)
    with pytest.raises(BadValue, match=r"Sealed\.count: is set by the seal"):
        codec.encode("Sealed", {"order": 2, "count": 1})


# --- Equal to cantools: random layouts, random payloads --------------------------------------

_FACTORS = st.sampled_from([1, 1.0, 2, -3, 0.1, 0.001, -0.5, 1.5, 4.0])
_OFFSETS = st.sampled_from([0, 0.0, -40, 2.5, 273.15, -1000.0])


@st.composite
def _signal(draw: st.DrawFn, name: str, start_bit: int, room: int) -> Signal:
    """Draw a little-endian signal within `room` bits from `start_bit`."""
    is_float = draw(st.booleans()) and room >= 16
    lengths = [length for length in (16, 32, 64) if length <= room]
    length = draw(st.sampled_from(lengths) if is_float else st.integers(1, min(room, 64)))
    conversion = BaseConversion.factory(draw(_FACTORS), draw(_OFFSETS), None, is_float)
    return Signal(
        name,
        start_bit,
        length,
        "little_endian",
        is_signed=draw(st.booleans()),
        conversion=conversion,
    )


def _as_big_endian(signal: Signal, size: int) -> Signal:
    """Mirror a little-endian signal into the same bytes, counted from the other end."""
    network = 8 * size - signal.start - signal.length
    signal.byte_order = "big_endian"
    signal.start = 8 * (network // 8) + 7 - network % 8
    return signal


@st.composite
def _row(draw: st.DrawFn, prefix: str, first: int, last: int) -> list[Signal]:
    signals: list[Signal] = []
    at = first
    while at < last and len(signals) < 6:
        at += draw(st.integers(0, min(9, last - at - 1)))
        signal = draw(_signal(f"{prefix}{len(signals)}", at, last - at))
        at += signal.length
        signals.append(signal)
    return signals


@st.composite
def _message(draw: st.DrawFn) -> Message:
    """Draw a plain or twice multiplexed message of one byte order."""
    size = draw(st.sampled_from([1, 2, 3, 8, 12, 64]))
    bits = 8 * size
    signals: list[Signal] = []
    first = 0
    if size >= 3 and draw(st.booleans()):
        signals = [Signal("sel", 0, 4, is_multiplexer=True)]
        nested = Signal(
            "sub", 4, 4, is_multiplexer=True, multiplexer_ids=[1, 2], multiplexer_signal="sel"
        )
        middle = 8 + (bits - 8) // 2
        for mux, value, prefix in ((nested, 3, "n"), (signals[0], 0, "p")):
            for signal in draw(_row(prefix, 8, middle)):
                signal.multiplexer_ids = [value, value + 7]
                signal.multiplexer_signal = mux.name
                signals.append(signal)
        signals.append(nested)
        first = middle
    signals += draw(_row("s", first, bits))
    if draw(st.booleans()):
        signals = [_as_big_endian(signal, size) for signal in signals]
    return Message(1, "M", size, signals, strict=True)


def _database_of(message: Message) -> Database:
    signals = {f"M.{signal.name}": (message, signal) for signal in message.signals}
    return Database(
        "x", "", "", (), {"M": message}, {(1, False): message}, frozenset(), signals
    )  # fmt: skip


def _same(mine: Sample, theirs: object) -> bool:
    """Whether both are the same number of the same type; no number is unknown here."""
    assert isinstance(theirs, int | float)
    if not math.isfinite(theirs):
        return mine.value is None
    return (mine.value, type(mine.value)) == (theirs, type(theirs))


@given(_message(), st.data())
def test_equals_cantools(message: Message, data: st.DataObject) -> None:
    """Random layouts and payloads decode as cantools decodes them, bit for bit."""
    payload = data.draw(st.binary(min_size=message.length, max_size=message.length))
    codec = Codec(_database_of(message))
    frame = Frame(0.0, 1, extended=False, data=payload)
    try:
        expected = message.decode(payload, decode_choices=False, allow_excess=False)
    except cantools.database.DecodeError:
        with pytest.raises(BadFrame, match="mux"):
            codec.decode(frame)
        return
    decoded = codec.decode(frame)
    assert decoded is not None
    assert isinstance(expected, dict)
    assert {name.removeprefix("M.") for name in decoded[1]} == set(expected)
    for name, theirs in expected.items():
        assert _same(decoded[1][f"M.{name}"], theirs), name


@given(_message(), st.data())
def test_encode_undoes_decode(message: Message, data: st.DataObject) -> None:
    """The values of a frame make the same frame again, as far as signals cover it."""
    payload = data.draw(st.binary(min_size=message.length, max_size=message.length))
    codec = Codec(_database_of(message))
    try:
        decoded = codec.decode(Frame(0.0, 1, extended=False, data=payload))
    except BadFrame:
        return
    assert decoded is not None
    values = {n.removeprefix("M."): s.value for n, s in decoded[1].items() if s.value is not None}
    assume(len(values) == len(decoded[1]))
    assume(not any(signal.is_float for signal in message.signals))
    assume(all(signal.length <= 32 for signal in message.signals))
    again = codec.decode(Frame(0.0, 1, extended=False, data=codec.encode("M", values)))
    assert again == decoded


@pytest.mark.shared
def test_reference_commands() -> None:
    """The command frames worked out by hand for real DBC files are what we encode."""
    folder = os.environ.get("BMS_REAL_LOGS")
    if not folder:
        pytest.skip("BMS_REAL_LOGS does not name the folder of real DBC files")
    database = load(Path(folder) / "pairs/04-foxbms2/foxbms-1.11-2026-04.dbc")
    message = database.messages["f_BmsStateRequest"]
    unset: dict[str, int | float | str] = {signal.name: 0 for signal in message.signals}
    cases: Sequence[tuple[dict[str, int | float | str], str]] = [
        ({"RequestBmsMode": 0}, "0000000000000000"),
        ({"RequestBmsMode": 1}, "0100000000000000"),
        ({"RequestBmsMode": 2, "ChargerConnected": 1}, "1200000000000000"),
        ({"ResetPersistentFlags": 1}, "0400000000000000"),
    ]
    for values, expected in cases:
        assert encode(message, {**unset, **values}).hex() == expected


@pytest.mark.shared
def test_real_files_decode_as_cantools_does() -> None:
    """Every message of every real file that cantools accepts strictly: equal on fixed payloads."""
    folder = os.environ.get("BMS_REAL_LOGS")
    if not folder:
        pytest.skip("BMS_REAL_LOGS does not name the folder of real DBC files")
    compared = 0
    for path in sorted(Path(folder).rglob("*.dbc")):
        database = load(path)
        if any("layout checks" in warning for warning in database.warnings):
            continue
        codec = Codec(database)
        for message in database.messages.values():
            if message.length in range(1, 9):
                compared += _compare(codec, message, bytes(range(0x31, 0x39))[: message.length])
                compared += _compare(codec, message, bytes(message.length))
    assert compared > 5000


def _compare(codec: Codec, message: Message, payload: bytes) -> int:
    frame = Frame(0.0, message.frame_id, message.is_extended_frame, payload)
    try:
        expected = message.decode(payload, decode_choices=False)
    except cantools.database.DecodeError:
        with pytest.raises(BadFrame, match="mux"):
            codec.decode(frame)
        return 0
    decoded = codec.decode(frame)
    assert decoded is not None
    assert isinstance(expected, dict)
    known = {name: sample for name, sample in decoded[1].items() if sample.value is not None}
    for name, sample in known.items():
        assert _same(sample, expected[name.split(".", 1)[1]]), name
    return len(known)
