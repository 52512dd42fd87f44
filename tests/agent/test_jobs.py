"""The periodic jobs: report the status, keep the audit for its time."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from agent.clock import FakeClock
from agent.errors import (
    CloudClosed,
    CloudError,
    CloudRefused,
    CloudUnreachable,
    JournalFailed,
    OutboxFailed,
)
from agent.jobs import AUDIT_KEPT, SyncState, housekeeping, sync
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.observer import Observer
from agent.outbox import Outbox
from tests.agent.fake_cloud import FakeCloud


class Says(Observer):
    """An observer that only says what it is told to."""

    def __init__(self, outbox: Outbox, error: Exception | None = None) -> None:
        self._outbox = outbox
        self._error = error

    def body(self) -> dict[str, object]:
        """See Observer."""
        if self._error is not None:
            raise self._error
        return {"operating_status": 2, "sequence": self._outbox.next_sequence()}


@dataclass
class Files:
    """The agent's two files and a clock."""

    clock: FakeClock
    journal: Journal
    outbox: Outbox

    def sync(self, cloud: FakeCloud, state: SyncState, error: Exception | None = None) -> None:
        """Run the job once."""
        sync("BAT-1", Says(self.outbox, error), cloud, self.outbox, self.clock, state)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    """Give new files."""
    clock = FakeClock()
    journal = Journal(tmp_path / "journal.db", Stamp.of(clock))
    outbox = Outbox(tmp_path / "queue.db", partial(journal.reserve, "report"), clock.wall())
    yield Files(clock, journal, outbox)
    outbox.close()
    journal.close()


def sequences(bodies: list[Mapping[str, object]]) -> list[object]:
    """Return the numbers of the reports taken."""
    return [body["sequence"] for body in bodies]


def test_a_report_is_taken(files: Files) -> None:
    """It is counted, with the time; each has a larger number than the last."""
    cloud, state = FakeCloud(), SyncState()
    for _ in range(3):
        files.sync(cloud, state)
    assert (state.done, state.failed, state.trouble) == (3, 0, "")
    assert state.last_s == files.clock.monotonic_s()
    numbers = sequences(cloud.syncs)
    assert numbers == sorted(set(map(int, map(str, numbers))))


def test_numbers_go_on_above_the_platform_s(files: Files) -> None:
    """A box that lost its count takes the platform's: its next report counts again."""
    cloud, state = FakeCloud(), SyncState()
    files.sync(cloud, state)
    cloud.held = int(str(sequences(cloud.syncs)[0])) + 10**9
    files.sync(cloud, state)
    files.sync(cloud, state)
    assert int(str(sequences(cloud.syncs)[-1])) > cloud.held


@pytest.mark.parametrize(
    "error", [CloudUnreachable("nobody there"), CloudRefused(400, 140008, "no such device")]
)
def test_a_failed_report_is_counted_not_repeated(files: Files, error: CloudError) -> None:
    """The next one says more; the time of the last success stays."""
    cloud, state = FakeCloud(None, error), SyncState()
    files.sync(cloud, state)
    then_s = state.last_s
    files.clock.advance(10.0)
    files.sync(cloud, state)
    assert (state.done, state.failed, state.last_s) == (1, 1, then_s)
    assert state.trouble == str(error)
    assert len(cloud.syncs) == 1
    files.sync(cloud, state)
    assert (state.done, state.trouble) == (2, "")


@pytest.mark.parametrize("error", [JournalFailed("disk full"), OutboxFailed("disk full")])
def test_without_a_number_there_is_no_report(files: Files, error: Exception) -> None:
    """Nothing goes out, and the trouble is shown."""
    cloud, state = FakeCloud(), SyncState()
    files.sync(cloud, state, error)
    assert cloud.calls == []
    assert (state.failed, state.trouble) == (1, "disk full")


def test_the_end_is_no_failure(files: Files) -> None:
    """A closed client only ends the call."""
    state = SyncState()
    files.sync(FakeCloud(CloudClosed("closed")), state)
    assert state == SyncState()


def test_one_line_for_one_trouble(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """A day without a platform is one warning and, at its end, one line."""
    caplog.set_level(logging.INFO)
    gone = CloudUnreachable("nobody there")
    cloud, state = FakeCloud(*[gone] * 50), SyncState()
    for _ in range(52):
        files.sync(cloud, state)
    assert caplog.text.count("cannot report: nobody there") == 1
    assert caplog.text.count("reports arrive again") == 1


def test_housekeeping_keeps_a_year_of_audit(files: Files) -> None:
    """Rows go when they are older than the law's year and some; younger ones stay."""
    files.journal.note("first", Stamp.of(files.clock), {})
    files.clock.advance((AUDIT_KEPT - timedelta(days=1)).total_seconds())
    files.journal.note("second", Stamp.of(files.clock), {})
    housekeeping(files.journal, files.clock)
    assert {event.kind for event in files.journal.log()} >= {"first", "second"}
    files.clock.advance(timedelta(days=2).total_seconds())
    housekeeping(files.journal, files.clock)
    kinds = {event.kind for event in files.journal.log()}
    assert "first" not in kinds
    assert "second" in kinds
    assert files.journal.verify() == []


def test_housekeeping_survives_a_broken_journal(
    files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not pruning today is no reason to end."""

    def fails(*_: object) -> int:
        raise JournalFailed("disk I/O error")

    monkeypatch.setattr(files.journal, "prune", fails)
    housekeeping(files.journal, files.clock)
    assert "cannot prune: disk I/O error" in caplog.text
