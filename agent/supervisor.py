"""Body of the main thread: are all others alive and moving, did the clock step, was a stop asked?

One dead or stuck thread ends the process with an error; systemd starts it again, and a restart
never sends a frame.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from agent.clock import Clock

LOOK_S = 0.5
STEP_S = 0.5  # a larger change of wall minus monotonic is a step of the clock
STUCK_S = 15.0  # reliability rule 56
JOIN_S = 4.0
ASLEEP_S = (
    5.0  # a longer gap between two looks: the machine slept, or the whole process stood still
)
AWAKE_S = 60.0  # so long after that every periodic job has had its turn
EXIT_THREAD_DIED = 70  # EX_SOFTWARE of sysexits.h

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Worker:
    """A thread to be.

    Attributes:
        name: of the thread.
        run, stop: its body, and what lets it return.
        beats: a number that grows while it works; `stuck_s`: longest time without growth [s].
    """

    name: str
    run: Callable[[], None]
    stop: Callable[[], None]
    beats: Callable[[], int]
    stuck_s: float = STUCK_S


def _nothing() -> None:
    """Stand where no reaction is needed."""


class Supervisor:
    """Starts the workers, watches them, and stops them.

    Args:
        clock: time.
        notify_socket: systemd's socket, "" without systemd.

    Attributes:
        workers: the other threads; set before `run`.
        on_step: called after a step of the wall clock.
        on_stop: called first when the end has come, so that waiting calls end.
        overdue: returns the periodic jobs that have not ended a run for too long.
    """

    def __init__(self, clock: Clock, notify_socket: str = "") -> None:
        self.workers: Sequence[Worker] = ()
        self.on_step: Callable[[], None] = _nothing
        self.on_stop: Callable[[], None] = _nothing
        self.overdue: Callable[[], Sequence[str]] = list
        self._clock = clock
        self._notify_socket = notify_socket
        self._stop = threading.Event()
        self._failure = ""
        self._beats: dict[str, tuple[int, float]] = {}
        self._looked_s = clock.monotonic_s()
        self._woke_s = float("-inf")
        self._offset_s = self._wall_offset_s()

    def stop(self) -> None:
        """Let `run` return; may be called from a signal handler or any thread."""
        self._stop.set()

    def fail(self, why: str) -> None:
        """End the process with an error; may be called from any thread."""
        self._failure = self._failure or why
        self._stop.set()

    @property
    def failure(self) -> str:
        """Why the process must end, "" while all is well."""
        return self._failure

    def run(self) -> int:
        """Run everything until `stop` or a failure; return the exit code."""
        threading.excepthook = self._note_death
        threads = [threading.Thread(target=worker.run, name=worker.name) for worker in self.workers]
        for thread in threads:
            thread.start()
        try:
            notify(self._notify_socket, "READY=1")
            while not self._stop.is_set():
                self._clock.wait(self._stop, LOOK_S)
                self.look({thread.name for thread in threads if thread.is_alive()})
            notify(self._notify_socket, "STOPPING=1")
        finally:  # whatever happened here: no thread goes on unwatched
            code = self._end(threads)
        return code

    def look(self, alive: set[str]) -> None:
        """Check everything once; `alive`: names of the threads that live."""
        now_s = self._clock.monotonic_s()
        self._note_sleep(now_s)
        for worker in self.workers:
            beats, since_s = self._beats.get(worker.name, (-1, now_s))
            if worker.beats() != beats:
                self._beats[worker.name] = (worker.beats(), now_s)
            elif now_s - since_s > worker.stuck_s:
                self.fail(f"{worker.name} has not moved for {now_s - since_s:.1f} s")
            if worker.name not in alive and not self._stop.is_set():
                self.fail(f"{worker.name} has ended")
        for job in self.overdue() if now_s - self._woke_s > AWAKE_S else ():
            self.fail(f"job {job} has not ended a run for too long")
        offset_s = self._wall_offset_s()
        if abs(offset_s - self._offset_s) > STEP_S:
            log.warning("the wall clock stepped by %.1f s", offset_s - self._offset_s)
            self.on_step()
        self._offset_s = offset_s
        if not self._failure:
            notify(self._notify_socket, "WATCHDOG=1")

    def _note_sleep(self, now_s: float) -> None:
        """Time in which this thread did not run either is no time in which others were stuck."""
        gap_s, self._looked_s = now_s - self._looked_s, now_s
        if gap_s > ASLEEP_S:
            log.warning("stood still for %.1f s", gap_s)
            self._woke_s = now_s
            self._beats = {
                name: (beats, since_s + gap_s) for name, (beats, since_s) in self._beats.items()
            }

    def _wall_offset_s(self) -> float:
        return self._clock.wall().timestamp() - self._clock.monotonic_s()

    def _note_death(self, death: threading.ExceptHookArgs) -> None:
        name = death.thread.name if death.thread else "a thread"
        trace: TracebackType | None = death.exc_traceback
        log.critical("%s died", name, exc_info=(death.exc_type, death.exc_value, trace))  # type: ignore[arg-type]  # a dead thread has a value
        self.fail(f"{name} died: {death.exc_value!r}")

    def _end(self, threads: Sequence[threading.Thread]) -> int:
        self.on_stop()
        for worker in self.workers:
            worker.stop()
        end_s = self._clock.monotonic_s() + JOIN_S
        for thread in threads:
            thread.join(max(0.0, end_s - self._clock.monotonic_s()))
            if thread.is_alive():
                self._failure = self._failure or f"{thread.name} does not end"
        threading.excepthook = threading.__excepthook__
        if self._failure:
            log.critical("ending: %s", self._failure)
            return EXIT_THREAD_DIED
        return 0


def notify(path: str, state: str) -> None:
    """Tell systemd (sd_notify protocol: a datagram to its socket); nothing without systemd.

    A socket that is gone or full is no reason to stop the agent: systemd ends it if it misses news.
    """
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_UNIX, kind) as sender:
        try:
            sender.sendto(state.encode(), address)
        except OSError as error:
            log.debug("systemd: %s: %s", state, error)


def notify_socket() -> str:
    """Return systemd's socket from the environment, "" without systemd."""
    return os.environ.get("NOTIFY_SOCKET", "")
