"""The main job, both ways: CAN frame to platform status, platform command to CAN frame and back.

A real platform process, the agent as `agent.wiring` builds it, the simulated battery on a virtual
bus. What is claimed is read from the platform's interface and from the bus.
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.journal_rows import Stamp
from bms_can.pack import Pack
from bms_can.profile import CommandCode
from tests.ems_process import Ems
from tests.system.plant import CLOSE, OPEN, RESET, Plant, plant, until

GOOD_LIFE = ["accepted", "gated", "sending", "sent", "acknowledged", "succeeded", "held"]
LEVEL_3_ALARM = "contactor_fault"


@pytest.fixture
def site(tmp_path: Path, ems: Ems) -> Iterator[Plant]:
    """Give a plant at the session's platform, with its battery heard and nothing wrong."""
    with plant(tmp_path, ems) as found:
        found.shows(operating_status=1, alarm_status=0, disconnected=0)
        yield found


@pytest.fixture
def own_site(tmp_path: Path, own_ems: Ems) -> Iterator[Plant]:
    """Give a plant at a platform of its own, which may be stopped."""
    with plant(tmp_path, own_ems) as found:
        found.shows(operating_status=1, alarm_status=0, disconnected=0)
        yield found


def steps(record: dict[str, Any]) -> list[str]:
    """Return what the device said of a command, in order."""
    return [event["state"] for event in record["events"] if event["origin"] == "device"]


def prove(site: Plant, code: CommandCode) -> dict[str, Any]:
    """Send a command and follow it to `held`; return its record."""
    steady(site, code)
    record = site.reached(site.send(code))
    assert record["state"] == "held", record["events"][-1]
    return record


def steady(site: Plant, code: CommandCode) -> None:
    """Wait until the interlocks would let a command through, as an operator does."""
    link = site.system.links[0]

    def free() -> bool:
        situation = link.gate.situation(time.clock_gettime(time.CLOCK_BOOTTIME))
        return all(check.passed for check in link.gate.checks(code, situation))

    until(free)


def test_frames_become_the_platform_s_status(site: Plant) -> None:
    """Idle, charging, discharging, an alarm: each is on the platform as the battery has it."""
    prove(site, CLOSE)
    assert site.status()["operating_status"] == 2
    for current_a, operating in ((50.0, 3), (-50.0, 4), (0.0, 2)):
        site.battery(partial(Pack.request_current, current_a=current_a))
        site.shows(operating_status=operating, alarm_status=0, disconnected=0)
    site.battery(lambda pack: pack.raise_alarm("cell_high_temp_alarm", 2))
    site.shows(operating_status=2, alarm_status=1)


def test_details_carry_alarms_telemetry_and_box(site: Plant) -> None:
    """Beside the vendor's fields the platform has alarms with labels, telemetry and box facts."""
    site.battery(lambda pack: pack.raise_alarm("insulation_low_alarm", 3))
    site.shows(alarm_status=1)
    query = {"device_uid": site.uid}
    found = site.operator.get("/bms-control/details", params=query).json()["data"]
    (alarm,) = found["alarms"]
    assert alarm["level"] == 3
    assert (alarm["label_zh"], alarm["label_en"]) == ("绝缘电阻低", "Insulation resistance low")
    assert alarm["since"] is not None
    assert len(found["telemetry"]["cell_voltage"]) == 48
    assert found["box"]["read_only"] is False

    def soc() -> Any:  # noqa: ANN401 - null until its message was heard
        details = site.operator.get("/bms-control/details", params=query).json()["data"]
        return details["telemetry"]["soc"]

    assert 59 < until(soc) < 61


@pytest.mark.slow
def test_commands_go_out_and_are_proven(site: Plant) -> None:
    """Close, open and reset: three frames each, all evidence, and `held` at the end."""
    record: dict[str, Any] = {}
    frames: list[str] = []
    for code, operating, first_byte in ((CLOSE, 2, "01"), (OPEN, 1, "02")):
        before = len(site.control_frames())
        record = prove(site, code)
        assert steps(record) == GOOD_LIFE
        assert site.shows(operating_status=operating)["disconnected"] == 0
        frames = [message.data.hex() for message in site.control_frames()[before:]]
        assert len(frames) == 3
        assert all(frame.startswith(first_byte) for frame in frames)
    evidence = {event["state"]: event["evidence"] for event in record["events"]}
    assert all(check["passed"] for check in evidence["gated"]["interlocks"])
    assert evidence["sent"]["echo"] is True
    sent = [each["frame"].partition("#")[2].lower() for each in evidence["succeeded"]["frames"]]
    assert sent == frames[: len(sent)]
    assert len(evidence["succeeded"]["confirmed_by"]) >= 3


