"""The columnar timeline gives exactly the changes of the live one."""

from collections import Counter

import pytest

from bms_can.columnar.timeline import ColumnTimeline
from bms_can.timeline import Timeline, what_counts
from tests.bms_can.columnar.streams import Loaded, batteries, case, chunks

CASES = 208


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> list[Loaded]:
    """Give the batteries."""
    return batteries(tmp_path_factory.mktemp("streams"))


def test_the_same_changes_at_the_same_times(loaded: list[Loaded]) -> None:
    """On random streams: same changes, same order, same times, the whole status equal."""
    told: Counter[str] = Counter()
    for number in range(CASES):
        battery, frames, sizes = case(number, loaded)
        live, columns = Timeline(*battery), ColumnTimeline(*battery)
        expected = list(live.run(frames))
        assert list(columns.run(chunks(frames, sizes))) == expected, number
        assert columns.timeline.now_s == live.now_s
        assert live.status is not None
        assert columns.timeline.status is not None
        assert what_counts(columns.timeline.status) == what_counts(live.status)
        told["changes"] += len(expected)
        told["disconnected"] += sum(each.status.disconnected for each in expected)
        told["known"] += sum(each.status.operating is not None for each in expected)
        told["alarms"] += sum(bool(each.status.alarm_count) for each in expected)
        told["bad"] += live.intake.bad.total()
    assert min(told.values()) > 100, told
