"""Clocks: real ones, and one that moves only when told to."""

import threading
import time
from datetime import UTC

from agent.clock import Clock, FakeClock, StepWatch, SystemClock


def test_system_clock() -> None:
    """Monotonic time moves on, wall time is UTC, the boot id stays."""
    clock: Clock = SystemClock()
    first_s = clock.monotonic_s()
    assert clock.wall().tzinfo is UTC
    assert clock.boot_id() == clock.boot_id() != ""
    assert clock.monotonic_s() >= first_s


def test_system_clock_counts_suspend() -> None:
    """Monotonic time is CLOCK_BOOTTIME where the system has it."""
    boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    assert abs(SystemClock().monotonic_s() - time.clock_gettime(boot)) < 1.0


def test_system_wait() -> None:
    """A wait ends with its event or its time, and tells which; negative time is none."""
    clock, event = SystemClock(), threading.Event()
    assert clock.wait(event, -1.0) is False
    assert clock.wait(event, 0.01) is False
    event.set()
    assert clock.wait(event, 1e12) is True


def test_fake_clock_moves_when_told() -> None:
    """Time passes on both clocks, a step is seen on one, a reboot starts the other anew."""
    clock = FakeClock(monotonic_s=100.0)
    wall = clock.wall()
    clock.advance(5.0)
    assert clock.monotonic_s() == 105.0
    assert (clock.wall() - wall).total_seconds() == 5.0
    clock.step_wall(-3600.0)
    assert clock.monotonic_s() == 105.0
    assert (clock.wall() - wall).total_seconds() == -3595.0
    before = clock.boot_id()
    clock.reboot()
    assert clock.monotonic_s() == 10.0
    assert clock.boot_id() != before


def test_fake_wait_ends_by_time() -> None:
    """A thread that waits goes on when the fake time is over."""
    clock, event, answers = FakeClock(), threading.Event(), []
    thread = threading.Thread(target=lambda: answers.append(clock.wait(event, 10.0)))
    thread.start()
    assert clock.await_waiting(1)
    clock.advance(9.9)
    assert clock.await_waiting(1)
    clock.advance(0.2)
    thread.join(5.0)
    assert answers == [False]


def test_fake_wait_ends_by_event() -> None:
    """A thread that waits goes on when its event is set, without any time passing."""
    clock, event, answers = FakeClock(), threading.Event(), []
    thread = threading.Thread(target=lambda: answers.append(clock.wait(event, 10.0)))
    thread.start()
    assert clock.await_waiting(1)
    event.set()
    thread.join(5.0)
    assert answers == [True]
    assert not clock.await_waiting(1, timeout_s=0.01)


def test_automatic_clock() -> None:
    """In one thread a wait moves the time itself, unless the event is set."""
    clock, event = FakeClock(monotonic_s=0.0, auto=True), threading.Event()
    assert clock.wait(event, 3.0) is False
    assert clock.monotonic_s() == 3.0
    event.set()
    assert clock.wait(event, 3.0) is True
    assert clock.monotonic_s() == 3.0


def test_steps_are_noticed() -> None:
    """A step in either direction is told once; passing time and drift are none."""
    clock = FakeClock()
    watch = StepWatch(clock)
    clock.advance(1000.0)
    assert watch.stepped_s() == 0.0
    clock.step_wall(0.4)
    assert watch.stepped_s() == 0.0
    clock.step_wall(-120.0)
    assert round(watch.stepped_s()) == -120
    assert watch.stepped_s() == 0.0
    clock.step_wall(56 * 365 * 86_400.0)
    assert watch.stepped_s() > 1e9
