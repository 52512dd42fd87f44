"""The outbox: in order, bounded, numbers never twice, alarms with their time."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest

from agent.errors import OutboxFailed
from agent.outbox import BLOCK, MAX_REPORT_BYTES, Outbox

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Blocks:
    """Reserves numbers as the journal does; counts how often."""

    def __init__(self, first: int = 1) -> None:
        self.next = first
        self.calls = 0

    def __call__(self, count: int, at_least: int) -> int:
        """Give the next block."""
        first = max(self.next, at_least)
        self.next = first + count
        self.calls += 1
        return first


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the queue's file."""
    return tmp_path / "queue.db"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    """Return an empty queue whose numbers start at 1."""
    with closing(Outbox(path, Blocks(), EPOCH)) as opened:
        yield opened


def test_first_in_first_out(outbox: Outbox, path: Path) -> None:
    """Reports come back in order, over a restart, until they are done."""
    numbers = [outbox.put("BAT", "status", NOW, {"n": n, "x": 0.1 + 0.2}) for n in range(3)]
    outbox.put("OTHER", "status", NOW, {})
    outbox.close()
    with closing(Outbox(path, Blocks(BLOCK + 1), NOW)) as again:
        batch = again.batch("BAT")
        assert [report.sequence for report in batch] == numbers
        assert batch[0].body == {"n": 0, "x": 0.3}
        assert (batch[0].kind, batch[0].at) == ("status", "2026-01-02T03:04:05.000Z")
        again.done("BAT", numbers[1])
        assert [report.body["n"] for report in again.batch("BAT")] == [2]
        assert len(again.batch("OTHER")) == 1
        assert again.backlog()[:1] == (2,)


def test_numbers_rise_over_restarts_and_losses(path: Path) -> None:
    """A number is above all before it: after restart, loss of either file, and of both."""
    blocks, last = Blocks(), 0
    steps = ("fresh", "restart", "queue lost", "journal lost", "both lost")
    for day, step in enumerate(steps):
        if step in {"queue lost", "both lost"}:
            path.unlink()
        if step in {"journal lost", "both lost"}:
            blocks = Blocks()
        with closing(Outbox(path, blocks, NOW + timedelta(days=day))) as outbox:
            for _ in range(BLOCK + 5):
                before, last = last, outbox.next_sequence()
                assert last > before


def test_the_platform_may_know_a_higher_number(outbox: Outbox) -> None:
    """After a loss under a wrong clock, the platform's number lifts ours."""
    assert outbox.next_sequence() == 1
    outbox.raise_above(5_000_000)
    assert outbox.next_sequence() == 5_000_001
    outbox.raise_above(7)
    assert outbox.next_sequence() == 5_000_002


def test_numbers_cost_one_reservation_per_block(path: Path) -> None:
    """A thousand numbers need one durable write."""
    blocks = Blocks()
    with closing(Outbox(path, blocks, EPOCH)) as outbox:
        numbers = [outbox.next_sequence() for _ in range(2 * BLOCK)]
    assert numbers == list(range(1, 2 * BLOCK + 1))
    assert blocks.calls == 2


def test_numbers_are_unique_over_threads(outbox: Outbox) -> None:
    """Eight threads never get the same number."""
    found: list[int] = []

    def take() -> None:
        found.extend(outbox.next_sequence() for _ in range(300))

    threads = [Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 2400


def test_oldest_go_when_rows_are_over(path: Path) -> None:
    """At the bound the oldest are dropped and counted, also over a restart."""
    with closing(Outbox(path, Blocks(), EPOCH, max_rows=5)) as outbox:
        for n in range(8):
            outbox.put("BAT", "status", NOW, {"n": n})
        assert [report.body["n"] for report in outbox.batch("BAT")] == [3, 4, 5, 6, 7]
    with closing(Outbox(path, Blocks(BLOCK + 1), EPOCH, max_rows=5)) as outbox:
        assert outbox.backlog().dropped == 3


def test_oldest_go_when_bytes_are_over(path: Path) -> None:
    """The bound holds for bytes too, and the file stays bounded."""
    with closing(Outbox(path, Blocks(), EPOCH, max_bytes=50_000)) as outbox:
        for n in range(100):
            outbox.put("BAT", "status", NOW, {"n": n, "text": "x" * 2000})
        backlog = outbox.backlog()
        assert backlog.bytes <= 50_000
        assert backlog.rows + backlog.dropped == 100
    assert path.stat().st_size < 200_000


def test_batch_fits_a_body(outbox: Outbox) -> None:
    """A batch is bounded by number and bytes, but is never empty while something waits."""
    for n in range(10):
        outbox.put("BAT", "status", NOW, {"n": n, "text": "x" * 3000})
    assert len(outbox.batch("BAT", limit=2)) == 2
    assert len(outbox.batch("BAT", max_bytes=10_000)) == 3
    assert len(outbox.batch("BAT", max_bytes=10)) == 1


def test_a_report_that_is_too_large(outbox: Outbox) -> None:
    """It is refused and leaves nothing."""
    with pytest.raises(OutboxFailed, match="over the limit"):
        outbox.put("BAT", "status", NOW, {"text": "x" * MAX_REPORT_BYTES})
    assert outbox.backlog() == (0, 0, 0)


def test_alarm_edges(outbox: Outbox, path: Path) -> None:
    """An alarm is reported when it comes and when it goes, and keeps its time over a restart."""
    body = {"level": 3, "label_en": "Hot"}
    edges = outbox.alarm_edges("BAT", {"hot": body}, NOW)
    assert (edges.raised, edges.cleared) == (("hot",), ())
    assert edges.since == {"hot": NOW}
    outbox.close()
    later = NOW + timedelta(minutes=5)
    with closing(Outbox(path, Blocks(BLOCK + 1), EPOCH)) as again:
        assert again.alarms_since("BAT") == {"hot": NOW}
        same = again.alarm_edges("BAT", {"hot": body}, later)
        assert (same.raised, same.cleared, same.since) == ((), (), {"hot": NOW})
        gone = again.alarm_edges("BAT", {}, later)
        assert (gone.cleared, gone.since) == (("hot",), {})
        came, went = again.batch("BAT")
        assert came.body == {**body, "key": "hot", "active": True, "since": came.at}
        assert went.body == {**body, "key": "hot", "active": False, "since": came.at}
        assert went.at == "2026-01-02T03:09:05.000Z"


def test_an_unknown_alarm_is_not_cleared(outbox: Outbox) -> None:
    """What cannot be judged is neither on nor off: it stays as it was."""
    outbox.alarm_edges("BAT", {"hot": {}, "cold": {}}, NOW)
    assert outbox.alarm_edges("BAT", {}, NOW, unknown=None).cleared == ()
    assert outbox.alarm_edges("BAT", {}, NOW, unknown={"hot"}).cleared == ("cold",)
    assert set(outbox.alarms_since("BAT")) == {"hot"}


def test_corrupt_queue_starts_anew(path: Path) -> None:
    """A corrupt queue is put aside; the numbers go on above."""
    path.write_bytes(b"rubbish" * 1000)
    with closing(Outbox(path, Blocks(77), EPOCH)) as outbox:
        assert outbox.next_sequence() == 77
    assert path.with_name("queue.db.corrupt-1").exists()


def test_unusable_file(tmp_path: Path) -> None:
    """A place where no file can be is our error."""
    with pytest.raises(OutboxFailed):
        Outbox(tmp_path, Blocks(), NOW)
