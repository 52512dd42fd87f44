"""expected.json: read strictly, written so that it reads back, differences with their times."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.travel.compare import differences
from agent.travel.expect import FORMAT, Expected, expected_text, read_expected
from agent.travel.seen import (
    SIMULATOR,
    AlarmSeen,
    Asked,
    CommandSeen,
    Outcome,
    ReportSeen,
    Scenario,
    StepSeen,
)
from bms_can.errors import BadInput
from bms_can.profile import CommandCode

REPORTS = (ReportSeen(0.0, None, None, 0), ReportSeen(0.5, 2, 0, 0), ReportSeen(9.5, None, 1, 1))
ALARMS = (AlarmSeen(9.1, "bms_communication_lost", on=True, level=3),)
STEPS = (StepSeen(5.003, "accepted", None), StepSeen(5.003, "rejected", "local_lockout"))
ASKED = Asked(5.0, CommandCode.CLOSE_CONTACTOR, 10.0)
SCENARIO = Scenario(SIMULATOR, (ASKED,), 2.5, 20.0, ("ignore_close",), -5.0)
OUTCOME = Outcome(100, 20.0, REPORTS, ALARMS, (CommandSeen(ASKED, STEPS),))


def written(folder: Path, document: object) -> Path:
    """Write a file."""
    path = folder / "expected.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    """Scenario, reports, alarms and steps are all there again, and then nothing differs."""
    text = expected_text(SCENARIO, OUTCOME, 0.25)
    found = read_expected(written(tmp_path, text))
    assert found == Expected(SCENARIO, 0.25, REPORTS, ALARMS, (STEPS,))
    assert differences(found, OUTCOME) == []
    assert text.count("\n") == len(text.splitlines())
    assert len(json.loads(text)["reports"]) == 3


def test_nothing_said_is_nothing_checked(tmp_path: Path) -> None:
    """Lists that are left out are not compared; empty ones are."""
    only = {"format": FORMAT, "commands": [{"at_s": 5.0, "command": "close_contactor"}]}
    found = read_expected(written(tmp_path, only))
    assert differences(found, OUTCOME) == []
    found = read_expected(written(tmp_path, only | {"alarms": []}))
    assert differences(found, OUTCOME) == [
        "alarms", "  +     9.100000 s  bms_communication_lost (level 3) on",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"format": "x"}, "format", id="format"),
        pytest.param({"battery": "lead"}, "battery", id="battery"),
        pytest.param({"surprise": 1}, "surprise: is not a known key", id="unknown-key"),
        pytest.param({"simulator": {}}, "simulator: needs", id="simulator-of-a-log"),
        pytest.param({"tolerance_s": -1}, "tolerance_s", id="tolerance"),
        pytest.param({"sync_period_s": 0}, "sync_period_s", id="period"),
        pytest.param({"reports": [{"at_s": 1}]}, "disconnected: is missing", id="half-a-report"),
        pytest.param(
            {"reports": [{"at_s": 1, "alarm_status": None, "disconnected": 0}]},
            "operating_status: is missing",
            id="unknown-must-be-said",
        ),
        pytest.param({"alarms": {}}, "must be a list", id="alarms"),
        pytest.param({"commands": [{"at_s": 1, "command": "shut"}]}, "command", id="command"),
        pytest.param(
            {"commands": [{"at_s": 1, "command": "close_contactor", "life_s": 99}]},
            "life_s",
            id="life",
        ),
        pytest.param(
            {"battery": "simulator", "simulator": {"faults": ["x"]}}, "faults: x is not", id="fault"
        ),
    ],
)
def test_mistakes_are_told(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """Every mistake stops the replay before it begins."""
    with pytest.raises(BadInput) as refused:
        read_expected(written(tmp_path, {"format": FORMAT} | change))
    assert said in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000])
def test_what_is_no_json_object(tmp_path: Path, text: str) -> None:
    """Any other file is refused with a sentence."""
    with pytest.raises(BadInput, match="JSON"):
        read_expected(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The operating system's words."""
    with pytest.raises(BadInput, match="No such file"):
        read_expected(tmp_path / "none.json")


def test_differences_are_told_with_their_times() -> None:
    """What is missing, what came instead, and what came at another time."""
    got = (REPORTS[0], ReportSeen(0.75, 2, 0, 0), ReportSeen(4.0, 3, 0, 0))
    outcome = Outcome(1, 1.0, got, ALARMS, ())
    expected = Expected(Scenario(), 0.1, REPORTS, None, ())
    assert differences(expected, outcome) == [
        "reports",
        "  ~     0.500000 s  operating_status 2, alarm_status 0; it came at 0.750000 s",
        "  -     9.500000 s  operating_status unknown, alarm_status 1, disconnected",
        "  +     4.000000 s  operating_status 3, alarm_status 0",
    ]


def test_the_tolerance_is_kept() -> None:
    """Times may differ by the tolerance and no more."""
    got = tuple(each._replace(at_s=each.at_s + 0.1) for each in REPORTS)
    outcome = Outcome(1, 1.0, got, (), ())
    assert differences(Expected(Scenario(), 0.1, REPORTS), outcome) == []
    assert len(differences(Expected(Scenario(), 0.09, REPORTS), outcome)) == 4


def test_steps_of_commands_are_compared() -> None:
    """A state or a reason that differs is told under its command."""
    other = (STEPS[0], StepSeen(5.003, "rejected", "stale_status"))
    expected = Expected(SCENARIO, 0.0, None, None, (other,))
    assert differences(expected, OUTCOME) == [
        "command 1, close_contactor at 5 s",
        "  -     5.003000 s  rejected (stale_status)",
        "  +     5.003000 s  rejected (local_lockout)",
    ]


def test_many_differences_are_cut() -> None:
    """A wholly other log is told in a screenful, however long it is, in a moment."""
    wanted = tuple(ReportSeen(float(step), step % 4 + 1, 0, 0) for step in range(20_000))
    got = tuple(ReportSeen(float(step) + 0.5, (step + 1) % 4 + 1, 0, 0) for step in range(20_000))
    lines = differences(Expected(Scenario(), 0.0, wanted), Outcome(1, 1.0, got, (), ()))
    assert lines[0] == "reports"
    assert lines[-1] == "  and 39960 more"
    assert len(lines) == 42
