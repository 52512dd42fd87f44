"""Periodic jobs. The only import of APScheduler.

APScheduler 3 lives on the wall clock. After a step back it would be silent for the length of the
step, after a step forward it would list every missed period (1970 to 2026 at its first NTP: minutes
and gigabytes). So the trigger here never lists anything, and whoever sees the clock step calls
`clock_stepped`. Nothing in the path of a command depends on this module.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobEvent,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from agent.clock import Clock

Job = Callable[[], object]

WORKERS = 20  # more than reports of all devices: one that hangs delays no other. Made when needed
_HANDOVER_S = 0.05  # between the end of a job's function and APScheduler's counting it as ended
_SKIPS = EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED
_MASK = EVENT_JOB_ERROR | EVENT_JOB_EXECUTED | EVENT_JOB_SUBMITTED | _SKIPS
_DEFAULTS = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}


class KeepPace(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 ships no types
    """Fires each `period_s` [s]; what was missed is skipped, whatever the clock did."""

    def __init__(self, period_s: float) -> None:
        self.period = timedelta(seconds=period_s)

    def get_next_fire_time(
        self,
        previous_fire_time: datetime | None,
        now: datetime,
    ) -> datetime:
        """Return `previous + period`; `now + period` if that is past, or further ahead than one."""
        if previous_fire_time is None:
            return now
        following = previous_fire_time + self.period
        return following if now < following <= now + self.period else now + self.period


class _Task:
    """A job and what is known of its runs; guarded by the schedule's lock."""

    def __init__(self, job: Job, period_s: float, now_s: float) -> None:
        self.job = job
        self.period_s = period_s
        self.running = False
        self.again = False
        self.submits = 0
        self.starts = 0
        self.started_s = float("-inf")
        self.finished_s = now_s


class Schedule:
    """Runs jobs periodically and on demand, one run of each at a time.

    A job that raises is a bug: jobs translate the errors that they expect. The error goes to
    `on_error`, which is meant to end the process.

    Args:
        clock: for distances between runs, and the wall clock that APScheduler sees.
        on_error: called with what a job raised, SystemExit included, in the job's thread.
        min_gap_s: `wake` starts a job no sooner after its last start [s].
    """

    def __init__(
        self, clock: Clock, on_error: Callable[[BaseException], None], min_gap_s: float = 0.5
    ) -> None:
        self._clock = clock
        self._on_error = on_error
        self._min_gap_s = min_gap_s
        self._lock = threading.Lock()
        self._tasks: dict[str, _Task] = {}
        self._skipped: dict[str, int] = {}
        # It logs each skipped run as a warning and each run as news; errors come with traceback.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults=_DEFAULTS,
            executors={"default": ThreadPoolExecutor(WORKERS)},
            daemon=False,
        )
        self._scheduler.add_listener(self._heard, _MASK)

    def every(self, period_s: float, job: Job, name: str, jitter_first: float = 0.0) -> None:
        """Run `job` each `period_s` [s], the first time after `jitter_first` [s].

        Args:
            period_s: the period [s].
            job: takes nothing; its answer is ignored.
            name: to wake it by, and for the counters.
            jitter_first: drawn by the caller, so that a fleet does not start in step.
        """
        self._tasks[name] = _Task(job, period_s, self._clock.monotonic_s())
        first = self._clock.wall() + timedelta(seconds=jitter_first)
        self._scheduler.add_job(
            self._run, KeepPace(period_s), args=[name], id=name, next_run_time=first
        )

    def start(self) -> None:
        """Start the threads."""
        self._scheduler.start()

    def stop(self) -> None:
        """Start no more jobs, wait for those that run."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def wake(self, name: str) -> None:
        """Run a job now; once more after its present run; or when the minimum gap is over."""
        with self._lock:
            task = self._tasks[name]
            if task.running:
                task.again = True
                return
            wait_s = task.started_s + self._min_gap_s - self._clock.monotonic_s()
        self._move(name, max(0.0, wait_s))

    def clock_stepped(self) -> None:
        """Run all jobs now: their next times were made under another wall clock."""
        for name in self._tasks:
            self._move(name, 0.0)

    def overdue(self, allowance_s: float) -> list[str]:
        """Return the jobs that have not ended a run within their period plus this [s]."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            return [
                name
                for name, task in self._tasks.items()
                if now_s - task.finished_s > task.period_s + allowance_s
            ]

    def skipped(self) -> dict[str, int]:
        """Return how often each job was due while its last run had not ended."""
        with self._lock:
            return dict(self._skipped)

    def _run(self, name: str) -> None:
        with self._lock:
            task = self._tasks[name]
            task.running, task.again = True, False
            task.starts += 1
            task.started_s = self._clock.monotonic_s()
        try:
            task.job()
        finally:
            with self._lock:
                task.running = False
                task.finished_s = self._clock.monotonic_s()

    def _move(self, name: str, wait_s: float) -> None:
        moment = self._clock.wall() + timedelta(seconds=wait_s)
        with suppress(JobLookupError):  # stopped meanwhile; an unknown name ends in a KeyError
            self._scheduler.modify_job(name, next_run_time=moment)

    def _heard(self, event: JobEvent) -> None:
        if event.code == EVENT_JOB_ERROR:
            self._on_error(event.exception)
        elif event.code & _SKIPS:
            self._was_skipped(event.job_id)
        elif self._wants_again(event):
            self.wake(event.job_id)

    def _wants_again(self, event: JobEvent) -> bool:
        """Tell whether a run has ended during which the job was woken.

        A run can end while APScheduler still submits it; what its end asks for is then overwritten
        with the regular next time. "Submitted" comes after that, so it is looked at again there.
        """
        with self._lock:
            task = self._tasks[event.job_id]
            if event.code == EVENT_JOB_SUBMITTED:
                task.submits += 1
                if task.starts < task.submits:
                    return False  # not begun yet: it will see what the wake was about
            return task.again and not task.running

    def _was_skipped(self, name: str) -> None:
        """Count it; a run that met only the handover of the last one is made good."""
        with self._lock:
            self._skipped[name] = self._skipped.get(name, 0) + 1
            between_runs = not self._tasks[name].running
        if between_runs:
            self._move(name, _HANDOVER_S)
