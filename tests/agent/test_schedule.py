"""Jobs run at their pace, whatever the wall clock does."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.schedulers import base
from hypothesis import given
from hypothesis import strategies as st

import agent
from agent.clock import SystemClock
from agent.schedule import KeepPace, Schedule

START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR_S = 365.25 * 86_400


def no_error(error: BaseException) -> None:
    """Fail: no job of this test raises."""
    raise AssertionError from error


@contextmanager
def running(
    on_error: Callable[[BaseException], None] = no_error, min_gap_s: float = 0.0
) -> Iterator[Schedule]:
    """Give a schedule; stop it at the end."""
    schedule = Schedule(SystemClock(), on_error, min_gap_s)
    try:
        yield schedule
    finally:
        schedule.stop()


def test_trigger_keeps_pace() -> None:
    """The next run is one period after the last one."""
    trigger = KeepPace(10)
    assert trigger.get_next_fire_time(None, START) == START
    a_bit_late = START + timedelta(seconds=0.2)
    assert trigger.get_next_fire_time(START, a_bit_late) == START + timedelta(seconds=10)


@given(
    st.floats(-60 * YEAR_S, 60 * YEAR_S),
    st.floats(0.1, 3600.0),
)
def test_trigger_never_lists(step_s: float, period_s: float) -> None:
    """After any step the next run is at most one period ahead, and only one run was missed."""
    trigger = KeepPace(period_s)
    now = START + timedelta(seconds=step_s)
    following = trigger.get_next_fire_time(START, now)
    assert now < following <= now + timedelta(seconds=period_s)
    assert trigger.get_next_fire_time(following, now) > now


class SteppedDatetime(datetime):
    """What APScheduler takes for the wall clock in these tests."""

    offset = timedelta()

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        """Return the real time plus the offset."""
        assert tz is UTC
        return datetime.now(UTC) + cls.offset  # noqa: TID251 - this is the wall clock


class SteppedClock(SystemClock):
    """The same wall clock as the agent sees it."""

    def wall(self) -> datetime:
        """See Clock."""
        return SteppedDatetime.now(UTC)


class Counter:
    """A job that counts its runs."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self.runs = 0

    def __call__(self) -> None:
        """Run."""
        with self._change:
            self.runs += 1
            self._change.notify_all()

    def reach(self, runs: int, timeout_s: float = 5.0) -> bool:
        """Wait until there have been so many runs."""
        with self._change:
            return self._change.wait_for(lambda: self.runs >= runs, timeout_s)

    def more(self, runs: int, timeout_s: float = 5.0) -> bool:
        """Wait until so many more runs have been, for jobs that run by themselves."""
        return self.reach(self.runs + runs, timeout_s)


def test_no_run_is_lost_when_the_clock_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """From -40 to +56 years the pace goes on, and no missed period is made up for."""
    monkeypatch.setattr(base, "datetime", SteppedDatetime)
    monkeypatch.setattr(SteppedDatetime, "offset", timedelta())
    counter = Counter()
    schedule = Schedule(SteppedClock(), no_error)
    schedule.every(0.05, counter, "count")
    schedule.start()
    try:
        for step_s in (-120.0, 3600.0, 56 * YEAR_S, -40 * YEAR_S, -86_400.0):
            assert counter.more(2)
            SteppedDatetime.offset += timedelta(seconds=step_s)
            before, stepped_s = counter.runs, time.monotonic()
            schedule.clock_stepped()
            assert counter.more(3, timeout_s=2.0)
            periods = (time.monotonic() - stepped_s) / 0.05
            assert counter.runs - before <= periods + 3
    finally:
        schedule.stop()


