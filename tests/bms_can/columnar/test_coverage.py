"""What a DBC explains of a log is counted alike frame by frame and on columns."""

import pytest

from bms_can.columnar.coverage import ColumnCoverage
from bms_can.coverage import Coverage
from tests.bms_can.columnar.streams import Loaded, batteries, case, chunks

CASES = 64


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> list[Loaded]:
    """Give the batteries."""
    return batteries(tmp_path_factory.mktemp("streams"))


def test_the_same_counts(loaded: list[Loaded]) -> None:
    """On random streams: frames, channels, identifiers, refused frames, impossible values."""
    doubts = 0
    for number in range(CASES):
        (profile, database), frames, sizes = case(number, loaded)
        live, other = (Coverage(database, profile.channel) for _ in range(2))
        columns = ColumnCoverage(database, profile.channel, other)
        for frame in frames:
            live.take(frame)
        for chunk in chunks(frames, sizes):
            columns.take(chunk)
        for name in ("frames", "other_channel", "known", "decoded", "unknown", "messages"):
            assert getattr(other, name) == getattr(live, name), (number, name)
        assert list(other.doubts()) == list(live.doubts())
        doubts += len(live.doubts())
    assert doubts > CASES
