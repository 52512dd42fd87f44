"""The only use of time. Everything else takes a Clock, or seconds as an argument.

Decisions rest on `monotonic_s`, which never steps and, where the system has CLOCK_BOOTTIME, also
counts suspend: a command does not stay young in a sleeping box. Wall time goes into payloads only.
"""

import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_LOOK_S = 0.001  # how often a fake wait looks at its event, in real time


class Clock(Protocol):
    """Time as the agent sees it."""

    def monotonic_s(self) -> float:
        """Return seconds since the machine started; never steps back."""

    def wall(self) -> datetime:
        """Return the time of day, UTC, aware. It may step by years in both directions."""

    def boot_id(self) -> str:
        """Return what tells this start of the machine from any other.

        A monotonic time is comparable only under the same boot id.
        """

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until `event` is set or `timeout_s` [s] is over; tell whether it is set."""


class SystemClock:
    """The clocks of this machine."""

    def __init__(self) -> None:
        self._boot_id = _read_boot_id()

    def monotonic_s(self) -> float:
        """See Clock."""
        return time.clock_gettime(_CLOCK)

    def wall(self) -> datetime:
        """See Clock."""
        return datetime.now(UTC)

    def boot_id(self) -> str:
        """See Clock. Without /proc it differs with each process: a restart counts as a boot."""
        return self._boot_id

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See Clock."""
        return event.wait(min(max(timeout_s, 0.0), threading.TIMEOUT_MAX))


def _read_boot_id() -> str:
    try:
        return _BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except OSError:
        return f"process-{uuid.uuid4()}"


class FakeClock:
    """A clock that moves only when told to. Thread-safe; ships with the product.

    Args:
        monotonic_s: first monotonic time [s].
        wall: first wall time, aware.
        auto: `wait` does not block but moves the clock to its end, for tests in one thread.
    """

    def __init__(
        self,
        monotonic_s: float = 1000.0,
        wall: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        *,
        auto: bool = False,
    ) -> None:
        self._lock = threading.Condition()
        self._monotonic_s = monotonic_s
        self._wall = wall
        self._auto = auto
        self._boot_id = "boot-1"
        self._waiting = 0

    def monotonic_s(self) -> float:
        """See Clock."""
        with self._lock:
            return self._monotonic_s

    def wall(self) -> datetime:
        """See Clock."""
        with self._lock:
            return self._wall

    def boot_id(self) -> str:
        """See Clock."""
        with self._lock:
            return self._boot_id

    def advance(self, seconds: float) -> None:
        """Let time pass: both clocks move on by `seconds` [s], and waits that are over end."""
        with self._lock:
            self._monotonic_s += seconds
            self._wall += timedelta(seconds=seconds)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock on or back by `seconds` [s]; no time passes."""
        with self._lock:
            self._wall += timedelta(seconds=seconds)

    def reboot(self, boot_id: str = "boot-2", monotonic_s: float = 10.0) -> None:
        """Start the machine anew: another boot id, and the monotonic clock at `monotonic_s` [s]."""
        with self._lock:
            self._boot_id = boot_id
            self._monotonic_s = monotonic_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See Clock. Blocks in real time until the event is set or the fake time is over."""
        if self._auto:
            if not event.is_set():
                self.advance(max(timeout_s, 0.0))
            return event.is_set()
        deadline_s = self.monotonic_s() + timeout_s
        self._count_waiting(+1)
        try:
            while not event.wait(_LOOK_S) and self.monotonic_s() < deadline_s:
                pass
        finally:
            self._count_waiting(-1)
        return event.is_set()

    def await_waiting(self, threads: int, timeout_s: float = 5.0) -> bool:
        """Wait in real time until this many threads are inside `wait`; tell whether they are."""
        with self._lock:
            return self._lock.wait_for(lambda: self._waiting >= threads, timeout_s)

    def _count_waiting(self, change: int) -> None:
        with self._lock:
            self._waiting += change
            self._lock.notify_all()


class StepWatch:
    """Notices steps of the wall clock against the monotonic one.

    Args:
        clock: to be watched.
        tolerance_s: smaller changes between two looks are drift [s].
    """

    def __init__(self, clock: Clock, tolerance_s: float = 0.5) -> None:
        self._clock = clock
        self._tolerance_s = tolerance_s
        self._offset_s = self._look()

    def stepped_s(self) -> float:
        """Return the step since the last look [s], 0.0 if there was none."""
        before, self._offset_s = self._offset_s, self._look()
        change_s = self._offset_s - before
        return change_s if abs(change_s) > self._tolerance_s else 0.0

    def _look(self) -> float:
        return self._clock.wall().timestamp() - self._clock.monotonic_s()
