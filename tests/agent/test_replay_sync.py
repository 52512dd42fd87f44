"""A replayed log is reported by the agent's own sync path, on the log's clock."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.errors import CloudUnreachable
from agent.replay_sync import ReplaySync
from bms_can.candump import candump_frames
from bms_can.frame import Frame
from bms_can.profile_load import load_profile
from bms_can.timeline import Timeline
from tests.agent.fake_cloud import FakeCloud

ROOT = Path(__file__).parents[2]
LOG = ROOT / "tests" / "data" / "ess_bau" / "half_minute.log"
LASTS_S = 30.0


class Bench:
    """The recorded half minute, replayed to a fake platform.

    Attributes:
        changes: how often the status changed.
    """

    def __init__(self, folder: Path, cloud: FakeCloud, period_s: float, shift_s: float) -> None:
        key = folder / "box.key"
        key.touch(mode=0o600)
        key.write_text("k" * 40, encoding="ascii")
        self.cloud = cloud
        self.changes = 0
        self._shift_s = shift_s
        loaded = load_profile(ROOT / "dbc" / "ess_bau.toml")
        self._timeline = Timeline(*loaded)
        self.sync = ReplaySync("http://127.0.0.1:9/api", key, "BAT-1", loaded[0], period_s)
        self.sync._cloud.close()
        self.sync._cloud = cloud

    def run(self) -> "Bench":
        """Replay all of it."""
        with LOG.open(encoding="ascii") as lines:
            for frame in candump_frames(lines):
                assert isinstance(frame, Frame)
                moved = frame._replace(at_s=frame.at_s + self._shift_s)
                self.changes += len(list(self._timeline.take(moved)))
                self.sync.look(self._timeline)
        self.sync.close()
        return self

    def statuses(self) -> Iterator[tuple[object, object]]:
        """Yield operating status and disconnected of each report, repetitions left out."""
        last = None
        for body in self.cloud.syncs:
            shown = body["operating_status"], body["disconnected"]
            if shown != last:
                yield shown
            last = shown


def replayed(
    folder: Path, cloud: FakeCloud, *, period_s: float = 600.0, shift_s: float = 0.0
) -> Bench:
    """Run the bench."""
    return Bench(folder, cloud, period_s, shift_s).run()


def test_each_change_is_reported_in_order(tmp_path: Path) -> None:
    """The platform sees the whole story of the recording, unknown and silence included."""
    bench = replayed(tmp_path, FakeCloud())
    assert list(bench.statuses()) == [
        (None, 0), (1, 0), (None, 0), (2, 0), (3, 0), (4, 0), (2, 0), (1, 0),
        (None, 1), (1, 0), (None, 0), (2, 0), (1, 0),
    ]  # fmt: skip
    assert bench.sync.failed == 0
    assert bench.sync.values()["reported"] == len(bench.cloud.syncs) > 12


def test_without_changes_it_reports_once_a_period(tmp_path: Path) -> None:
    """A short period adds reports; a long one leaves only the changes."""
    few = len(replayed(tmp_path, FakeCloud()).cloud.syncs)
    many = len(replayed(tmp_path, FakeCloud(), period_s=0.5).cloud.syncs)
    assert LASTS_S / 0.5 * 0.9 <= many <= LASTS_S / 0.5 + few


def test_numbers_grow_and_ages_are_those_of_the_log(tmp_path: Path) -> None:
    """Each report has a larger number; its observation is as old as its frames in the log."""
    bench = replayed(tmp_path, FakeCloud(), period_s=1.0)
    numbers = [body["sequence"] for body in bench.cloud.syncs]
    assert numbers == sorted(set(numbers))
    ages = [body["age_ms"] for body in bench.cloud.syncs if not body["disconnected"]]
    assert all(age is None or age <= 1000 for age in ages)


@pytest.mark.parametrize(("shift_s", "dated"), [(0.0, True), (-1_780_000_000.0, False)])
def test_an_alarm_is_dated_by_the_log(tmp_path: Path, shift_s: float, *, dated: bool) -> None:
    """With epoch stamps its start is the log's; with relative ones the present stands for it."""
    bench = replayed(tmp_path, FakeCloud(), shift_s=shift_s)
    alarms = [alarm for body in bench.cloud.syncs for alarm in body["alarms"]]
    since = {alarm["since"] for alarm in alarms if alarm["key"] == "soc_low_alarm"}
    (text,) = since
    moment = datetime.fromisoformat(text)
    log_time = datetime.fromtimestamp(1_780_000_014, UTC)
    if dated:
        assert abs((moment - log_time).total_seconds()) < 1.0
    else:
        assert abs((moment - datetime.now(UTC)).total_seconds()) < 600  # noqa: TID251 - as a person


def test_failures_are_counted_and_shown(tmp_path: Path) -> None:
    """The replay goes on; the outcome says how many and why."""
    bench = replayed(tmp_path, FakeCloud(None, CloudUnreachable("nobody there")))
    assert bench.sync.failed == 1
    assert bench.sync.values()["failed"] == 1
    assert bench.sync.line().startswith(f"sync        {len(bench.cloud.syncs)} reports taken")
    gone = FakeCloud(*[CloudUnreachable("nobody there")] * 1000)
    assert replayed(tmp_path, gone).sync.line().endswith("failed: nobody there")


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue of a replay lives in a temporary folder that goes with it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    replayed(tmp_path, FakeCloud())
    assert [path.name for path in tmp_path.iterdir()] == ["box.key"]
    bench = Bench(tmp_path, FakeCloud(), 1.0, 0.0)
    bench.sync.close()
    assert [path.name for path in tmp_path.iterdir()] == ["box.key"]