@pytest.mark.slow
def test_a_latched_fault_is_reset(site: Plant) -> None:
    """A fault opens the contactor and refuses a close; the reset clears it, with proof."""
    site.battery(lambda pack: pack.raise_alarm(LEVEL_3_ALARM, 3, latched=True))
    site.shows(operating_status=1, alarm_status=1)
    record = site.reached(site.send(CLOSE))
    assert record["state"] == "rejected"
    assert site.control_frames() == []
    site.battery(lambda pack: pack.clear_alarm(LEVEL_3_ALARM))
    assert steps(prove(site, RESET)) == GOOD_LIFE
    site.shows(operating_status=1, alarm_status=0)


@pytest.mark.slow
def test_without_an_effect_there_is_no_success(site: Plant) -> None:
    """A battery that acknowledges nothing and does nothing: timed out, with what is missing."""
    site.wrong("ignore_close")
    steady(site, CLOSE)
    record = site.reached(site.send(CLOSE))
    assert record["state"] == "timed_out"
    last = record["events"][-1]
    assert last["reason"]
    assert "BMS did not acknowledge" in last["detail"]
    assert len(site.control_frames()) == 3
    assert site.status()["operating_status"] == 1


def test_a_change_reaches_the_platform_at_once(tmp_path: Path, ems: Ems) -> None:
    """A change does not wait for the sync period: with a minute of it, it takes below 2 s."""
    with plant(tmp_path, ems, sync_period_s="60") as site:
        site.shows(operating_status=1, alarm_status=0, disconnected=0)
        for count, action in (
            (1, lambda pack: pack.raise_alarm("soc_low_alarm", 1)),
            (0, lambda pack: pack.clear_alarm("soc_low_alarm")),
        ):
            site.battery(action)
            site.shows(alarm_status=count, seconds=2.0)


@pytest.mark.slow
def test_silence_is_never_powered_down(site: Plant) -> None:
    """A closed battery falls silent: the platform shows 2, then unknown and disconnected; never 1.

    The same holds for every report that the agent kept.
    """
    prove(site, CLOSE)
    seen = []
    site.wrong("silent")

    def silent() -> bool:
        seen.append(site.status())
        return bool(seen[-1]["disconnected"])

    until(silent, 5.0)
    end_s = time.monotonic() + 1.5
    while time.monotonic() < end_s:
        seen.append(site.status())
    shown = [(each["operating_status"], each["disconnected"]) for each in seen]
    assert set(shown) == {(2, 0), (None, 1)}
    assert shown == sorted(shown, key=lambda each: each[1]), "no way back without frames"
    assert seen[-1]["alarm_status"] == 1, "lost communication is one alarm of ours"
    site.wrong()
    site.shows(operating_status=2, alarm_status=0, disconnected=0)
    until(lambda: site.reports() and site.reports()[-1]["body"].get("operating_status") == 2)
    reported = [each["body"] for each in site.reports() if each["kind"] == "status"]
    after_close = [each["operating_status"] for each in reported]
    assert 1 not in after_close[after_close.index(2) :]


@pytest.mark.parametrize("code", [CLOSE, OPEN, RESET])
def test_read_only_is_the_default(tmp_path: Path, ems: Ems, code: CommandCode) -> None:
    """Without `read_only = false` no command goes out, and the platform says why."""
    with plant(tmp_path, ems, read_only="") as site:
        site.shows(operating_status=1, disconnected=0)
        record = site.reached(site.send(code))
        assert record["state"] == "rejected"
        assert record["events"][-1]["reason"] == "read-only"
        assert site.control_frames() == []


