"""Actors on a stage: one at a time, in the same order in every run, on a clock that jumps."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from agent.travel.stage import Stage, StageClock

START_S = 1_780_000_000.0


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Give a stage; its threads end with the test."""
    found = Stage(START_S)
    yield found
    found.close()


def test_time_jumps_to_whoever_is_due(stage: Stage) -> None:
    """A wait of hours takes no time; whoever is due first goes first, the end included."""
    seen: list[tuple[str, float]] = []

    def sleeper(name: str, period_s: float) -> None:
        while True:
            stage.wait(lambda: False, period_s)
            seen.append((name, stage.now_s - START_S))

    stage.add("slow", lambda: sleeper("slow", 5000.0))
    stage.add("quick", lambda: sleeper("quick", 2000.0))
    stage.run(lambda: START_S + 6000.0)
    assert seen == [("quick", 2000), ("quick", 4000), ("slow", 5000), ("quick", 6000)]
    assert stage.now_s == START_S + 6000.0


def test_an_event_ends_a_wait_at_once(stage: Stage) -> None:
    """Who is woken goes on at that very moment."""
    clock = StageClock(stage, datetime(2026, 1, 1, tzinfo=UTC))
    bell, seen = threading.Event(), []

    def waiter() -> None:
        seen.append((clock.wait(bell, 100.0), clock.monotonic_s() - START_S))

    def ringer() -> None:
        stage.wait(lambda: False, 3.0)
        bell.set()

    stage.add("waiter", waiter)
    stage.add("ringer", ringer)
    stage.run(lambda: START_S + 50.0)
    assert seen == [(True, 3.0)]
    assert stage.alive == set()
    assert clock.wall() == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=50)


def test_nobody_starves(stage: Stage) -> None:
    """Actors that never wait for long take turns."""
    turns: list[str] = []

    def busy(name: str) -> None:
        for _ in range(3):
            turns.append(name)
            stage.wait(lambda: True, 10.0)

    for name in ("a", "b", "c"):
        stage.add(name, lambda name=name: busy(name))  # type: ignore[misc]  # mypy infers no lambda default
    stage.run(lambda: START_S)
    assert sorted(turns[:3]) == ["a", "b", "c"]
    assert turns == turns[:3] * 3


def test_what_an_actor_raises_comes_out(stage: Stage) -> None:
    """An error ends the run, and is raised where the run was asked for."""

    def broken() -> None:
        stage.wait(lambda: False, 1.0)
        raise KeyError("gone")

    stage.add("broken", broken)
    stage.add("idle", lambda: stage.wait(lambda: False, 1e9))
    with pytest.raises(KeyError, match="gone"):
        stage.run(lambda: START_S + 10.0)
    assert stage.now_s == pytest.approx(START_S + 10.0)


def test_the_end_may_move(stage: Stage) -> None:
    """The end is asked for each time: a log knows it only when it is there."""
    ends = [START_S + 1.0]
    seen: list[float] = []

    def reader() -> None:
        for step in range(1, 5):
            stage.wait_until(lambda: False, START_S + step)
            seen.append(stage.now_s - START_S)
            ends[0] = START_S + step + 1.0

    stage.add("reader", reader)
    stage.run(lambda: ends[0])
    assert seen == [1.0, 2.0, 3.0, 4.0]


def test_closing_ends_every_thread(stage: Stage) -> None:
    """Also those that never began or wait for ever; what they clean up is run."""
    cleaned = []

    def tidy() -> None:
        try:
            stage.wait(lambda: False, 1e9)
        finally:
            cleaned.append(True)

    stage.add("tidy", tidy)
    stage.run(lambda: START_S)
    before = threading.active_count()
    stage.close()
    assert cleaned == [True]
    assert threading.active_count() == before - 1


def test_who_is_no_actor_does_not_wait(stage: Stage) -> None:
    """Outside of a run a wait returns at once: building the agent takes no time."""
    stage.wait(lambda: False, 1e9)
    assert stage.now_s == START_S
