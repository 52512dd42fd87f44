"""Delivery: everything once, in order, results first; nothing is lost by any failure."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from agent.clock import FakeClock
from agent.deliver import LOOK_S, Deliverer
from agent.errors import (
    CloudClosed,
    CloudError,
    CloudRefused,
    CloudThrottled,
    CloudUnreachable,
    JournalFailed,
)
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.outbox import Outbox
from bms_can.commands import Command, CommandState, Reason
from bms_can.profile import CommandCode
from tests.agent.fake_cloud import FakeCloud

GONE = CloudUnreachable("nobody there")
NEVER = CloudRefused(409, 100001, "cannot follow")
UID, OTHER = "BAT-1", "BAT-2"


class Bench:
    """Real journal and outbox, a fake platform."""

    def __init__(self, folder: Path, *script: CloudError | None, auto: bool = True) -> None:
        self.clock = FakeClock(auto=auto)
        self.journal = Journal(folder / "journal.db", Stamp.of(self.clock))
        reserve = partial(self.journal.reserve, "report")
        self.outbox = Outbox(folder / "queue.db", reserve, datetime(2026, 1, 1, tzinfo=UTC))
        self.cloud = FakeCloud(*script)
        self.deliverer = Deliverer(
            cloud=self.cloud,
            journal=self.journal,
            outbox=self.outbox,
            device_uids=[UID, OTHER],
            clock=self.clock,
            chance=lambda: 0.5,
        )

    def command(self, command_id: str, uid: str = UID) -> None:
        """Write a command down that was rejected: two steps to be told."""
        command = Command(
            command_id, CommandCode.CLOSE_CONTACTOR, uid, "li", 3, 9e9, self.clock.boot_id()
        )
        self.journal.accept(command, Stamp.of(self.clock))
        self.journal.advance(
            command_id,
            CommandState.REJECTED,
            Stamp.of(self.clock),
            reason=Reason.LOCAL_LOCKOUT,
            detail="somebody works on it",
            evidence={"interlocks": []},
        )

    def report(self, uid: str = UID, status: int = 2) -> int:
        """Keep a change of status."""
        return self.outbox.put(uid, "status", self.clock.wall(), {"operating_status": status})

    @property
    def told(self) -> list[tuple[str, str]]:
        """Id and state of each result taken."""
        return [(str(body["id"]), str(body["state"])) for body in self.cloud.results]

    @property
    def taken(self) -> list[int]:
        """Sequences of all reports taken."""
        return [item["sequence"] for body in self.cloud.reports for item in body["reports"]]

    def waits(self) -> bool:
        """Whether anything waits still."""
        uids = (UID, OTHER)
        return any(self.journal.unreported(uid) or self.outbox.batch(uid) for uid in uids)

    def close(self) -> None:
        """Close the files."""
        self.outbox.close()
        self.journal.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give a bench whose platform takes everything."""
    found = Bench(tmp_path)
    yield found
    found.close()


def test_nothing_to_do(bench: Bench) -> None:
    """Without news no call is made."""
    assert bench.deliverer.drain() == 0.0
    assert bench.cloud.calls == []


def test_a_result_carries_all_of_its_step(bench: Bench) -> None:
    """Version, state, reason, detail, evidence and time go out as they were written."""
    bench.command("c-1")
    assert bench.deliverer.drain() == 0.0
    assert bench.told == [("c-1", "accepted"), ("c-1", "rejected")]
    body = bench.cloud.results[-1]
    assert (body["device_uid"], body["version"]) == (UID, 3)
    assert (body["reason"], body["detail"]) == ("local-lockout", "somebody works on it")
    assert body["at"] == "2026-01-02T03:04:05.000Z"
    assert not bench.waits()


def test_results_go_before_reports_device_by_device(bench: Bench) -> None:
    """A result must not wait behind a backlog of reports of its device."""
    bench.report()
    bench.command("c-1")
    bench.report(OTHER)
    bench.command("c-2", OTHER)
    bench.deliverer.drain()
    assert bench.cloud.calls == ["result", "result", "reports"] * 2
    assert [body["device_uid"] for body in bench.cloud.reports] == [UID, OTHER]


def test_reports_go_in_order_and_each_once(bench: Bench) -> None:
    """A backlog of several batches arrives complete, in the order of its numbers."""
    sent = [bench.report(status=1 + number % 4) for number in range(250)]
    bench.deliverer.drain()
    assert bench.taken == sent
    assert len(bench.cloud.reports) > 1
    bench.deliverer.drain()
    assert bench.taken == sent


def test_numbers_go_on_above_the_platform_s(bench: Bench) -> None:
    """A platform that has larger numbers than we had is taken at its word."""
    bench.cloud.held = bench.report() + 10**9
    bench.deliverer.drain()
    assert bench.report() > bench.cloud.held


