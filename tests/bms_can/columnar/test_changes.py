"""The changes of signals as lines, however a log is cut."""

import json
import math
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bms_can.columnar.changes import Changes
from bms_can.columnar.decode import Decoder
from bms_can.database import load
from bms_can.frame import Frame
from tests.bms_can.columnar.streams import chunks

DBC = """VERSION ""
BS_:
BU_: BMS EMS
BO_ 1 Float: 4 BMS
 SG_ level : 0|32@1- (1,0) [0|0] "A" EMS
BO_ 2 Pages: 2 BMS
 SG_ page M : 0|8@1+ (1,0) [0|1] "" EMS
 SG_ a m0 : 8|8@1+ (1,0) [0|255] "" EMS
 SG_ b m1 : 8|8@1+ (1,0) [0|255] "" EMS
BO_ 3 Huge: 8 BMS
 SG_ total : 0|64@1+ (1000,0) [0|0] "" EMS
SIG_VALTYPE_ 1 level : 1;
"""
FRAMES = st.lists(
    st.tuples(
        st.sampled_from(["", "can0", "can1"]),
        st.integers(0, 1),
        st.integers(0, 2),
        st.integers(1, 4),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def dbc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a DBC with a float, pages and a number beyond 64 bits."""
    path = tmp_path_factory.mktemp("changes") / "c.dbc"
    path.write_text(DBC, encoding="utf-8")
    return path


def changes(dbc: Path, frames: list[Frame], sizes: list[int]) -> list[dict[str, object]]:
    """Return the changes as objects."""
    database = load(dbc)
    decoder, lines = Decoder(database), Changes(database, as_json=True)
    found = [lines.of(each, list(decoder.decode(each))) for each in chunks(frames, sizes)]
    return [json.loads(line) for some in found for line in some]


@settings(max_examples=60, deadline=None)
@given(FRAMES)
def test_the_changes_do_not_depend_on_the_cut(
    dbc: Path, parts: list[tuple[str, int, int, int]]
) -> None:
    """Each signal on each channel by itself, only where its page has it, against a plain loop."""
    frames = [
        Frame(float(at_s), 2, extended=False, data=bytes([page, value]), channel=channel)
        for at_s, (channel, page, value, _) in enumerate(parts)
    ]
    last: dict[tuple[str, str], int] = {}
    wanted = []
    for at_s, (channel, page, value, _) in enumerate(parts):
        for name, new in (("page", page), ("ab"[page], value)):
            old = last.get((channel, name))
            if old != new:
                wanted.append((float(at_s), channel, f"Pages.{name}", old, new))
            last[channel, name] = new
    found = changes(dbc, frames, [size for *_, size in parts])
    keys = ("time", "channel", "signal", "old", "new")
    got = [tuple(each.get(key) for key in keys) for each in found]
    assert got == wanted


def test_no_number_is_no_change_of_itself(dbc: Path) -> None:
    """NaN after NaN is a repeat, also over a cut; a number after it is a change."""
    values = [math.nan, math.nan, math.nan, 1.5, 1.5, math.nan]
    frames = [
        Frame(float(at_s), 1, extended=False, data=struct.pack("<f", value))
        for at_s, value in enumerate(values)
    ]
    found = changes(dbc, frames, [2, 4])
    assert [(each["time"], each["new"]) for each in found] == [(0, None), (3, 1.5), (5, None)]


def test_numbers_beyond_64_bits(dbc: Path) -> None:
    """They are exact."""
    raws = [2**64 - 1, 2**64 - 1, 2**64 - 2]
    frames = [
        Frame(float(at_s), 3, extended=False, data=raw.to_bytes(8, "little"))
        for at_s, raw in enumerate(raws)
    ]
    found = changes(dbc, frames, [3])
    assert [each["new"] for each in found] == [1000 * (2**64 - 1), 1000 * (2**64 - 2)]