def test_without_help_a_step_back_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is why `clock_stepped` must be called; should APScheduler learn it, drop it."""
    monkeypatch.setattr(base, "datetime", SteppedDatetime)
    monkeypatch.setattr(SteppedDatetime, "offset", timedelta())
    counter = Counter()
    schedule = Schedule(SteppedClock(), no_error)
    schedule.every(0.05, counter, "count")
    schedule.start()
    try:
        assert counter.more(1)
        SteppedDatetime.offset = timedelta(seconds=-3600)
        counter.more(2, timeout_s=0.2)
        assert not counter.more(2, timeout_s=0.3)
        schedule.clock_stepped()
        assert counter.more(2)
    finally:
        schedule.stop()


def test_first_run_can_be_put_off() -> None:
    """A fleet that boots together need not call together."""
    with running() as schedule:
        soon, late = Counter(), Counter()
        schedule.every(3600, soon, "soon")
        schedule.every(3600, late, "late", jitter_first=1800.0)
        schedule.start()
        assert soon.reach(1)
        assert late.runs == 0
        schedule.wake("late")
        assert late.reach(1)


def test_wake_respects_the_gap() -> None:
    """Many wakes at once are few runs, and none is forgotten."""
    with running(min_gap_s=0.2) as schedule:
        counter = Counter()
        schedule.every(3600, counter, "job")
        schedule.start()
        assert counter.reach(1)
        started_s = time.monotonic()
        for _ in range(50):
            schedule.wake("job")
        assert counter.reach(2)
        assert time.monotonic() - started_s > 0.1
        assert counter.runs == 2


def test_a_wake_during_a_run_means_once_more() -> None:
    """What changed while the job ran is not left to the next period."""
    entered, leave, runs = threading.Event(), threading.Event(), Counter()

    def slow() -> None:
        runs()
        entered.set()
        assert leave.wait(5.0)

    with running() as schedule:
        schedule.every(3600, slow, "slow")
        schedule.start()
        assert entered.wait(5.0)
        for _ in range(5):
            schedule.wake("slow")
        leave.set()
        assert runs.reach(2)
        assert not runs.reach(3, timeout_s=0.2)


def test_no_wake_is_lost_at_the_end_of_a_run() -> None:
    """A wake at any moment is followed by a run that starts after it."""
    starts = Counter()
    with running() as schedule:
        schedule.every(3600, starts, "job")
        schedule.start()
        assert starts.reach(1)
        for _ in range(200):
            before = starts.runs
            schedule.wake("job")
            assert starts.reach(before + 1, timeout_s=2.0)


def test_a_hung_job_is_seen() -> None:
    """A job that does not end is overdue, its periods are counted, and others go on."""
    leave, other = threading.Event(), Counter()
    with running() as schedule:
        schedule.every(0.05, lambda: leave.wait(5.0), "hung")
        schedule.every(0.05, other, "other")
        schedule.start()
        assert other.more(5)
        assert schedule.overdue(0.1) == ["hung"]
        assert schedule.skipped()["hung"] >= 1
        assert "other" not in schedule.overdue(1.0)
        leave.set()


@pytest.mark.parametrize("error", [ValueError("bug"), SystemExit(3)])
def test_an_unknown_error_is_handed_on(error: BaseException) -> None:
    """APScheduler would swallow it, SystemExit included; the process must hear of it."""
    heard: list[BaseException] = []
    told = threading.Event()

    def on_error(what: BaseException) -> None:
        heard.append(what)
        told.set()

    def job() -> None:
        raise error

    with running(on_error) as schedule:
        schedule.every(3600, job, "bad")
        schedule.start()
        assert told.wait(5.0)
    assert heard == [error]


def test_stop_waits_for_the_running_job() -> None:
    """A job under way ends properly; after that nothing runs, and a wake does nothing."""
    entered, ended = threading.Event(), threading.Event()

    def job() -> None:
        entered.set()
        time.sleep(0.05)  # the time that a call needs
        ended.set()

    schedule = Schedule(SystemClock(), no_error)
    schedule.every(0.01, job, "job")
    schedule.start()
    assert entered.wait(5.0)
    schedule.stop()
    assert ended.is_set()
    schedule.wake("job")
    schedule.clock_stepped()
    schedule.stop()


def test_unknown_job() -> None:
    """A name that nobody scheduled is a bug."""
    with running() as schedule, pytest.raises(KeyError):
        schedule.wake("nobody")


def test_apscheduler_is_imported_in_one_place() -> None:
    """All of APScheduler stays in one module."""
    folder = Path(agent.__file__).parent
    users = [file.name for file in folder.rglob("*.py") if "from apscheduler" in file.read_text()]
    assert users == ["schedule.py"]
