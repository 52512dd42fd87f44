"""Pages of a multiplexed message that wait for a look leave what pages taken at once leave."""

from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from bms_can.block import Block
from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.integrity import Integrity
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.table import Watch
from tests.bms_can.build import block_of
from tests.bms_can.tiny import DBC, changed, write

CELLS = 258
# A page within a page, big-endian values, and a counter and checksum that stand on every page.
PAGED = """BO_ 258 Cells: 8 BMS
 SG_ page M : 0|2@1+ (1,0) [0|3] "" EMS
 SG_ part m1M : 4|2@1+ (1,0) [0|3] "" EMS
 SG_ cell_2 m0 : 23|16@0+ (1,0) [0|5000] "mV" EMS
 SG_ cell_10 m1 : 23|16@0+ (1,0) [0|5000] "mV" EMS
 SG_ low m0 : 39|8@0+ (1,0) [0|250] "" EMS
 SG_ high m2 : 39|8@0+ (1,0) [0|250] "" EMS
 SG_ always : 8|8@1+ (1,0) [0|200] "" EMS
 SG_ counter : 40|4@1+ (1,0) [0|15] "" EMS
 SG_ checksum : 56|8@1+ (1,0) [0|255] "" EMS
"""
NESTED = """SG_MUL_VAL_ 258 part page 1-1;
SG_MUL_VAL_ 258 cell_2 page 0-0;
SG_MUL_VAL_ 258 cell_10 page 1-1;
SG_MUL_VAL_ 258 low part 0-0;
SG_MUL_VAL_ 258 high part 2-2;
"""
RULE = {
    "messages": ["Cells"],
    "counter": "counter",
    "checksum": "checksum",
    "algorithm": "crc8-sae-j1850",
}


@pytest.fixture(scope="module", params=["plain", "sealed"])
def paged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Profile, Database]:
    """Return a battery whose cells stand on pages."""
    begin, end = DBC.index("BO_ 258"), DBC.index("BO_ 259")
    dbc = DBC[:begin] + PAGED + DBC[end:] + NESTED
    cells = [
        (f"telemetry.{name}", f"Cells.{name}")
        for name in ("cell_2", "cell_10", "low", "high", "always")
    ]
    data = changed(*cells)
    if request.param == "sealed":
        data["integrity"].append(RULE)
    folder: Path = tmp_path_factory.mktemp(request.param)
    return load_profile(write(folder, data, dbc))


Row = tuple[int, int, int, str, float]
EVERY_PAGE = [(page, part, 1, "good", 0.01) for page in range(4) for part in range(4)]
STEP = st.tuples(
    st.sampled_from(["block", "block", "block", "single", "look", "watch"]),
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 0, 1, 1, 1, 1, 3]),  # page; there is no 3
            st.sampled_from([0, 0, 0, 2, 2, 2, 2, 1]),  # page within it; there is no 1
            st.sampled_from([0, 1, 250]),
            st.sampled_from(["good"] * 8 + ["short", "broken", "skip"]),
            st.sampled_from([0.001, 0.01, 0.6]),
        ),
        max_size=6,
    ),
)


@settings(max_examples=300)
@given(script=st.lists(STEP, min_size=2, max_size=12), learned=st.booleans())
def test_pages_that_wait_are_the_same_as_pages_taken_at_once(
    paged: tuple[Profile, Database], script: list[tuple[str, list[Row]]], *, learned: bool
) -> None:
    """Values, times, counts, lost frames, whatever comes: no such page, bad sums, gaps, watches."""
    profile, database = paged
    waiting, at_once = Intake(profile, database), Intake(profile, database)
    seals = Integrity(database, profile.integrity)
    at_s, counter = 1.0, 0
    watches: list[Watch] = []
    for what, run in [("single", EVERY_PAGE)] * learned + script:
        frames = []
        for page, part, value, kind, gap_s in run:
            at_s, counter = at_s + gap_s, counter + 1 + (kind == "skip")
            data = bytes([page | part << 4, value, 0, value, value, 0, 0, 0])
            data = seals.sealed("Cells", data, counter)
            data = {"short": data[:5], "broken": data[:7] + b"\0"}.get(kind, data)
            frames.append(Frame(at_s, CELLS, extended=False, data=data))
        if what == "watch":
            for intake, old in zip((waiting, at_once), watches, strict=False):
                intake.table.unwatch(old)
            names = frozenset({"Cells", "Cells.low"})
            both = [] if watches else [waiting, at_once]
            watches = [each.table.watch(names, lambda *_: True, at_s) for each in both]
        if what == "block" and frames:
            block = block_of(frames)
            event(f"block: {type(block) is Block}")
            waiting.take_many(block)
        else:
            waiting.take_each(frames)
        for frame in frames:
            if (accepted := at_once.accept(frame)) is not None:
                at_once.store(*accepted, frame)
        if watches:
            seen = [i.table.look(w) for i, w in zip((waiting, at_once), watches, strict=True)]
            assert (seen[0].counts, seen[0].frames) == (seen[1].counts, seen[1].frames)
        if what == "look":
            assert waiting.table.snapshot() == at_once.table.snapshot()
    assert waiting.stated() == at_once.stated()
    assert waiting.table.snapshot() == at_once.table.snapshot()
    assert waiting.table.heard() == at_once.table.heard()
    assert (waiting.frames, waiting.decoded) == (at_once.frames, at_once.decoded)
    assert waiting.bad == at_once.bad
    assert waiting.integrity.lost_by_message == at_once.integrity.lost_by_message
