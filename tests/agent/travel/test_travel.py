"""The whole agent on a log's clock: it reports what the log says, and carries out commands."""

import bisect
from collections.abc import Iterable
from pathlib import Path

import pytest

from agent.travel.run import Loaded, travel
from agent.travel.seen import SIMULATOR, Asked, CommandSeen, Scenario
from bms_can.errors import BadInput
from bms_can.frame import Frame
from bms_can.logfile import open_log
from bms_can.profile import CommandCode
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.timeline import Timeline

LOG = Path(__file__).parents[2] / "data" / "ess_bau" / "half_minute.log"
CLOSE, OPEN = CommandCode.CLOSE_CONTACTOR, CommandCode.OPEN_CONTACTOR
LATEST_S = 0.6  # a report follows its change by the scheduler's least gap, and a control pass


@pytest.fixture(scope="module")
def battery() -> Loaded:
    """Give our own battery."""
    return load_profile(profile_path("ess_bau"))


def frames() -> list[Frame]:
    """Read the log."""
    return [entry for entry in open_log(LOG) if isinstance(entry, Frame)]


def states(command: CommandSeen) -> list[str]:
    """Return the states of a command."""
    return [step.state for step in command.steps]


def test_each_report_says_what_the_log_says(battery: Loaded) -> None:
    """A report is the timeline's status of a moment shortly before; every change is reported."""
    changes = list(Timeline(*battery).run(frames()))
    moments = [change.rel_s for change in changes]
    outcome = travel(battery, iter(frames()), Scenario())
    said = {(None if c.status.operating is None else int(c.status.operating), c.status.alarm_count)
            for c in changes[1:]}  # fmt: skip
    assert outcome.frames == len(frames())
    for report in outcome.reports:
        last = bisect.bisect_right(moments, report.at_s)
        first = max(0, bisect.bisect_right(moments, report.at_s - LATEST_S) - 1)
        near = [change.status for change in changes[first:last]]
        assert (report.operating_status, report.alarm_status, report.disconnected) in {
            (
                None if each.operating is None else int(each.operating),
                each.alarm_count,
                int(each.disconnected),
            )
            for each in near
        }, report
    reported = {(each.operating_status, each.alarm_status) for each in outcome.reports}
    assert {each for each in said if each[1] is not None} <= reported


def test_alarms_come_and_go(battery: Loaded) -> None:
    """Each edge has its time, and what came goes before the end of this log."""
    outcome = travel(battery, iter(frames()), Scenario())
    on = [(each.key, each.level) for each in outcome.alarms if each.on]
    assert on == [
        ("soc_low_alarm", 2), ("contactor_fault", 3), ("bms_communication_lost", 3),
    ]  # fmt: skip
    assert [each.key for each in outcome.alarms if not each.on] == [key for key, _ in on]
    times = [each.at_s for each in outcome.alarms]
    assert times == sorted(times)


def test_commands_against_the_simulator(battery: Loaded) -> None:
    """A close and an open are carried out and proven; the reports show it."""
    asked = (Asked(5.0, CLOSE, 10.0), Asked(15.0, OPEN, 10.0))
    scenario = Scenario(SIMULATOR, asked, seconds=25.0, current_a=-20.0)
    outcome = travel(battery, iter(frames()), scenario)
    life = ["accepted", "gated", "sending", "sent", "acknowledged", "succeeded", "held"]
    assert [states(each) for each in outcome.commands] == [life, life]
    assert outcome.commands[0].steps[0].at_s == pytest.approx(5.0, abs=0.01)
    assert [each.operating_status for each in outcome.reports] == [1, None, 2, 4, 1]
    assert outcome.seconds == 25.0


def test_a_battery_that_ignores_a_close(battery: Loaded) -> None:
    """The command ends without proof, at the end of its window."""
    scenario = Scenario(
        SIMULATOR, (Asked(5.0, CLOSE, 10.0),), seconds=30.0, faults=("ignore_close",)
    )
    (command,) = travel(battery, iter(frames()), scenario).commands
    assert states(command)[-1] == "timed_out"
    assert command.steps[-1].reason == "no-effect"


def test_a_command_beside_a_log_meets_its_interlocks(battery: Loaded) -> None:
    """Is a close allowed at this moment of the recording? Here a latched fault is on."""
    log = [each for each in frames() if each.can_id != 0x1811F4E5]
    (command,) = travel(battery, iter(log), Scenario(commands=(Asked(18.0, CLOSE, 10.0),))).commands
    assert [(step.state, step.reason) for step in command.steps] == [
        ("accepted", None), ("rejected", "blocked-by-interlocking"),
    ]  # fmt: skip


def test_control_frames_of_a_recording_are_another_master_s(battery: Loaded) -> None:
    """As on a live bus: somebody else steers this battery, so no close goes out beside him."""
    recorded = travel(battery, iter(frames()), Scenario(commands=(Asked(8.0, OPEN, 10.0),)))
    assert states(recorded.commands[0])[:4] == ["accepted", "gated", "sending", "sent"]
    recorded = travel(battery, iter(frames()), Scenario(commands=(Asked(20.7, CLOSE, 10.0),)))
    assert states(recorded.commands[0]) == ["accepted", "rejected"]


def shifted(log: Iterable[Frame], by_s: float) -> list[Frame]:
    """Move a log in time."""
    return [each._replace(at_s=each.at_s + by_s) for each in log]


def test_the_same_whenever_it_was_recorded(battery: Loaded) -> None:
    """An epoch, another epoch or times from zero: the same reports at the same distance."""
    log = frames()
    first = travel(battery, iter(log), Scenario())
    for by_s in (-log[0].at_s, 86_400.0):
        again = travel(battery, iter(shifted(log, by_s)), Scenario())
        assert [each[1:] for each in again.reports] == [each[1:] for each in first.reports]
        for one, other in zip(again.reports, first.reports, strict=True):
            assert one.at_s == pytest.approx(other.at_s, abs=2e-3)


def test_a_long_silence_costs_little(battery: Loaded) -> None:
    """A gap of ten minutes is ten minutes of reports, in a moment."""
    log = frames()
    late = shifted(log[-50:], 600.0)
    outcome = travel(battery, iter([*log, *late]), Scenario(sync_period_s=20.0))
    assert outcome.seconds > 600
    assert sum(each.disconnected for each in outcome.reports) >= 28


def test_a_log_of_another_channel(battery: Loaded) -> None:
    """Nothing to replay is wrong input, not an empty success."""
    with pytest.raises(BadInput, match="no frame"):
        travel(battery, iter(()), Scenario())
