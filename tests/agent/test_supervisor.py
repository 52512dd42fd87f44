"""The supervisor: one dead or stuck thread ends the process; the end itself is quick and clean."""

import logging
import socket
import threading
import time
from pathlib import Path

import pytest

from agent import supervisor as module
from agent.clock import Clock, FakeClock, SystemClock
from agent.supervisor import (
    EXIT_THREAD_DIED,
    LOOK_S,
    STUCK_S,
    Supervisor,
    Worker,
    notify,
    notify_socket,
)


class Part:
    """A worker's body that waits for its end, and counts as moving."""

    def __init__(self, name: str = "part", *, deaf: bool = False) -> None:
        self.name = name
        self.ended = threading.Event()
        self.started = threading.Event()
        self.beats = 0
        self._deaf = deaf

    def run(self) -> None:
        """Wait for the end."""
        self.started.set()
        self.ended.wait(10)

    def stop(self) -> None:
        """End, unless deaf."""
        if not self._deaf:
            self.ended.set()

    def worker(self, stuck_s: float = STUCK_S) -> Worker:
        """Return the worker."""
        return Worker(self.name, self.run, self.stop, lambda: self.beats, stuck_s)


class Running:
    """A supervisor in a thread of its own."""

    def __init__(self, *workers: Worker, clock: Clock | None = None, path: str = "") -> None:
        self.supervisor = Supervisor(clock or SystemClock(), path)
        self.supervisor.workers = workers
        self.codes: list[int] = []
        self.thread = threading.Thread(target=lambda: self.codes.append(self.supervisor.run()))

    def start(self) -> "Running":
        """Start."""
        self.thread.start()
        return self

    def code(self) -> int:
        """Wait for the end; return the exit code."""
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.codes[0]


def test_stop_ends_everything_with_0() -> None:
    """Waiting calls are ended first, then each worker is told, then all are joined."""
    parts = [Part("a"), Part("b")]
    running = Running(*(part.worker() for part in parts))
    order: list[str] = []
    running.supervisor.on_stop = lambda: order.append(
        "on_stop, nobody told" if not any(part.ended.is_set() for part in parts) else "late"
    )
    running.start()
    assert all(part.started.wait(5) for part in parts)
    running.supervisor.stop()
    assert running.code() == 0
    assert order == ["on_stop, nobody told"]


def test_a_dead_thread_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged with the traceback; the others are stopped; exit 70."""

    def dies() -> None:
        raise ZeroDivisionError("bang")

    other = Part("other")
    running = Running(Worker("dying", dies, lambda: None, lambda: 0), other.worker()).start()
    assert running.code() == EXIT_THREAD_DIED
    assert other.ended.is_set()
    assert "dying died" in caplog.text
    assert "ZeroDivisionError: bang" in caplog.text
    assert "ending: dying died: ZeroDivisionError('bang')" in caplog.text


@pytest.mark.parametrize("leaves", [lambda: None, lambda: (_ for _ in ()).throw(SystemExit)])
def test_a_thread_that_just_ends_is_dead_too(
    leaves: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Returning, or SystemExit, which Python swallows in threads: both are noticed."""
    assert callable(leaves)
    running = Running(Worker("leaver", leaves, lambda: None, lambda: 0)).start()
    assert running.code() == EXIT_THREAD_DIED
    assert "ending: leaver" in caplog.text


