"""candump text: every form, every fault, and that a fault costs one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.candump import REASONS, candump_frames, looks_like_candump
from bms_can.errors import BadLogLine
from bms_can.frame import Frame, frame_text

GOOD = "(1436509052.249713) vcan0 044#2A366C2BBA"


def _one(line: str) -> Frame | BadLogLine:
    entries = list(candump_frames([line]))
    assert len(entries) == 1
    return entries[0]


EIGHT = "1122334455667788"
SPACED = "11 22 33 44 55 66 77 88"


@pytest.mark.parametrize(
    ("line", "at_s", "text"),
    [
        (GOOD, 1436509052.249713, "044#2A366C2BBA"),
        ("(1.5) can0 00000044#", 1.5, "00000044#"),
        ("(1.5) can0 1FFFFFFF#00 R", 1.5, "1FFFFFFF#00"),
        ("(1.5) can0 7ff#aB T\r\n", 1.5, "7FF#AB"),
        ("(1.5) can0 123##1" + "00" * 12, 1.5, "123#" + "00" * 12),
        ("(1.5) can0 123##0", 1.5, "123#"),
        (f"(1.5) can0 123#{EIGHT}_E", 1.5, f"123#{EIGHT}"),
        ("(1.5)\tcan0  123#11.22", 1.5, "123#1122"),
        (f" (001.000)  can0  123   [8]  {SPACED}", 1.0, f"123#{EIGHT}"),
        (" (001.000)  can0  18FF50E5   [2]  41 27   'A''", 1.0, "18FF50E5#4127"),
        (" (001.000)  can0  123   [0]", 1.0, "123#"),
        (" (001.000)  can0  123   [0]  ", 1.0, "123#"),
        (" (1.0)  can0  RX - -  123   [1]  FF", 1.0, "123#FF"),
        (" (1.0)  can0  TX B E  123  [12]  " + "00 " * 12, 1.0, "123#" + "00" * 12),
        (f" (1.0)  can0  123   {{E}}  {SPACED}", 1.0, f"123#{EIGHT}"),
        (" (1970-01-01 00:00:02.500000)  can0  123   [0]", 2.5, "123#"),
    ],
)
def test_reads_every_form(line: str, at_s: float, text: str) -> None:
    """Compact and display form, both identifier widths, FD, direction marks, ASCII column."""
    frame = _one(line)
    assert isinstance(frame, Frame)
    assert frame.at_s == at_s
    assert frame_text(frame.can_id, frame.extended, frame.data) == text
    assert frame.channel == ("vcan0" if line == GOOD else "can0")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("(1.5) can0 123#R", "remote frame"),
        ("(1.5) can0 123#R8", "remote frame"),
        (" (1.5)  can0  123   [8]  remote request", "remote frame"),
        ("(1.5) can0 20000004#0010000000000000", "error frame"),
        (" (1.5)  can0  20000088   [8]  00 00 00 00 00 00 00 00   ERRORFRAME", "error frame"),
        ("(1.5) can0 45123#81:00:12345678#11223344.556677", "CAN XL frame"),
        ("(1.5) can0 800#00", "identifier"),
        ("(1.5) can0 80000001#00", "identifier"),
        ("(1.5) can0 123#112", "format"),
        ("(1.5) can0 123#11zz", "format"),
        ("(1.5) can0 123", "format"),
        ("(1.5) can0 12#00", "format"),
        ("(x) can0 123#00", "format"),
        ("(1436509052.249713) vcan0 04", "format"),
        ("\tcontroller-problem{tx-error-warning}", "format"),
        (" can0  123   [1]  11", "time"),
        (" (1970-13-01 00:00:00)  can0  123   [0]", "time"),
        ("(1.5) can0 123#" + "00" * 9, "length"),
        ("(1.5) can0 123##0" + "00" * 9, "length"),
        ("(1.5) can0 123##0" + "00" * 65, "length"),
        (" (1.5)  can0  123   [8]  11 22", "length"),
        (" (1.5)  can0  123   [1]  11 22", "length"),
    ],
)
def test_names_what_is_wrong(line: str, reason: str) -> None:
    """Each fault has its own word, among them frames that are no data frames."""
    entry = _one(line)
    assert isinstance(entry, BadLogLine)
    assert (entry.line_number, entry.reason) == (1, reason)
    assert reason in REASONS


def test_passes_over_blank_lines_and_comments() -> None:
    """They are neither frames nor faults, but they count as lines."""
    entries = list(candump_frames(["", "  \r\n", "# note", "; note", "// note", "junk"]))
    assert [entry.line_number for entry in entries if isinstance(entry, BadLogLine)] == [6]


def test_recognises_the_form_of_a_line() -> None:
    """The form decides, not whether the frame is usable."""
    assert looks_like_candump(GOOD)
    assert looks_like_candump(" can0  123   [1]  11")
    assert not looks_like_candump("t1238112233445566778801A3")


_DATA = st.one_of(st.binary(max_size=8), st.sampled_from([12, 16, 64]).map(bytes))


@given(st.integers(0, 10**9), st.booleans(), st.integers(0, 0x1FFFFFFF), _DATA)
def test_round_trip(milliseconds: int, extended: bool, number: int, data: bytes) -> None:  # noqa: FBT001 - drawn by hypothesis
    """What we write as candump text is read back the same."""
    can_id = number if extended else number & 0x7FF
    text = frame_text(can_id, extended, data)
    text = text.replace("#", "##0") if len(data) > 8 else text
    line = f"({milliseconds / 1000:.6f}) can0 {text}"
    assert _one(line) == Frame(milliseconds / 1000, can_id, extended, data, "can0")


_EDITS = st.lists(
    st.tuples(st.integers(0, 200), st.text(max_size=3), st.integers(0, 3)), max_size=4
)
_BASES = st.sampled_from(
    [
        GOOD,
        "(1.5) can0 123##1" + "00" * 12 + " R",
        " (001.000)  can0  18FF50E5   [2]  41 27   'A''",
        "(1.5) can0 45123#81:00:12345678#11223344.556677",
    ]
)


@given(_BASES, _EDITS)
def test_a_mutated_line_costs_only_itself(base: str, edits: list[tuple[int, str, int]]) -> None:
    """Whatever stands on a line, nothing is raised and its neighbours are read."""
    line = base
    for position, text, removed in edits:
        line = line[:position] + text + line[position + removed :]
    entries = list(candump_frames([GOOD, line, GOOD]))
    assert entries[0] == entries[-1] == _one(GOOD)
    assert len(entries) in (2, 3)
    for entry in entries:
        assert isinstance(entry, Frame) or entry.reason in REASONS


@given(st.text())
def test_any_text_is_survived(line: str) -> None:
    """Arbitrary text gives a frame, a fault, or nothing."""
    assert len(list(candump_frames([line]))) <= 1
