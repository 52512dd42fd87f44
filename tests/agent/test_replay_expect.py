"""`bms-agent replay --expect`: a log as a regression test, byte-identical in every run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import main
from tests.agent.test_replay_lane import PROFILES, REAL

ROOT = Path(__file__).parents[2]
LOG = ROOT / "tests" / "data" / "ess_bau" / "half_minute.log"
SIMULATED = {
    "format": "bms-agent-replay-1",
    "battery": "simulator",
    "seconds": 25,
    "simulator": {"current_a": 30},
    "commands": [
        {"at_s": 4.0, "command": "close_contactor"},
        {"at_s": 12.0, "command": "open_contactor"},
    ],
}
Capture = pytest.CaptureFixture[str]


def replay(capsys: Capture, *words: str | Path, code: int = 0) -> str:
    """Run the command; return what it printed."""
    assert main(["replay", str(LOG), "--profile", "ess_bau", *map(str, words)]) == code
    return capsys.readouterr().out


def test_written_then_expected(capsys: Capture, tmp_path: Path) -> None:
    """What was written is as expected the next time; writing again writes the same bytes."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    assert "15 reports, 6 alarm edges" in replay(capsys, "--write-expect", first)
    said = replay(capsys, "--expect", first)
    assert said.splitlines()[-1] == "as expected 15 reports, 6 alarm edges"
    replay(capsys, "--expect", first, "--write-expect", second)
    assert second.read_bytes() == first.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_a_mismatch_is_told_and_fails(capsys: Capture, tmp_path: Path) -> None:
    """Exit 1, and what was expected beside what came, with times."""
    path = tmp_path / "expected.json"
    replay(capsys, "--write-expect", path)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["reports"][3]["operating_status"] = 1
    del document["alarms"][0]
    path.write_text(json.dumps(document), encoding="utf-8")
    lines = replay(capsys, "--expect", path, code=1).splitlines()
    assert lines[1].startswith(f"DIFFERENT   from {path}")
    assert [line[:4] for line in lines[2:]] == ["repo", "  - ", "  + ", "alar", "  + "]
    answer = json.loads(replay(capsys, "--expect", path, "--json", code=1))
    assert answer["as_expected"] is False
    assert len(answer["differences"]) == 5


def test_a_changed_profile_is_noticed(capsys: Capture, tmp_path: Path) -> None:
    """The point of it: a rule of the battery changes, and yesterday's log says so."""
    path = tmp_path / "expected.json"
    replay(capsys, "--write-expect", path)
    text = (ROOT / "dbc" / "ess_bau.toml").read_text(encoding="utf-8")
    changed = tmp_path / "changed.toml"
    changed.write_text(text.replace("hold_s = 0.5", "hold_s = 3.0"), encoding="utf-8")
    words = ["replay", str(LOG), "--profile", str(changed), "--dbc", str(ROOT / "dbc/ess_bau.dbc")]
    assert main([*words, "--expect", str(path)]) == 1
    assert "operating_status 3" in capsys.readouterr().out


def test_commands_against_a_simulated_battery(capsys: Capture, tmp_path: Path) -> None:
    """A scenario with commands is completed by writing, and then holds."""
    scenario, path = tmp_path / "scenario.json", tmp_path / "expected.json"
    scenario.write_text(json.dumps(SIMULATED), encoding="utf-8")
    replay(capsys, "--expect", scenario, "--write-expect", path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [each["states"][-1]["state"] for each in document["commands"]] == ["held", "held"]
    assert "2 commands" in replay(capsys, "--expect", path)


def process(path: Path, seed: int, *words: str) -> bytes:
    """Run it in a process of its own, with another order of hashes."""
    command = [sys.executable, "-m", "agent", "replay", str(LOG), "--profile", "ess_bau", *words]
    environment = os.environ | {"PYTHONHASHSEED": str(seed)}
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=environment)  # noqa: S603 - our own program
    return done.stdout + path.read_bytes()


def test_two_runs_are_byte_identical(tmp_path: Path) -> None:
    """Other processes, other hash seeds: the same output and the same file, byte for byte."""
    scenario, path = tmp_path / "scenario.json", tmp_path / "expected.json"
    scenario.write_text(json.dumps(SIMULATED), encoding="utf-8")
    words = ("--expect", str(scenario), "--write-expect", str(path), "--json")
    found = {process(path, seed, *words) for seed in (1, 77)}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--expect", "x", "--dbc", "y"], "needs --profile", id="no-profile"),
        pytest.param(
            ["--profile", "ess_bau", "--expect", "x", "--log-clock"], "none of", id="pace"
        ),
        pytest.param(["--profile", "ess_bau", "--expect", "none.json"], "No such file", id="file"),
    ],
)
def test_what_makes_no_sense(capsys: Capture, words: list[str], said: str) -> None:
    """Wrong words are refused before anything is replayed."""
    assert main(["replay", str(LOG), *words]) == os.EX_CONFIG
    assert said in capsys.readouterr().err


def test_a_file_that_cannot_be_written(capsys: Capture, tmp_path: Path) -> None:
    """It is told, and there is no half of it."""
    path = tmp_path / "none" / "expected.json"
    words = ["replay", str(LOG), "--profile", "ess_bau", "--write-expect", str(path)]
    assert main(words) == os.EX_CONFIG
    assert "No such file" in capsys.readouterr().err


@pytest.mark.shared
@pytest.mark.parametrize(("folder", "log", "dbc", "profile"), [each for each in REAL if each[3]])
def test_real_logs_are_regression_tests(
    capsys: Capture, tmp_path: Path, folder: str, log: str, dbc: str, profile: str
) -> None:
    """Every recorded log with a profile: written twice alike, and then as expected."""
    place = os.environ.get("BMS_REAL_LOGS", "")
    if not place:
        pytest.skip("BMS_REAL_LOGS does not name the folder with the real logs (make real-logs)")
    pair = Path(place) / "pairs" / folder
    words = ["replay", str(pair / log), "--dbc", str(pair / dbc)]
    words += ["--profile", str(PROFILES / f"{profile}.toml")]
    for name in ("a.json", "b.json"):
        assert main([*words, "--write-expect", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert main([*words, "--expect", str(tmp_path / "a.json")]) == 0
    assert "as expected" in capsys.readouterr().out
