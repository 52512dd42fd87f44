"""Log files of every kind: kinds, compression, damage, and the real recordings."""

import gzip
import os
import sqlite3
from collections import Counter
from pathlib import Path

import can
import pytest

from bms_can.errors import BadInput, BadLogLine
from bms_can.frame import Frame
from bms_can.logfile import open_log, read_candump
from bms_can.trc import dated_trc_frames

LINES = "".join(f"({i}.500000) can0 {i:03X}#{i:02X}\n" for i in range(50))
TRC = """;$FILEVERSION=2.0
;$STARTTIME=1970-01-01 00:01:40.5
;$COLUMNS=N,O,T,I,d,L,B1,B2,B3,B4,B5,B6,B7,B8
     1)   0.000000  can0 Rx 1FFFFFF0 2 01 19 -- -- -- -- -- --
     2)   0.250000  can0 Tx 000005F4 0
"""


def _frames(path: Path) -> list[Frame]:
    return [entry for entry in open_log(path) if isinstance(entry, Frame)]


def _faults(path: Path) -> list[tuple[int, str]]:
    return [(e.line_number, e.reason) for e in open_log(path) if isinstance(e, BadLogLine)]


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["x.log", "x.candump", "x.txt", "x", "X.LOG"])
def test_candump_text_is_known_by_name_or_content(tmp_path: Path, name: str) -> None:
    """Any name will do if the content is candump's."""
    assert len(_frames(_written(tmp_path / name, LINES.encode()))) == 50


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_marks_and_line_ends_do_not_matter(tmp_path: Path, encoding: str, newline: str) -> None:
    """Windows tools add a BOM, CRLF or UTF-16; no frame is lost by it."""
    content = LINES.replace("\n", newline).encode(encoding)
    path = _written(tmp_path / "x.log", content)
    assert len(_frames(path)) == 50
    assert _faults(path) == []


def test_a_cut_and_a_binary_line_cost_only_themselves(tmp_path: Path) -> None:
    """Bytes that are no text and a last line cut short leave the rest readable."""
    content = LINES.encode() + b"\xff\x00\xfe junk\n" + LINES.encode() + b"(51.5) can0 1"
    path = _written(tmp_path / "x.log", content)
    assert len(_frames(path)) == 100
    assert _faults(path) == [(51, "format"), (102, "format")]


def test_gzip_is_opened(tmp_path: Path) -> None:
    """A packed log reads as the plain one, whatever its name."""
    for name in ("x.log.gz", "site.a.log.gz", "x.log"):
        assert len(_frames(_written(tmp_path / name, gzip.compress(LINES.encode(), mtime=0)))) == 50


def test_a_damaged_archive_gives_what_it_holds(tmp_path: Path) -> None:
    """A log cut by a power failure yields its frames, then one fault."""
    content = gzip.compress(
        b"".join(os.urandom(3).hex().encode() + b"\n" for _ in range(5000)), mtime=0
    )
    path = _written(tmp_path / "x.log.gz", content[: len(content) // 2])
    faults = _faults(path)
    assert faults[-1][1] == "damaged archive"
    assert len(faults) > 1000
    broken = bytearray(gzip.compress(LINES.encode(), mtime=0))
    broken[20] ^= 0xFF
    assert _faults(_written(tmp_path / "y.log.gz", bytes(broken)))[-1][1] == "damaged archive"


@pytest.mark.parametrize("suffix", [".asc", ".blf", ".trc", ".csv", ".db"])
def test_other_kinds_are_read_by_python_can(tmp_path: Path, suffix: str) -> None:
    """What python-can writes comes back as the same identifiers, widths and bytes."""
    path = tmp_path / f"x{suffix}"
    sent = [
        can.Message(timestamp=10.0 + i, arbitration_id=i, is_extended_id=i % 2 == 0, data=[i, 255])
        for i in range(1, 9)
    ]
    with can.Logger(str(path)) as logger:
        for message in sent:
            logger(message)
    expected = [(m.arbitration_id, m.is_extended_id, bytes(m.data)) for m in sent]
    assert [(f.can_id, f.extended, f.data) for f in _frames(path)] == expected
    if suffix in (".asc", ".blf", ".csv"):
        packed = _written(tmp_path / f"a.b{suffix}.gz", gzip.compress(path.read_bytes(), mtime=0))
        assert [(f.can_id, f.extended, f.data) for f in _frames(packed)] == expected


def test_remote_and_error_frames_are_counted_apart(tmp_path: Path) -> None:
    """They hold no signals, and they are not silently dropped."""
    path = tmp_path / "x.blf"
    with can.Logger(str(path)) as logger:
        logger(can.Message(timestamp=1.0, arbitration_id=1, is_remote_frame=True))
        logger(can.Message(timestamp=2.0, is_error_frame=True))
        logger(can.Message(timestamp=3.0, arbitration_id=1, data=[1]))
    assert [reason for _, reason in _faults(path)] == ["remote frame", "error frame"]
    assert len(_frames(path)) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.asc", b"date nonsense\nbase hex timestamps absolute\n 1.0 1 123 Rx d 8 zz\n"),
        ("x.blf", b"LOGG" + b"\x00" * 400),
        ("x.blf", b"no such thing"),
        ("x.blf", b""),
        ("x.trc", b";$FILEVERSION=2.0\n;$STARTTIME=x\n"),
        ("x.csv", b"a,b\n1,2\n"),
        ("x.db", b"not a database, but long enough to be looked at" * 20),
        ("x.mf4", b"MDF     4.11"),
        ("x.txt", b"Timestamp: 1 ID: 0241"),
        ("x.db.gz", gzip.compress(b"x", mtime=0)),
    ],
)
def test_damaged_and_foreign_files_are_bad_input(tmp_path: Path, name: str, content: bytes) -> None:
    """python-can's many errors end at this border, with the file's name."""
    path = _written(tmp_path / name, content)
    with pytest.raises(BadInput, match="x"):
        list(open_log(path))


