"""The observer: each change of the status is kept and announced once, silence is never status 1."""

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from agent.errors import JournalFailed, OutboxFailed
from agent.observer import RETRY_S, Observer
from agent.payload import Report
from tests.agent.rig import UID, Rig, quick_rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a bench with an open battery that has been heard for a while."""
    return quick_rig(tmp_path)


def reports(rig: Rig, kind: str) -> list[Report]:
    """Return what was kept for the platform."""
    return [each for each in rig.outbox.batch(UID, 1000) if each.kind == kind]


def statuses(rig: Rig) -> list[tuple[object, object]]:
    """Return operating status and number of alarms of each kept change."""
    bodies = [each.body for each in reports(rig, "status")]
    return [(body["operating_status"], body["alarm_status"]) for body in bodies]


def test_each_change_is_kept_once(rig: Rig) -> None:
    """Closing, charging, opening: one report for each, however many frames say it."""
    before = len(statuses(rig))
    rig.close_by_hand()
    rig.pack.request_current(50.0)
    rig.run(3.0)
    rig.pack.request_current(0.0)
    rig.run(3.0)
    assert statuses(rig)[before:] == [(None, 0), (2, 0), (3, 0), (2, 0)]


def test_every_change_is_announced(rig: Rig) -> None:
    """The platform hears of a change at once, not at the next period."""
    before = rig.changes
    rig.close_by_hand()
    assert rig.changes == before + 2
    rig.run(10.0)
    assert rig.changes == before + 2


def test_silence_is_kept_as_silence(rig: Rig) -> None:
    """A silent battery is disconnected, with one alarm and without an operating status."""
    rig.misbehave("silent")
    rig.run(2.0)
    newest = reports(rig, "status")[-1].body
    assert newest == {
        "operating_status": None,
        "alarm_status": 1,
        "disconnected": 1,
        "contactor": "unknown",
        "why": newest["why"],
    }
    assert str(newest["why"]).startswith("silent: ")
    body = rig.observer.body()
    assert (body["operating_status"], body["disconnected"], body["alarm_status"]) == (None, 1, 1)


def test_alarm_edges_have_their_time(rig: Rig) -> None:
    """An alarm is kept when it comes and when it goes; the report says since when it is on."""
    rig.pack.raise_alarm("cell_high_temp_alarm", 2)
    rig.run(1.0)
    raised = reports(rig, "alarm")[-1]
    assert raised.body["key"] == "cell_high_temp_alarm"
    (alarm,) = [each for each in alarms(rig) if each["key"] == "cell_high_temp_alarm"]
    assert alarm["since"] == raised.at
    rig.run(60.0)
    assert alarms(rig)[0]["since"] == raised.at
    rig.pack.clear_alarm("cell_high_temp_alarm")
    rig.run(1.0)
    assert len(reports(rig, "alarm")) == 2
    assert alarms(rig) == []


def alarms(rig: Rig) -> list[dict[str, object]]:
    """Return the alarms of the present report."""
    found = rig.observer.body()["alarms"]
    assert isinstance(found, list)
    return found


def test_an_alarm_s_time_survives_a_restart(rig: Rig) -> None:
    """The agent was away; the alarm was not."""
    rig.pack.raise_alarm("cell_high_temp_alarm", 2)
    rig.run(1.0)
    since = alarms(rig)[0]["since"]
    rig.restart()
    rig.run(1.0)
    assert alarms(rig)[0]["since"] == since


def test_reports_are_numbered_upwards(rig: Rig) -> None:
    """No number comes twice, also across a restart."""
    numbers = [cast("int", rig.observer.body()["sequence"]) for _ in range(3)]
    rig.restart()
    rig.run(1.0)
    numbers.append(cast("int", rig.observer.body()["sequence"]))
    assert numbers == sorted(set(numbers))


def test_a_report_carries_telemetry(tmp_path: Path) -> None:
    """What the battery measures goes out with each report, and only then."""
    rig = Rig(tmp_path, telemetry=True)
    rig.run(1.0)
    telemetry = rig.observer.body()["telemetry"]
    assert isinstance(telemetry, dict)
    assert telemetry["soc"] == pytest.approx(60.0, abs=0.1)
    assert len(telemetry["cell_voltage"]) == 48


def broken(observer: Observer) -> list[float]:
    """Let the outbox take nothing; return the times of the tries, as they come."""
    tries: list[float] = []

    def fail(device_uid: str, kind: str, at: datetime, body: Mapping[str, object]) -> int:
        tries.append(observer._clock.monotonic_s())
        raise OutboxFailed(f"{device_uid}, {kind}, {at}, {len(body)}: disk is full")

    observer._outbox.put = fail  # type: ignore[method-assign]  # the real one works too well
    return tries


def test_a_full_disk_costs_no_status(rig: Rig) -> None:
    """What cannot be kept is announced and reported all the same; the agent goes on."""
    tries = broken(rig.observer)
    before = rig.changes
    rig.close_by_hand()
    assert rig.changes == before + 2
    assert rig.observer.body()["operating_status"] == 2
    assert tries


def test_the_newest_status_is_kept_when_the_disk_works_again(rig: Rig) -> None:
    """Once a second it is tried again: what is so now is kept, what was in between is counted."""
    keep = rig.outbox.put
    tries = broken(rig.observer)
    known = len(statuses(rig))
    rig.close_by_hand()
    rig.run(5.0)
    gaps_s = [after - before for before, after in pairwise(tries)]
    assert gaps_s
    assert min(gaps_s) >= RETRY_S - 1e-9
    assert rig.observer.lost == 1
    rig.outbox.put = keep  # type: ignore[method-assign]  # repaired
    rig.run(1.5)
    assert statuses(rig)[known:] == [(2, 0)]
    rig.run(10.0)
    assert len(statuses(rig)) == known + 1


def test_a_journal_that_gives_no_numbers_counts_as_a_full_disk(rig: Rig) -> None:
    """The number of a report comes from the journal; without one the report waits for it."""

    def fail(count: int, at_least: int) -> int:
        raise JournalFailed(f"no {count} numbers from {at_least}")

    reserve, rig.outbox._reserve = rig.outbox._reserve, fail
    rig.outbox._next = rig.outbox._end
    known = len(statuses(rig))
    rig.close_by_hand()
    assert len(statuses(rig)) == known
    rig.outbox._reserve = reserve
    rig.run(1.5)
    assert statuses(rig)[known:] == [(2, 0)]
