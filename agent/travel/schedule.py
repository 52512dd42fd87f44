"""The scheduler on a stage: each job is an actor. Stands for APScheduler, which has threads."""

from collections.abc import Callable

from agent.clock import Clock
from agent.schedule import Job, Schedule
from agent.travel.stage import Stage

MIN_GAP_S = 0.5


class StageSchedule(Schedule):
    """Runs jobs periodically and on demand, as `agent.schedule` promises."""

    def __init__(self, stage: Stage, clock: Clock) -> None:
        self._stage = stage
        self._clock = clock
        self._woken: set[str] = set()
        self._periods_s: dict[str, float] = {}
        self._finished_s: dict[str, float] = {}

    def every(self, period_s: float, job: Job, name: str, jitter_first: float = 0.0) -> None:
        """See agent.schedule.Schedule."""
        self._periods_s[name] = period_s
        self._finished_s[name] = self._clock.monotonic_s()
        self._stage.add(f"job {name}", lambda: self._act(name, job, jitter_first))

    def start(self) -> None:
        """See agent.schedule.Schedule; the stage starts its actors itself."""

    def stop(self) -> None:
        """See agent.schedule.Schedule; the stage ends its actors itself."""

    def wake(self, name: str) -> None:
        """See agent.schedule.Schedule."""
        self._woken.add(name)

    def clock_stepped(self) -> None:
        """See agent.schedule.Schedule."""
        self._woken |= set(self._periods_s)

    def overdue(self, allowance_s: float) -> list[str]:
        """See agent.schedule.Schedule."""
        now_s = self._clock.monotonic_s()
        return [
            name
            for name, period_s in self._periods_s.items()
            if now_s - self._finished_s[name] > period_s + allowance_s
        ]

    def skipped(self) -> dict[str, int]:
        """See agent.schedule.Schedule; no run here lasts into the next one."""
        return {}

    def _act(self, name: str, job: Callable[[], object], first_s: float) -> None:
        pause_s = first_s
        while True:
            self._stage.wait(lambda: name in self._woken, pause_s)
            self._woken.discard(name)
            started_s = self._clock.monotonic_s()
            job()
            self._finished_s[name] = self._clock.monotonic_s()
            self._stage.wait(lambda: False, MIN_GAP_S)
            pause_s = started_s + self._periods_s[name] - self._clock.monotonic_s()
