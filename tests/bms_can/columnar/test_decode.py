"""Decoding by columns: the numbers of cantools, bit for bit, of frames that the codec accepts."""

import os
from pathlib import Path

import numpy as np
import pytest
from cantools.database.can import Message

from bms_can.columnar.chunk import frames as frames_of
from bms_can.columnar.decode import Decoder
from bms_can.columnar.kernel import SWITCH, available
from bms_can.columnar.scan import scan
from bms_can.database import Database, load
from bms_can.errors import BadDatabase, BmsError
from bms_can.frame import Frame
from bms_can.layout import field_of, overlaps
from bms_can.profile import SignalLimits
from bms_can.restated import Stated, restated
from tests.bms_can.columnar.dbcs import dbc, frames
from tests.bms_can.columnar.decoding import by_cantools, by_codec, by_columns, chunk_of, same

FRAMES = 300
CHUNK = 50_000

TEXT = """VERSION ""
NS_ :
BS_:
BU_: X
BO_ 256 State: 8 X
 SG_ mode : 0|4@1+ (1,0) [0|9] "" X
 SG_ current : 8|16@1- (0.1,0) [-100|100] "A" X
 SG_ level : 24|8@1+ (1,-40) [0|0] "" X
 SG_ big : 32|32@1+ (1000,0) [0|0] "" X
BO_ 512 Mux: 8 X
 SG_ page M : 0|8@1+ (1,0) [0|0] "" X
 SG_ a m0 : 8|8@1+ (1,0) [0|0] "" X
 SG_ b m1 : 8|8@1+ (1,0) [0|0] "" X
BO_ 513 Word: 8 X
 SG_ all : 0|64@1+ (1,0) [0|0] "" X
 SG_ twice : 0|64@1+ (2,0) [0|0] "" X
BO_ 514 Half: 8 X
 SG_ all : 0|64@1+ (0.5,0) [0|0] "" X
BO_ 515 FlippedHalf: 8 X
 SG_ all : 7|64@0+ (0.5,0.25) [0|0] "" X
BO_ 516 Real: 8 X
 SG_ small : 0|32@1- (1,0) [0|0] "" X
 SG_ scaled : 32|32@1- (1,0.5) [0|0] "" X
BO_ 517 FlippedReal: 8 X
 SG_ small : 7|32@0- (1,0) [0|0] "" X
 SG_ tiny : 39|16@0- (1,0) [0|0] "" X
 SG_ least : 55|16@0- (3,0) [0|0] "" X
BO_ 518 Double: 8 X
 SG_ all : 0|64@1- (1,0) [0|0] "" X
SIG_VALTYPE_ 516 small : 1;
SIG_VALTYPE_ 516 scaled : 1;
SIG_VALTYPE_ 517 small : 1;
SIG_VALTYPE_ 517 tiny : 1;
SIG_VALTYPE_ 517 least : 1;
SIG_VALTYPE_ 518 all : 2;
VAL_ 256 mode 0 "off" 1 "on" ;
"""
CORNERS = (
    *("8000000000000000", "8000000080008000", "7F800000FF800000", "7FC000017F800001"),
    *("FFFFFFFFFFFFFFFF", "7FFFFFFFFFFFFFFF", "00000001000103FF", "7FF0000000000001"),
)