@pytest.mark.parametrize("failing", range(6))
def test_a_failure_anywhere_loses_nothing(tmp_path: Path, failing: int) -> None:
    """Whichever call fails, the next round brings what is missing, and nothing twice."""
    bench = Bench(tmp_path, *[None] * failing, GONE)
    for command_id, uid in (("c-1", UID), ("c-2", OTHER)):
        bench.command(command_id, uid)
        bench.report(uid)
    first = bench.deliverer.drain()
    assert first is not None
    assert first >= 1.0
    assert bench.deliverer.trouble == "nobody there"
    assert bench.deliverer.drain() == 0.0
    assert bench.deliverer.trouble == ""
    assert bench.told == [
        ("c-1", "accepted"), ("c-1", "rejected"), ("c-2", "accepted"), ("c-2", "rejected"),
    ]  # fmt: skip
    assert len(bench.taken) == len(set(bench.taken)) == 2
    assert not bench.waits()
    bench.close()


def test_failures_in_a_row_wait_longer(tmp_path: Path) -> None:
    """The pause grows, and a named time is kept."""
    bench = Bench(tmp_path, GONE, GONE, GONE, CloudThrottled("slowly", 40.0))
    bench.report()
    pauses = [bench.deliverer.drain() for _ in range(4)]
    assert pauses[:3] == [1.0, 1.0, 2.0]
    assert pauses[3] is not None
    assert pauses[3] >= 40.0
    bench.close()


def test_what_the_platform_never_takes_does_not_block(tmp_path: Path) -> None:
    """It is counted and logged, stays in the journal, and the rest goes on."""
    bench = Bench(tmp_path, NEVER, None, NEVER)
    bench.command("c-1")
    lost = bench.report()
    assert bench.deliverer.drain() == 0.0
    assert bench.told == [("c-1", "rejected")]
    assert bench.deliverer.refused == 2
    assert not bench.waits()
    entry = bench.journal.entry("c-1")
    assert entry is not None
    assert entry.state is CommandState.REJECTED
    fresh = bench.report()
    bench.deliverer.drain()
    assert bench.taken == [fresh]
    assert lost not in bench.taken
    bench.close()


def test_a_closed_client_ends_the_loop(tmp_path: Path) -> None:
    """`run` returns; what waits is there at the next start."""
    bench = Bench(tmp_path, CloudClosed("closed"))
    bench.report()
    bench.deliverer.run()
    assert bench.waits()
    bench.close()


def test_a_journal_that_fails_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk's trouble is shown, and does not end the thread."""

    def fails(*_: object) -> None:
        raise JournalFailed("disk I/O error")

    bench.command("c-1")
    with monkeypatch.context() as broken:
        broken.setattr(bench.journal, "reported", fails)
        assert bench.deliverer.drain() == LOOK_S
        assert bench.deliverer.trouble == "disk I/O error"
    assert bench.deliverer.drain() == 0.0
    assert bench.told == [("c-1", "accepted"), ("c-1", "accepted"), ("c-1", "rejected")]


def test_a_wake_brings_news_at_once(tmp_path: Path) -> None:
    """While nothing is wrong, news does not wait for the next look."""
    bench = Bench(tmp_path, auto=False)
    thread = threading.Thread(target=bench.deliverer.run)
    thread.start()
    assert bench.clock.await_waiting(1)
    bench.report()
    bench.deliverer.wake()
    assert _soon(lambda: len(bench.taken) == 1)
    bench.deliverer.stop()
    thread.join(5)
    assert not thread.is_alive()
    bench.close()


def test_news_does_not_shorten_a_back_off(tmp_path: Path) -> None:
    """While the platform is away a wake changes nothing; `retry` and time do."""
    bench = Bench(tmp_path, GONE, GONE, auto=False)
    bench.report()
    thread = threading.Thread(target=bench.deliverer.run)
    thread.start()
    assert bench.clock.await_waiting(1)
    bench.deliverer.wake()
    assert bench.clock.await_waiting(1)
    assert bench.cloud.calls == ["reports"]
    bench.deliverer.retry()
    assert _soon(lambda: len(bench.cloud.calls) == 2)
    assert bench.clock.await_waiting(1)
    bench.clock.advance(10.0)
    assert _soon(lambda: len(bench.taken) == 1)
    bench.deliverer.stop()
    thread.join(5)
    assert not thread.is_alive()
    bench.close()


def _soon(what: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Look again and again until something is true, or the time is over."""
    event = threading.Event()
    for _ in range(int(seconds / 0.005)):
        if what():
            return True
        event.wait(0.005)
    return False
