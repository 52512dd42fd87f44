"""`bms-agent check`: what a good file says, and every mistake of a bad one."""

import os
import shutil
from pathlib import Path

import pytest

from agent.cli import main

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]
CONFIG = """\
[platform]
url = "https://ems.example.org/wad/ems/v1/api"
key_file = "box.key"
[agent]
state_dir = "state"
[[device]]
uid = "BAT-1"
profile = "ess_bau"
[device.can]
interface = "socketcan"
channel = "can0"
[[device]]
uid = "BAT-2"
profile = "ess_bau"
read_only = false
[device.can]
interface = "socketcan"
channel = "can1"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give a good configuration."""
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG, encoding="utf-8")
    key = tmp_path / "box.key"
    key.touch(mode=0o600)
    key.write_text("secret-" * 6, encoding="ascii")
    return path


def checked(capsys: Capture, *words: str | Path) -> str:
    """Check a good file; return what is said."""
    assert main(["check", *map(str, words)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def refused(capsys: Capture, *words: str | Path) -> list[str]:
    """Check a bad file; return the lines on stderr."""
    assert main(["check", *map(str, words)]) == os.EX_CONFIG
    return capsys.readouterr().err.splitlines()


def test_a_good_profile(capsys: Capture) -> None:
    """What a person compares with the battery's manual: signals, sign, deadlines, frames."""
    said = checked(capsys, ROOT / "dbc" / "ess_bau.toml")
    assert "contactor BAU_State.contactor_status" in said
    assert "current BAU_Electrical.total_current, positive = charging" in said
    assert "required    BAU_Alarms, at the latest every 1000 ms" in said
    assert "command     2 close_contactor: 1811F4E5#0100" in said
    assert "3 x every 100 ms" in said
    assert said.splitlines()[-1] == "good: ess_bau.toml fits its DBC"


def test_a_profile_by_state_and_for_reading_only(tmp_path: Path, capsys: Capture) -> None:
    """One state signal instead of a contactor rule; a warning for what a DBC lacks."""
    for name in ("odd_bms.toml", "odd_bms.dbc"):
        shutil.copy(ROOT / "tests" / "data" / "profiles" / name, tmp_path / name)
    said = checked(capsys, tmp_path / "odd_bms.toml")
    assert "status      from State.mode" in said
    assert ", once" in said


def test_a_profile_with_another_dbc(tmp_path: Path, capsys: Capture) -> None:
    """--dbc takes the place of the file that the profile names."""
    other = tmp_path / "other.dbc"
    shutil.copy(ROOT / "dbc" / "ess_bau.dbc", other)
    assert str(other) in checked(capsys, ROOT / "dbc" / "ess_bau.toml", "--dbc", other)
    wrong = ROOT / "tests" / "data" / "profiles" / "odd_bms.dbc"
    said = refused(capsys, ROOT / "dbc" / "ess_bau.toml", "--dbc", wrong)
    assert len(said) > 10
    assert all("ess_bau.toml: " in line for line in said)


def test_a_good_configuration(config: Path, capsys: Capture) -> None:
    """Platform, key file, state, each device with its mode and battery; never the key."""
    said = checked(capsys, config)
    assert "platform    https://ems.example.org/wad/ems/v1/api, a report every 10 s" in said
    assert "BAT-1 on socketcan can0, listens only" in said
    assert "BAT-2 on socketcan can1, may send commands" in said
    assert said.count("good: ess_bau.toml fits its DBC") == 2
    assert said.splitlines()[-1] == "good: bms-agent run would start with this"
    assert "secret" not in said


def test_the_environment_counts(
    config: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `run` would take from the environment is checked, too."""
    monkeypatch.setenv("BMS_AGENT_PLATFORM__SYNC_PERIOD_S", "3")
    assert "a report every 3 s" in checked(capsys, config)
    monkeypatch.setenv("BMS_AGENT_PLATFROM__URL", "x")
    assert "BMS_AGENT_PLATFROM__URL" in refused(capsys, config)[0]


def test_every_mistake_of_a_configuration(config: Path, capsys: Capture) -> None:
    """All at once, each with file and key."""
    text = CONFIG.replace('"https:', '"http:').replace('uid = "BAT-2"', 'uid = "BAT-1"')
    text = text.replace('channel = "can0"', "").replace('"state"', "7")
    config.write_text(text, encoding="utf-8")
    said = refused(capsys, config)
    assert all(line.startswith(f"{config}: ") for line in said)
    for part in ("platform.url", "uid", "can.channel", "state_dir"):
        assert any(part in line for line in said)


def test_a_profile_of_a_configuration_is_checked(
    config: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A configuration is only as good as its profiles."""
    text = (ROOT / "dbc" / "ess_bau.toml").read_text(encoding="utf-8")
    text = text.replace("steady_s = 3", "steady_s = -1")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "dbc" / "ess_bau.dbc", tmp_path)
    config.write_text(CONFIG.replace('"ess_bau"', '"mine.toml"'), encoding="utf-8")
    said = refused(capsys, config)
    assert any("mine.toml: interlocks.steady_s" in line for line in said)


def test_what_is_no_toml(tmp_path: Path, capsys: Capture) -> None:
    """The line is named."""
    path = tmp_path / "odd.toml"
    path.write_text("[platform]\nurl = \n", encoding="utf-8")
    (line,) = refused(capsys, path)
    assert line.startswith(f"{path}: ")
    assert "line 2" in line


def test_the_site_tightens_what_is_shown(capsys: Capture, config: Path) -> None:
    """The interlocks that would hold, and each demand that is looser than the profile's."""
    text = config.read_text(encoding="utf-8")
    config.write_text(text + "[site]\nsteady_s = 9\nclose_max = 50\n", encoding="utf-8")
    shown = checked(capsys, config)
    assert "interlocks  steady 9 s; close 3 in 600 s, each 10 s; reset 3 in 3600 s" in shown
    assert "warning     site.close_max = 50 is looser than the profile's 3: ignored" in shown


def test_an_override_is_shown(capsys: Capture, config: Path) -> None:
    """Nobody overlooks that a site goes below what the battery's profile demands."""
    site = '[site]\nsteady_s = 1\noverride = "acceptance test"\n'
    config.write_text(config.read_text(encoding="utf-8") + site, encoding="utf-8")
    shown = checked(capsys, config)
    assert "steady 1 s" in shown
    assert "override    [site] replaces what the profiles say: acceptance test" in shown


def test_two_batteries_that_cannot_be_told_apart(capsys: Capture, config: Path) -> None:
    """One profile twice on one bus: named before the agent is started."""
    text = config.read_text(encoding="utf-8").replace('"can1"', '"can0"')
    config.write_text(text, encoding="utf-8")
    found = "\n".join(refused(capsys, config))
    assert "BAT-1 and BAT-2 on can0: both command by 1811F4E5" in found
