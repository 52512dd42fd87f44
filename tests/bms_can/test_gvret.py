"""The CSV of SavvyCAN and GVRET adapters."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.errors import BadInput, BadLogLine
from bms_can.frame import Frame
from bms_can.gvret import gvret_frames, looks_like_gvret
from bms_can.logfile import open_log

HEAD = "Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
OLD_HEAD = "Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
ROW = "47504233,00000232,false,Rx,0,8,00,00,02,00,00,00,00,00,\n"


def test_frames_of_both_versions() -> None:
    """With and without a direction, 11 and 29 bits, each bus a channel, times in microseconds."""
    rows = [HEAD, ROW, "1,18FF50E5,true,Tx,1,2,01,FF,", OLD_HEAD, "2000000,109,false,0,1,3D\r\n"]
    assert list(gvret_frames(rows)) == [
        Frame(
            47.504233, 0x232, extended=False, data=bytes([0, 0, 2, 0, 0, 0, 0, 0]), channel="can0"
        ),
        Frame(0.000001, 0x18FF50E5, extended=True, data=b"\x01\xff", channel="can1"),
        Frame(2.0, 0x109, extended=False, data=b"=", channel="can0"),
    ]


def test_a_look_alike_is_refused_with_its_headline(tmp_path: Path) -> None:
    """Its times are in another unit: read as microseconds nothing would ever be too old."""
    log = tmp_path / "log.csv"
    log.write_text("\ufeffTime Stamp,ID,Extended,Bus,DLC,D1\n2124377,3a0,0,1,1,ff\n", "utf-8")
    with pytest.raises(BadInput, match="starts with 'Time Stamp,ID,Extended,Bus,DLC,D1'"):
        list(open_log(log))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,00000232,false,Rx,0,8,00,00", "length"),
        ("1,00000232,false,Rx,0,9,00,00,00,00,00,00,00,00,00", "length"),
        ("1,00000832,false,Rx,0,1,00", "identifier"),
        ("1,FFFFFFFF,true,Rx,0,1,00", "identifier"),
        ("x,00000232,false,Rx,0,1,00", "format"),
        ("1,00000232,maybe,Rx,0,1,00", "format"),
        ("1,00000232,false,Rx,0,1,0G", "format"),
        ("1,00000232", "format"),
    ],
)
def test_a_bad_line_costs_only_itself(line: str, reason: str) -> None:
    """It is counted by its reason and number; the next is read."""
    bad, good = gvret_frames([HEAD, line, ROW])
    assert isinstance(bad, BadLogLine)
    assert (bad.reason, bad.line_number) == (reason, 2)
    assert isinstance(good, Frame)


@pytest.mark.parametrize("name", ["log.csv", "log.txt", "log"])
def test_a_log_is_known_by_its_headline(tmp_path: Path, name: str) -> None:
    """Any name will do; the CSV of python-can stays python-can's."""
    log = tmp_path / name
    log.write_text(HEAD + ROW + ROW, encoding="utf-8")
    assert len(list(open_log(log))) == 2
    assert not looks_like_gvret("timestamp,arbitration_id,extended,remote,error,dlc,data\n")


@given(st.text(alphabet="0123456789ABCDEFx,truefalsRT-\ufeff \r", max_size=60))
def test_any_text_is_a_frame_or_a_fault(line: str) -> None:
    """Nothing that stands in a file ends the reading of it."""
    for entry in gvret_frames([HEAD, line]):
        assert isinstance(entry, Frame | BadLogLine)
