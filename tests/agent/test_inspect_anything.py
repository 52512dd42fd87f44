"""Whatever frames come: inspect says something or nothing, and never breaks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.render_html import page
from agent.render_inspect import Report, report_lines, report_values
from agent.words_inspect import LANGUAGES
from bms_can.database import Database, load
from bms_can.drafting.draft import draft
from bms_can.drafting.plan import Plan
from bms_can.examine.examination import examine
from bms_can.frame import Frame
from bms_can.layout import FD_LENGTHS
from bms_can.profile_load import load_profile
from tests.bms_can.examine.logs import DBC, chunks

IDS = (0x1801E5F4, 0x1802E5F4, 0x1805E5F4, 0x180CE5F4, 0x1811F4E5, 0x123, 0x7FF)
lengths = st.one_of(st.integers(0, 8), st.sampled_from(FD_LENGTHS))
times = st.one_of(st.floats(0, 1e12), st.floats(0, 100), st.just(0.0))


class Run(NamedTuple):
    """Frames of one identifier with their own way to change."""

    can_id: int
    start_s: float
    step_s: float
    seed: int
    size: int
    channel: str
    number: int

    def frames(self) -> Iterator[Frame]:
        """Yield them."""
        for turn in range(self.number):
            each = (self.seed * (place + 1) * (1 + turn * (place % 3)) for place in range(64))
            data = bytes(value & 0xFF for value in each)[: self.size]
            at_s = max(0.0, self.start_s + turn * self.step_s)
            yield Frame(at_s, self.can_id, self.can_id > 0x7FF, data, self.channel)


runs = st.builds(
    Run,
    can_id=st.sampled_from(IDS),
    start_s=times,
    step_s=st.sampled_from([0.0, 0.1, -0.1, 1e9, 1e-7]),
    seed=st.integers(0, 255),
    size=lengths,
    channel=st.sampled_from(["", "can0", "can1"]),
    number=st.integers(1, 60),
)


@pytest.fixture(scope="module")
def database() -> Database:
    """Our own DBC."""
    return load(DBC)


@settings(max_examples=12, deadline=None)
@given(
    drawn=st.lists(runs, max_size=5), size=st.sampled_from([1, 7, 50, 1000]), known=st.booleans()
)
def test_any_frames_can_be_inspected(
    drawn: list[Run],
    size: int,
    known: bool,  # noqa: FBT001 - drawn
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """All four outputs, and a draft that loads."""
    some = [frame for run in drawn for frame in run.frames()]
    seen = examine(chunks(some, size), database if known else None)
    report = Report("x.log", seen, ())
    for language in LANGUAGES:
        assert list(report_lines(report, language))
        assert "</html>" in page(report, language)
    text = json.dumps(report_values(report), allow_nan=False)
    assert json.loads(text)["frames"] == len(some)
    if known:
        folder = tmp_path_factory.mktemp("d")
        path = Path(folder) / "x.toml"
        path.write_text(draft(Plan(database, str(DBC), "x", seen, "x.log")), encoding="utf-8")
        assert load_profile(path)[0].commands == {}