def test_lock_out_refuses_close_and_shows_why(site: Plant) -> None:
    """With a local lock-out a close is refused with the person's words; it shows in the status."""
    clock = site.system.links[0].loop._clock
    site.system.journal.set_lockout("cell change", "Li", Stamp.of(clock))
    record = site.reached(site.send(CLOSE))
    assert record["state"] == "rejected"
    assert record["events"][-1]["reason"] == "local-lockout"
    assert "cell change" in record["events"][-1]["detail"]
    assert site.control_frames() == []
    query = {"device_uid": site.uid}

    def shown() -> bool:
        found = site.operator.get("/bms-control/details", params=query).json()["data"]
        return "cell change" in found["box"]["lockout"]

    until(shown)
    site.stop()
    site.start()
    assert site.reached(site.send(CLOSE))["events"][-1]["reason"] == "local-lockout"


@pytest.mark.slow
def test_a_restart_sends_nothing_and_delivers_what_was_left(own_site: Plant) -> None:
    """Proof that came while the platform was away is delivered by the next start; no frame goes."""
    site = own_site
    site.wrong("slow=0.5")
    steady(site, CLOSE)
    command_id = site.send(CLOSE)
    site.reached(command_id, "sent", "acknowledged")
    site.ems.stop()
    journal = site.system.journal

    def held() -> bool:
        entry = journal.entry(command_id)
        return entry is not None and entry.state == "held"

    until(held)
    assert site.stop() == 0
    frames = len(site.control_frames())
    site.ems.restart()
    assert site.command(command_id)["state"] in ("sent", "acknowledged")
    site.start()
    record = site.reached(command_id)
    assert steps(record) == GOOD_LIFE
    site.shows(operating_status=2)
    assert len(site.control_frames()) == frames == 3


@pytest.mark.slow
def test_an_interrupted_command_is_not_sent_again(site: Plant) -> None:
    """Stopped between frame and proof: after the start it is unknown until the bus shows it."""
    site.wrong("slow=3")
    steady(site, CLOSE)
    command_id = site.send(CLOSE)
    journal = site.system.journal

    def acknowledged() -> bool:
        entry = journal.entry(command_id)
        return entry is not None and entry.state == "acknowledged"

    until(acknowledged)
    until(lambda: len(site.control_frames()) == 3)
    assert site.stop() == 0
    site.start()
    record = site.reached(command_id)
    assert steps(record) == [*GOOD_LIFE[:-2], "unknown", "succeeded", "held"]
    assert len(site.control_frames()) == 3


@pytest.mark.slow
def test_an_outage_of_the_platform_loses_nothing(own_site: Plant) -> None:
    """Changes during an outage arrive afterwards: each once, in order, none twice."""
    site = own_site
    prove(site, CLOSE)

    def count() -> int | None:
        status = site.system.links[0].observer.status
        return None if status is None else status.alarm_count

    until(lambda: not site.system.outbox.batch(site.uid))
    before = [each["sequence"] for each in site.reports()]
    site.ems.stop()
    keys = ("soc_low_alarm", "cell_high_temp_alarm", "insulation_low_alarm")
    for key in keys:
        site.battery(partial(Pack.raise_alarm, key=key))
        until(lambda: count() == 1)
        site.battery(partial(Pack.clear_alarm, key=key))
        until(lambda: count() == 0)

    def edges() -> list[str]:
        waiting = site.system.outbox.batch(site.uid)
        return [str(item.body["key"]) for item in waiting if item.kind == "alarm"]

    until(lambda: len([key for key in edges() if key in keys]) == 2 * len(keys))
    kept = [item.sequence for item in site.system.outbox.batch(site.uid)]
    site.ems.restart()
    until(lambda: not site.system.outbox.batch(site.uid), 30.0)
    after = site.reports()
    sequences = [each["sequence"] for each in after]
    assert len(set(sequences)) == len(sequences), "none came twice"
    assert sequences[: len(before) + len(kept)] == before + kept, "none is missing"
    told = [each["body"] for each in after if each["kind"] == "alarm"]
    assert [body["key"] for body in told if body["key"] in keys] == [
        key for key in keys for _ in range(2)
    ]
    site.shows(operating_status=2, alarm_status=0, disconnected=0)
