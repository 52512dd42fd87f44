"""slcan text, as a terminal logs it."""

from pathlib import Path

import pytest

from bms_can.errors import BadInput, BadLogLine
from bms_can.frame import Frame
from bms_can.logfile import open_log
from bms_can.slcan import looks_like_slcan, slcan_frames

LINES = ["t3518AC0B2800B4007008096E\r\n", "T18FF50E52010203E8\r\n", "t10000970\r\n"]


def test_frames_of_both_widths() -> None:
    """Identifier, payload of any length, and the stamp as seconds."""
    assert list(slcan_frames(LINES)) == [
        Frame(2.414, 0x351, extended=False, data=bytes.fromhex("AC0B2800B4007008")),
        Frame(61.0, 0x18FF50E5, extended=True, data=bytes.fromhex("0102")),
        Frame(62.416, 0x100, extended=False, data=b""),
    ]


def test_the_clock_goes_on() -> None:
    """Stamps start anew after 60,000 ms; after 65,536 where one above 60,000 was seen."""
    short = [f"t1000{stamp:04X}" for stamp in (59_000, 1_000, 500)]
    long = [f"t1000{stamp:04X}" for stamp in (65_000, 1_000)]
    times = [entry.at_s for entry in slcan_frames(short) if isinstance(entry, Frame)]
    assert times == [59.0, 61.0, 120.5]
    times = [entry.at_s for entry in slcan_frames(long) if isinstance(entry, Frame)]
    assert times == [65.0, pytest.approx(66.536)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("t35180011223344556677", "time"),  # no stamp: nothing can be said about freshness
        ("t9991AA0001", "identifier"),
        ("TFFFFFFFF1AA0001", "identifier"),
        ("t3518AC0B0001", "format"),  # fewer bytes than announced
        ("r35100001", "remote frame"),
        ("S6", "format"),
        ("t35190011223344556677880001", "format"),
    ],
)
def test_a_bad_line_costs_only_itself(line: str, reason: str) -> None:
    """It is counted by its reason and number; the next is read."""
    bad, good = slcan_frames([line, "", LINES[0]])
    assert isinstance(bad, BadLogLine)
    assert (bad.reason, bad.line_number) == (reason, 1)
    assert isinstance(good, Frame)


def test_a_log_is_known_by_its_content(tmp_path: Path) -> None:
    """Any name will do; another text is refused as before."""
    log = tmp_path / "terminal.txt"
    log.write_text("".join(LINES), encoding="ascii")
    assert len(list(open_log(log))) == 3
    log.write_text("hello\nthis is text\n", encoding="ascii")
    with pytest.raises(BadInput, match="slcan"):
        list(open_log(log))
    assert not looks_like_slcan("")