def test_threads_that_do_not_end_are_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end waits a few seconds for all of them together, then goes on without them."""
    monkeypatch.setattr(module, "JOIN_S", 0.2)
    deaf = [Part(f"deaf {number}", deaf=True) for number in range(10)]
    running = Running(*(part.worker() for part in deaf)).start()
    running.supervisor.stop()
    began_s = time.monotonic()
    assert running.code() == EXIT_THREAD_DIED
    assert time.monotonic() - began_s < 10 * 0.2
    assert "ending: deaf 0 does not end" in caplog.text
    for part in deaf:
        part.ended.set()


def alive(*parts: Part) -> set[str]:
    """Return the names of all parts."""
    return {part.name for part in parts}


def watched(clock: FakeClock, *parts: Part, stuck_s: float = STUCK_S) -> Supervisor:
    """Return a supervisor of parts that nobody runs, for single looks."""
    supervisor = Supervisor(clock)
    supervisor.workers = [part.worker(stuck_s) for part in parts]
    return supervisor


def test_a_stuck_thread_ends_the_process() -> None:
    """No beat for longer than its limit; each beat starts the time anew."""
    clock, part = FakeClock(), Part()
    supervisor = watched(clock, part)
    for _ in range(4):
        look_for(STUCK_S, supervisor, clock, part)
        part.beats += 1
    supervisor.look(alive(part))
    look_for(STUCK_S, supervisor, clock, part)
    assert supervisor._failure == ""
    look_for(0.1, supervisor, clock, part)
    assert supervisor._failure == "part has not moved for 15.1 s"


def test_a_sleeping_machine_is_no_stuck_thread(caplog: pytest.LogCaptureFixture) -> None:
    """After a suspend the supervisor may be the first to run: the others get their time anew."""
    clock, part = FakeClock(), Part()
    supervisor = watched(clock, part)
    overdue: list[str] = ["sync BAT-1"]
    supervisor.overdue = lambda: overdue
    clock.advance(3600.0)
    supervisor.look(alive(part))
    assert caplog.messages == ["stood still for 3600.0 s"]
    look_for(STUCK_S, supervisor, clock, part)
    assert supervisor._failure == ""
    for _ in range(4):
        part.beats += 1
        look_for(10.0, supervisor, clock, part)
    assert supervisor._failure == ""
    part.beats += 1
    look_for(10.0, supervisor, clock, part)
    assert supervisor._failure == "job sync BAT-1 has not ended a run for too long"


def look_for(seconds: float, supervisor: Supervisor, clock: FakeClock, part: Part) -> None:
    """Let time pass in steps in which the supervisor looks."""
    end_s = clock.monotonic_s() + seconds
    while clock.monotonic_s() < end_s - 1e-9:
        clock.advance(min(LOOK_S, end_s - clock.monotonic_s()))
        supervisor.look(alive(part))


def test_each_worker_has_its_own_limit() -> None:
    """A long poll may be silent for long, a control loop may not."""
    clock, part = FakeClock(), Part()
    supervisor = watched(clock, part, stuck_s=1200.0)
    supervisor.look(alive(part))
    clock.advance(1199.0)
    supervisor.look(alive(part))
    assert supervisor._failure == ""


def test_a_job_that_does_not_end_ends_the_process() -> None:
    """The schedule knows which one; the first failure is the one that is named."""
    clock, part = FakeClock(), Part()
    supervisor = watched(clock, part)
    supervisor.overdue = lambda: ["sync BAT-1", "housekeeping"]
    supervisor.look(alive(part))
    assert supervisor._failure == "job sync BAT-1 has not ended a run for too long"


@pytest.mark.parametrize("step_s", [-86_400.0, -0.6, 0.6, 86_400.0])
def test_a_step_of_the_clock_is_told(step_s: float) -> None:
    """Once for each step, in either direction."""
    clock, part, steps = FakeClock(), Part(), []
    supervisor = watched(clock, part)
    supervisor.on_step = lambda: steps.append(clock.wall())
    supervisor.look(alive(part))
    clock.step_wall(step_s)
    for _ in range(3):
        part.beats += 1
        clock.advance(0.5)
        supervisor.look(alive(part))
    assert len(steps) == 1


def test_drift_is_no_step() -> None:
    """NTP that slews the clock is not told, however far it comes in sum."""
    clock, part, steps = FakeClock(), Part(), []
    supervisor = watched(clock, part)
    supervisor.on_step = lambda: steps.append(1)
    for _ in range(100):
        part.beats += 1
        clock.step_wall(0.05)
        clock.advance(0.5)
        supervisor.look(alive(part))
    assert steps == []


def test_systemd_is_told_while_all_is_well(tmp_path: Path) -> None:
    """READY at the start, WATCHDOG while nothing failed, STOPPING at the end."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(5)
        part = Part()
        running = Running(part.worker(), path=str(path)).start()
        assert systemd.recv(100) == b"READY=1"
        assert systemd.recv(100) == b"WATCHDOG=1"
        running.supervisor.stop()
        assert running.code() == 0
        said = systemd.recv(100)
        while said == b"WATCHDOG=1":
            said = systemd.recv(100)
        assert said == b"STOPPING=1"


def test_a_failure_is_not_hidden_from_the_watchdog(tmp_path: Path) -> None:
    """After a failure no further sign of life goes out."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.setblocking(False)  # noqa: FBT003 - its only argument
        supervisor = Supervisor(FakeClock(), str(path))
        supervisor.fail("bang")
        supervisor.look(set())
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


def test_an_abstract_socket() -> None:
    """Systemd may name its socket with an @; the kernel wants a zero byte."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("")
        systemd.settimeout(5)
        name = systemd.getsockname()
        notify("@" + name[1:].decode(), "READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_a_socket_that_is_gone_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Systemd's business: the agent goes on, and ends as it should."""
    caplog.set_level(logging.DEBUG)
    part = Part()
    running = Running(part.worker(), path=str(tmp_path / "none")).start()
    assert part.started.wait(5)
    running.supervisor.stop()
    assert running.code() == 0
    assert "No such file" in caplog.text


def test_an_error_in_the_watch_itself_leaves_nobody_running() -> None:
    """The workers are stopped, then the error goes on: a bug ends the process."""
    part = Part()
    supervisor = Supervisor(SystemClock())

    def broken() -> int:
        raise ZeroDivisionError

    supervisor.workers = [Worker("part", part.run, part.stop, broken)]
    with pytest.raises(ZeroDivisionError):
        supervisor.run()
    assert part.ended.is_set()
    assert not any(thread.name == "part" for thread in threading.enumerate())


def test_where_systemd_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment; without systemd there is none, and nothing is sent."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    assert notify_socket() == "/run/x"
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert notify_socket() == ""
    notify("", "READY=1")