@pytest.fixture(params=["kernel", "numpy"], autouse=True)
def _lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setenv(SWITCH, "numpy")
    elif not available():
        pytest.skip("the kernel is not compiled here")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Return the database above."""
    (tmp_path / "x.dbc").write_text(TEXT)
    return load(tmp_path / "x.dbc")


def _made(tmp_path: Path, text: str) -> Database:
    (tmp_path / "random.dbc").write_text(text)
    return load(tmp_path / "random.dbc")


@pytest.mark.parametrize("seed", range(12))
def test_random_databases_as_cantools(tmp_path: Path, seed: int) -> None:
    """Every frame and every value of it is that of cantools, in type and bits."""
    made = dbc(seed)
    database = _made(tmp_path, made.text)
    sent = list(frames(made, seed, FRAMES))
    found = by_columns(Decoder(database, exact=False), chunk_of(sent), live=False)
    for frame, one, other in zip(sent, found, by_cantools(database, sent), strict=True):
        assert same(one, other), (frame, one, other)


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("seed", range(100, 106))
def test_random_databases_as_the_live_codec(tmp_path: Path, seed: int, *, overlap: bool) -> None:
    """The same frames are accepted, the same refused and why, the same values usable."""
    made = dbc(seed, overlap=overlap)
    database = _made(tmp_path, made.text)
    sent = list(frames(made, seed, FRAMES))
    found = by_columns(Decoder(database), chunk_of(sent), live=True)
    for frame, one, other in zip(sent, found, by_codec(database, sent), strict=True):
        assert same(one, other), (frame, one, other)


def test_corners_of_numbers(database: Database) -> None:
    """Zeros with a sign, infinities, NaN, subnormals, and 64 bits without a sign."""
    payloads = [bytes.fromhex(corner) for corner in CORNERS]
    sent = [
        Frame(0, can_id, False, data)  # noqa: FBT003 - Frame's order
        for can_id in range(514, 519)
        for payload in payloads
        for data in (payload, payload[::-1])
    ]
    found = by_columns(Decoder(database), chunk_of(sent), live=False)
    for frame, one, other in zip(sent, found, by_cantools(database, sent), strict=True):
        assert same(one, other), (frame, one, other)
    found = by_columns(Decoder(database), chunk_of(sent), live=True)
    assert all(map(same, found, by_codec(database, sent)))


def test_types_are_narrow(database: Database) -> None:
    """Integers stay integers of the size they need; only 64 bits and more become objects."""
    (columns,) = Decoder(database, ["State"]).decode(chunk_of([Frame(0, 256, False, bytes(8))]))  # noqa: FBT003 - Frame's order
    types = {name: array.dtype.str for name, array in columns.values.items()}
    assert types == {"mode": "|u1", "current": "<f8", "level": "<i2", "big": "<u8"}
    assert columns.raw("current").dtype == np.int16
    (columns,) = Decoder(database, ["Word"]).decode(chunk_of([Frame(0, 513, False, b"\xff" * 8)]))  # noqa: FBT003 - Frame's order
    assert columns.values["all"].dtype == np.uint64
    assert columns.values["twice"].tolist() == [2 * (2**64 - 1)]


def test_wanted_signals_only(database: Database) -> None:
    """What is not wanted is not decoded; which frames are accepted does not depend on it."""
    chunk = chunk_of([Frame(0, 512, False, bytes([page] * 8)) for page in (0, 1, 2)])  # noqa: FBT003 - Frame's order
    (columns,) = Decoder(database, ["Mux.b"]).decode(chunk)
    assert list(columns.values) == ["b"]
    assert columns.rows.tolist() == [0, 1]
    assert columns.refused["mux"].tolist() == [2]
    valid = columns.valid["b"]
    assert valid is not None
    assert valid.tolist() == [False, True]
    with pytest.raises(BadDatabase, match=r"'Mux\.c'"):
        Decoder(database, ["Mux.c"])


def test_refused_frames_are_told(database: Database) -> None:
    """A message of which only unusable frames came is there, without rows."""
    (columns,) = Decoder(database).decode(chunk_of([Frame(0, 256, False, bytes(7))]))  # noqa: FBT003 - Frame's order
    assert len(columns.rows) == 0
    assert columns.refused["length"].tolist() == [0]
    assert all(len(array) == 0 for array in columns.values.values())


def test_limits_of_a_profile_replace_the_range(database: Database) -> None:
    """Sentinels and site limits decide what is usable, and change no value."""
    limits = {
        "State.mode": SignalLimits(frozenset({3, 2.0}), maximum=12),
        "State.level": SignalLimits(minimum=0),
    }
    sent = [Frame(0, 256, False, bytes([mode, 0, 0, 30 + mode, 0, 0, 0, 0])) for mode in range(15)]  # noqa: FBT003 - Frame's order
    (columns,) = Decoder(database, limits=limits).decode(chunk_of(sent))
    assert columns.values["mode"].tolist() == list(range(15))
    assert np.flatnonzero(~columns.usable("mode")).tolist() == [2, 3, 13, 14]
    assert np.flatnonzero(columns.usable("level")).tolist() == list(range(10, 15))


def test_lengths_that_a_profile_allows(database: Database) -> None:
    """A frame may have any length that is stated for its message, as with the live codec."""
    stated = restated(database, {"State": Stated((6, 8))})
    sent = [Frame(0, 256, False, bytes(range(length))) for length in range(9)]  # noqa: FBT003 - Frame's order
    found = by_columns(Decoder(stated), chunk_of(sent), live=True)
    assert all(map(same, found, by_codec(stated, sent)))
    decoded = [each is not None and not each.refused for each in found]
    assert decoded == [*6 * [False], True, False, True]


def test_nothing_wanted_decodes_nothing(database: Database) -> None:
    """An empty choice and an empty chunk are no special cases."""
    assert list(Decoder(database, []).decode(chunk_of([Frame(0, 256, False, bytes(8))]))) == []  # noqa: FBT003 - Frame's order
    assert list(Decoder(database).decode(chunk_of([]))) == []


@pytest.mark.shared
def test_real_databases_and_logs() -> None:
    """Every frame of every real log, by every real database, as cantools and as the live codec."""
    place = os.environ.get("BMS_REAL_LOGS", "")
    if not place:
        pytest.skip("BMS_REAL_LOGS does not name the folder with the real logs (make real-logs)")
    folder = Path(place)
    sent = [frame for path in _logs(folder) for chunk in scan(path) for frame in frames_of(chunk)]
    decoded = 0
    for path in sorted(folder.rglob("*.dbc")):
        try:
            database = load(path)
        except BmsError:
            continue
        ours = [frame for frame in sent if (frame.can_id, frame.extended) in database.by_id]
        for first in range(0, len(ours), CHUNK):
            _agree(database, ours[first : first + CHUNK])
        decoded += len(ours)
    assert decoded > 100_000


def _logs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".log", ".trc", ".asc"))


def _agree(database: Database, sent: list[Frame]) -> None:
    """Compare some frames of a database's messages both ways."""
    chunk = chunk_of(sent)
    found = by_columns(Decoder(database), chunk, live=True)
    assert all(map(same, found, by_codec(database, sent)))
    found = by_columns(Decoder(database, exact=False), chunk, live=False)
    whole = {name for name, message in database.messages.items() if _cantools_can(message)}
    for one, other in zip(found, by_cantools(database, sent), strict=True):
        if one is not None and one.message in whole:
            assert same(one, other), (one, other)


def _cantools_can(message: Message) -> bool:
    """Return whether cantools decodes it right: no signals overlap or lie outside."""
    outside = any(field_of(message, signal) is None for signal in message.signals)
    return not outside and not any(overlaps(message))
