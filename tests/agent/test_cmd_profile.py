"""bms-agent profile: new, check, show, test."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from agent.cli import main
from agent.cmd_profile_new import asked, plan_of
from bms_can.database import load
from bms_can.profile_load import load_profile
from tests.bms_can.examine.logs import DBC, LOG, examined, recorded

Words = pytest.CaptureFixture[str]


def test_new_check_show_test_in_a_row(tmp_path: Path, capsys: Words) -> None:
    """The way of a new battery: draft, check, look, record what is expected, compare."""
    shutil.copy(DBC, tmp_path / "my.dbc")
    draft, expect = str(tmp_path / "my.toml"), str(tmp_path / "expect.json")
    new = ["profile", "new", "--dbc", str(tmp_path / "my.dbc"), "--log", str(LOG)]
    assert main([*new, "-o", draft, "--positive", "charging"]) == 0
    assert main(["profile", "check", draft]) == 0
    assert "good: my.toml fits its DBC" in capsys.readouterr().out
    assert main(["profile", "show", draft]) == 0
    assert "BAU_Electrical.total_current: positive = charging" in capsys.readouterr().out
    assert main(["profile", "test", draft, "--log", str(LOG), "--write-expect", expect]) == 0
    assert main(["profile", "test", draft, "--log", str(LOG), "--expect", expect]) == 0
    assert "good: half_minute.log says what is expected" in capsys.readouterr().out


def test_a_difference_is_exit_1_and_a_readable_line(tmp_path: Path, capsys: Words) -> None:
    """The shipped profile against an expectation that is wrong in one place."""
    path = tmp_path / "expect.json"
    row = {"rel_s": 8.0, "operating_status": 4}
    path.write_text(json.dumps({"format": "bms-agent-expect-1", "instants": [row]}), "utf-8")
    words = ["profile", "test", "ess_bau", "--log", str(LOG), "--expect", str(path)]
    assert main(words) == 1
    assert "at 8.000000 s: operating_status is 3, expected 4" in capsys.readouterr().out


def test_two_buses_need_a_channel(tmp_path: Path, capsys: Words) -> None:
    """A draft from a mixture, or an expectation of one, would be wrong without a word."""
    lines = LOG.read_text(encoding="ascii").splitlines()
    log, expect = tmp_path / "two.log", tmp_path / "expect.json"
    twice = [each for line in lines for each in (line, line.replace(" can0 ", " can1 "))]
    log.write_text("\n".join([*twice, ""]), encoding="ascii")
    test = ["profile", "test", "ess_bau", "--log", str(log), "--write-expect", str(expect)]
    new = ["profile", "new", "--dbc", str(DBC), "--log", str(log)]
    for words in (test, new):
        assert main(words) == 78
        assert "say --channel can0 or --channel can1" in capsys.readouterr().err
        assert main([*words, "--channel", "can1"]) == 0
        assert capsys.readouterr().err == ""


def test_check_says_all_mistakes_at_once(tmp_path: Path, capsys: Words) -> None:
    """Exit 78, each with its key."""
    path = tmp_path / "bad.toml"
    text = (DBC.with_suffix(".toml")).read_text(encoding="utf-8")
    text = text.replace("BAU_State.contactor_status", "BAU_State.nothing").replace(
        'positive = "charging"', 'positive = "up"'
    )
    path.write_text(text, encoding="utf-8")
    assert main(["profile", "check", str(path), "--dbc", str(DBC)]) == 78
    errors = capsys.readouterr().err
    assert "BAU_State.nothing" in errors
    assert "operating_status.current.positive" in errors


def test_new_overwrites_nothing(tmp_path: Path, capsys: Words) -> None:
    """A file that is there stays, unless --force says otherwise."""
    target = tmp_path / "x.toml"
    target.write_text("mine", encoding="utf-8")
    assert main(["profile", "new", "--dbc", str(DBC), "-o", str(target)]) == 78
    assert target.read_text(encoding="utf-8") == "mine"
    assert "exists already" in capsys.readouterr().err
    assert main(["profile", "new", "--dbc", str(DBC), "-o", str(target), "--force"]) == 0
    assert load_profile(target)[0].read_only_reason


def test_new_without_output_prints_the_draft(capsys: Words) -> None:
    """And asks nothing, even on a terminal."""
    assert main(["profile", "new", "--dbc", str(DBC), "--name", "mine"]) == 0
    text = capsys.readouterr().out
    assert 'name = "mine"' in text
    assert "TODO" in text


def test_nobody_is_asked_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe or a service is no terminal: the draft stays open."""
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked"))
    assert not sys.stdin.isatty()
    target = tmp_path / "x.toml"
    assert main(["profile", "new", "--dbc", str(DBC), "-o", str(target)]) == 0
    assert load_profile(target)[0].status.current is None


@pytest.mark.parametrize(
    ("said", "positive"),
    [("c", "charging"), ("D", "discharging"), ("", None), ("x\nd", "discharging")],
)
def test_a_person_is_asked_for_the_sign(said: str, positive: str | None) -> None:
    """One letter; Enter leaves it open; anything else is asked again."""
    plan = plan_of(load(DBC), Path("x.toml"), seen=examined(recorded()))
    lines = iter(said.split("\n"))
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return next(lines)

    assert asked(plan, ask).positive == positive
    assert "BAU_Electrical.total_current > 0: charging or discharging?" in questions[0]
    assert "charging?" in questions[0]  # what the log speaks for


def test_show_says_what_proves_a_command(capsys: Words) -> None:
    """Frames in hex, acknowledgement, proof; alarms with level and both labels; deadlines."""
    assert main(["profile", "show", "ess_bau"]) == 0
    text = capsys.readouterr().out
    for part in (
        "2 close_contactor: EMS_Control, 3 times, every 100 ms",
        "first frame 1811F4E5#01000000000000",
        "acknowledged by BAU_Ack.accepted_command = 1 close",
        "proven by operating_status 2 idle, 3 charging, 4 discharging; in 3 frames",
        "单体过压 / Cell over-voltage",
        "closed 1 closed; open 2 open; at most 500 ms old",
        "highest_cell_voltage [V] = BAU_CellVoltageExtremes.highest_cell_voltage x 0.001",
        "BAU_State: counter counter modulo 16, checksum checksum by crc8-sae-j1850",
    ):
        assert part in text, part


@pytest.mark.parametrize("path", sorted(DBC.parent.glob("*.toml")), ids=lambda path: str(path.stem))
def test_every_shipped_profile_can_be_shown(path: Path, capsys: Words) -> None:
    """As text and as JSON."""
    assert main(["profile", "show", path.stem]) == 0
    assert "operating_status" in capsys.readouterr().out
    assert main(["profile", "show", path.stem, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "bms-agent-profile-1"
    assert found["operating_status"]
    assert bool(found["commands"]) != bool(found["read_only"])