def test_missing_files_and_empty_databases(tmp_path: Path) -> None:
    """A missing log is not created, and a database without the table is refused."""
    for name in ("no.log", "no.db", "no.asc"):
        with pytest.raises(BadInput):
            list(open_log(tmp_path / name))
        with pytest.raises(BadInput):
            list(read_candump(tmp_path / name))
        assert not (tmp_path / name).exists()
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("create table other (a)")
    connection.close()
    with pytest.raises(BadInput, match="messages"):
        list(open_log(tmp_path / "x.db"))


def test_a_fault_behind_good_frames_keeps_them(tmp_path: Path) -> None:
    """What python-can read before it gave up is yielded, and the error says how much."""
    path = _written(
        tmp_path / "x.csv",
        b"timestamp,arbitration_id,extended,remote,error,dlc,data\n1.0,0x1,0,0,0,1,AQ==\nbroken\n",
    )
    seen: list[Frame | BadLogLine] = []
    with pytest.raises(BadInput, match="after 1 frames"):
        seen.extend(open_log(path))
    entries = open_log(path)
    assert next(entries) == Frame(1.0, 1, extended=False, data=b"\x01", channel="")


def test_reads_the_dated_trc_dialect(tmp_path: Path) -> None:
    """A written-out start time, offsets in seconds, padded bytes: python-can reads none of it."""
    path = _written(tmp_path / "x.trc", TRC.encode())
    assert _frames(path) == [
        Frame(100.5, 0x1FFFFFF0, extended=True, data=b"\x01\x19", channel="can0"),
        Frame(100.75, 0x5F4, extended=False, data=b"", channel="can0"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("junk", "format"),
        ("  1)  0.0  can0 Rx 00000001 2 01", "length"),
        ("  1)  0.0  can0 Rx 00000001 9 " + "00 " * 9, "length"),
        ("  1)  0.0  can0 Rx 20000001 0", "identifier"),
    ],
)
def test_a_bad_trc_line_costs_only_itself(line: str, reason: str) -> None:
    """As with candump: the fault is named, and the next line is read."""
    bad, good = dated_trc_frames([line, "  2)  1.0  can0 Rx 00000001 1 FF"])
    assert isinstance(bad, BadLogLine)
    assert bad.reason == reason
    assert good == Frame(1.0, 1, extended=False, data=b"\xff", channel="can0")


@pytest.mark.shared
def test_real_recordings_are_read_whole() -> None:
    """Every frame of the real candump logs is read, and the .trc of one capture equals its log."""
    folder = os.environ.get("BMS_REAL_LOGS")
    if not folder:
        pytest.skip("BMS_REAL_LOGS does not name the folder of real logs")
    root = Path(folder)
    expected = {
        "pairs/01-kona-ev-2019/candump.log": 39546,
        "pairs/02-orion2-zero-ev/candump-2025-11-22_161709.log": 50660,
        "pairs/03-tesla-s-2015-savvycan/candump.log": 12974,
        "pairs/04-foxbms2/candump.log": 301,
        "logs/remora-truck-j1939-29bit.candump.log": 9950,
        "logs/remora-temp-11bit.candump.log": 304,
    }
    counted = {
        name: Counter(type(entry).__name__ for entry in open_log(root / name)) for name in expected
    }
    assert counted == {name: Counter(Frame=count) for name, count in expected.items()}
    log = root / "pairs/02-orion2-zero-ev/candump-2025-11-22_161709.log"
    frames, traced = _frames(log), _frames(log.with_suffix(".trc"))
    assert [frame[1:] for frame in frames] == [frame[1:] for frame in traced]
    shift_s = traced[0].at_s - frames[0].at_s
    assert max(abs(b.at_s - a.at_s - shift_s) for a, b in zip(frames, traced, strict=True)) < 1e-5
