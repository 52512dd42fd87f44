"""`bms-agent replay`: what a recorded log says, as text, as JSON, and to a platform."""

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import can
import pytest

from agent.cli import main
from tests.ems_process import Ems

ROOT = Path(__file__).parents[2]
LOG = ROOT / "tests" / "data" / "ess_bau" / "half_minute.log"
DBC = ROOT / "dbc" / "ess_bau.dbc"
Capture = pytest.CaptureFixture[str]

DOCUMENT = {
    "log": str, "dbc": str, "dbc_warnings": list, "profile": str, "frames": int,
    "other_channel": int, "known": int, "known_percent": float, "decoded": int, "bad_frames": dict,
    "unknown_ids": dict, "skipped_lines": dict, "doubts": dict,
    "operating_status_unknown_because": type(None), "timeline": list, "sync": type(None),
}  # fmt: skip
CHANGE = {"at_s", "rel_s", "operating_status", "alarm_status", "disconnected", "alarms", "why"}


def replay(capsys: Capture, *words: str | Path, code: int = 0) -> str:
    """Run the command; return what it printed."""
    assert main(["replay", *map(str, words)]) == code
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def refused(capsys: Capture, *words: str | Path) -> str:
    """Run the command on wrong input; return what it says on stderr."""
    assert main(["replay", *map(str, words)]) == os.EX_CONFIG
    return capsys.readouterr().err


def document(capsys: Capture, *words: str | Path, code: int = 0) -> dict[str, Any]:
    """Run the command with --json."""
    found = json.loads(replay(capsys, *words, "--json", code=code))
    assert isinstance(found, dict)
    return found


def test_text_for_people(capsys: Capture) -> None:
    """One line a change with time, status and alarms; then coverage and the end."""
    lines = replay(capsys, LOG, "--profile", "ess_bau").splitlines()
    assert lines[0].split(maxsplit=3)[:3] == ["0.000000", "s", "unknown"]
    assert any("3 charging" in line and "alarms 0" in line for line in lines)
    assert any("DISCONNECTED" in line and "bms_communication_lost" in line for line in lines)
    assert any("soc_low_alarm (level 2)" in line for line in lines)
    assert "known       1559 (100.00 %) have an id of the DBC" in lines
    assert lines[-1].endswith("at the end: 1 powered down (contactor open)")


def test_json_has_a_stable_shape(capsys: Capture) -> None:
    """Every key is there with its type, in the document and in each change."""
    found = document(capsys, LOG, "--profile", "ess_bau")
    assert list(found) == list(DOCUMENT)
    assert {key: type(value) for key, value in found.items()} == DOCUMENT
    assert found["profile"] == "ess_bau"
    for change in found["timeline"]:
        assert set(change) == CHANGE
        assert change["operating_status"] in (None, 1, 2, 3, 4)
        assert (change["operating_status"] is None) == bool(change["why"])
        assert change["disconnected"] in (0, 1)
        assert not (change["disconnected"] and change["operating_status"])


def test_json_and_text_tell_the_same(capsys: Capture) -> None:
    """As many changes, and the same last one."""
    found = document(capsys, LOG, "--profile", "ess_bau")
    text = replay(capsys, LOG, "--profile", "ess_bau")
    changes = [line for line in text.splitlines() if line[12:15] == " s "]
    assert len(changes) == len(found["timeline"])
    assert float(changes[-1][:12]) == found["timeline"][-1]["rel_s"]


def test_without_a_profile_the_status_is_unknown(capsys: Capture) -> None:
    """A DBC alone gives coverage; the status is unknown, with the reason."""
    found = document(capsys, LOG, "--dbc", DBC)
    assert found["timeline"] == []
    assert found["profile"] is None
    assert found["known_percent"] == 100.0
    assert "no profile says" in found["operating_status_unknown_because"]
    text = replay(capsys, LOG, "--dbc", DBC)
    assert "status      unknown: no profile says" in text


def test_another_dbc_than_the_profile_s(tmp_path: Path, capsys: Capture) -> None:
    """--dbc takes the place of the file that the profile names."""
    other = tmp_path / "copy.dbc"
    other.write_bytes(DBC.read_bytes())
    found = document(capsys, LOG, "--profile", "ess_bau", "--dbc", other)
    assert found["dbc"] == str(other)
    assert found["timeline"][-1]["operating_status"] == 1


def test_a_gzipped_log(tmp_path: Path, capsys: Capture) -> None:
    """.gz is opened on the way, with the same answer."""
    packed = tmp_path / "half_minute.log.gz"
    packed.write_bytes(gzip.compress(LOG.read_bytes()))
    plain = document(capsys, LOG, "--profile", "ess_bau")
    found = document(capsys, packed, "--profile", "ess_bau")
    assert found | {"log": ""} == plain | {"log": ""}


def test_only_one_channel(capsys: Capture) -> None:
    """Frames of other channels are counted, not used."""
    found = document(capsys, LOG, "--profile", "ess_bau", "--channel", "can1")
    assert found["other_channel"] == found["frames"] > 0
    assert found["known"] == 0
    assert found["timeline"][-1]["disconnected"] == 1
    assert document(capsys, LOG, "--dbc", DBC, "--channel", "can0")["other_channel"] == 0


def test_bad_lines_are_counted_with_their_numbers(tmp_path: Path, capsys: Capture) -> None:
    """A damaged line costs itself only; its number is shown, by reason."""
    lines = LOG.read_text(encoding="ascii").splitlines()
    lines[2] = "(1780000000.0) can0 1801F4E5#0"
    lines[9] = "-- cut here --"
    lines[11] = "(nan) can0 100#00"
    log = tmp_path / "bad.log"
    log.write_text("\n".join(lines) + "\n", encoding="ascii")
    found = document(capsys, log, "--profile", "ess_bau")
    assert sum(found["skipped_lines"].values()) == 3
    assert found["frames"] == len(lines) - 3
    text = replay(capsys, log, "--profile", "ess_bau")
    shown = [line for line in text.splitlines() if line.startswith("skipped")]
    for number in (3, 10, 12):
        assert any(f"{number}" in line.partition("(line ")[2] for line in shown)


def test_a_log_without_frames_is_not_proven(tmp_path: Path, capsys: Capture) -> None:
    """Exit 1: there was nothing to say anything about."""
    log = tmp_path / "empty.log"
    log.write_text("no frame here\n", encoding="ascii")
    assert document(capsys, log, "--profile", "ess_bau", code=1)["frames"] == 0
    assert "never known" in replay(capsys, log, "--profile", "ess_bau", code=1)


def test_what_stands_before_damage_is_shown(tmp_path: Path, capsys: Capture) -> None:
    """A log that breaks off: its summary on stdout, the file on stderr, exit 78."""
    log = tmp_path / "cut.csv"
    with can.CSVWriter(log) as writer:
        writer.on_message_received(can.Message(timestamp=1.0, arbitration_id=0x100, data=b"1"))
    with log.open("a", encoding="ascii") as more:
        more.write("2.0,0x100,what\n")
    assert main(["replay", str(log), "--profile", "ess_bau"]) == os.EX_CONFIG
    shown = capsys.readouterr()
    assert "frames      1" in shown.out
    assert shown.err.startswith(f"{log}: ")


def test_a_broken_archive_costs_its_end_only(tmp_path: Path, capsys: Capture) -> None:
    """A gzipped candump log that breaks off: all before is replayed, the damage is counted."""
    log = tmp_path / "cut.log.gz"
    log.write_bytes(gzip.compress(LOG.read_bytes())[:-2000])
    found = document(capsys, log, "--profile", "ess_bau")
    assert found["frames"] > 500
    assert found["skipped_lines"] == {"damaged archive": 1}


def two_buses(folder: Path) -> Path:
    """Write a log whose frames came on two buses, each frame of the second a little later."""
    log = folder / "two.log"
    lines = LOG.read_text(encoding="ascii").splitlines()[:200]
    assert " can0 " in lines[0]
    both = [each for line in lines for each in (line, line.replace(" can0 ", " can1 "))]
    log.write_text("\n".join([*both, ""]), encoding="ascii")
    return log


@pytest.mark.parametrize("lane", ["scalar", "columnar"])
def test_two_buses_are_never_mixed(tmp_path: Path, capsys: Capture, lane: str) -> None:
    """No channel named: not one line of status, exit 78, and the option to type; named: as ever."""
    words = (two_buses(tmp_path), "--profile", "ess_bau", "--lane", lane)
    assert main(["replay", *map(str, words)]) == os.EX_CONFIG
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "comes on can0 and on can1" in shown.err
    assert "say --channel can0 or --channel can1" in shown.err
    found = document(capsys, *words, "--channel", "can1")
    assert (found["frames"], found["other_channel"]) == (400, 200)
    assert document(capsys, words[0], "--dbc", DBC)["known"] == 400  # coverage says no status


def test_two_buses_make_no_expectation(tmp_path: Path, capsys: Capture) -> None:
    """The whole agent on a mixture is refused, too, and no file is written."""
    target = tmp_path / "expect.json"
    words = (two_buses(tmp_path), "--profile", "ess_bau", "--write-expect", target)
    assert "comes on can0 and on can1" in refused(capsys, *words)
    assert not target.exists()


def test_a_wrong_log_is_named(tmp_path: Path, capsys: Capture) -> None:
    """Missing, a folder, of no known kind: one line that starts with the path."""
    strange = tmp_path / "strange.bin"
    strange.write_bytes(b"\x00\x01\x02")
    for path in (tmp_path / "none.log", tmp_path, strange):
        assert refused(capsys, path, "--profile", "ess_bau").startswith(f"{path}: ")


def test_a_wrong_dbc_is_named(tmp_path: Path, capsys: Capture) -> None:
    """A DBC that cannot be read is named with the line."""
    wrong = tmp_path / "wrong.dbc"
    wrong.write_text('VERSION ""\n\nBO_ what is this\n', encoding="ascii")
    said = refused(capsys, LOG, "--dbc", wrong)
    assert said.startswith(f"{wrong}: ")
    assert "3" in said


def test_every_mistake_of_a_profile_is_told(tmp_path: Path, capsys: Capture) -> None:
    """File and key of each, all at once."""
    text = (ROOT / "dbc" / "ess_bau.toml").read_text(encoding="utf-8")
    text = text.replace('dbc = "ess_bau.dbc"', f'dbc = "{DBC}"')
    text = text.replace('"BAU_State.control_mode"', '"BAU_State.no_such"')
    text = text.replace("steady_s = 3", 'steady_s = "long"')
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text, encoding="utf-8")
    said = refused(capsys, LOG, "--profile", wrong).splitlines()
    assert all(line.startswith(f"{wrong}: interlocks.") for line in said)
    assert len(said) == 2


def test_options_that_make_no_sense(capsys: Capture) -> None:
    """Every missing or contradicting option is told at once."""
    said = refused(capsys, LOG, "--sync", "http://example.org/x", "--sync-period-s", "0")
    for part in ("--profile", "--device and --key-file", "https", "--sync-period-s"):
        assert part in said


def test_on_the_log_s_clock(tmp_path: Path, capsys: Capture) -> None:
    """--log-clock takes as long as the recording did; the default does not."""
    lines = LOG.read_text(encoding="ascii").splitlines()
    log = tmp_path / "short.log"
    log.write_text("\n".join(lines[:25]) + "\n", encoding="ascii")
    stamps = [float(line.split()[0].strip("()")) for line in lines[:25]]
    lasts_s = stamps[-1] - stamps[0]
    assert 0.2 < lasts_s < 1.0
    began_s = time.monotonic()
    slow = document(capsys, log, "--profile", "ess_bau", "--log-clock")
    assert lasts_s <= time.monotonic() - began_s < lasts_s + 5.0
    assert document(capsys, log, "--profile", "ess_bau", "--as-fast") == slow


def key_file(folder: Path, key: str) -> Path:
    """Write a key as the agent wants it."""
    path = folder / "box.key"
    path.touch(mode=0o600)
    path.write_text(key, encoding="ascii")
    return path


def test_a_log_is_reported_to_a_platform(ems: Ems, tmp_path: Path, capsys: Capture) -> None:
    """--sync: the real platform ends with the log's last status; a second run goes on above it."""
    uid, key = ems.new_device()
    words = ["--sync", ems.url, "--device", uid, "--key-file", str(key_file(tmp_path, key))]
    for _ in range(2):
        found = document(capsys, LOG, "--profile", "ess_bau", *words)
        assert found["sync"]["failed"] == 0
        assert found["sync"]["trouble"] == ""
        assert found["sync"]["reported"] >= len(found["timeline"])
        with ems.client(ems.operator_key) as operator:
            data = operator.get("/bms-control", params={"device_uid": uid}).json()["data"]
        assert (data["operating_status"], data["alarm_status"], data["disconnected"]) == (1, 0, 0)
    assert "reports taken by the platform" in replay(capsys, LOG, "--profile", "ess_bau", *words)


def test_a_platform_that_takes_nothing(ems: Ems, tmp_path: Path, capsys: Capture) -> None:
    """A key of another device, or nobody there: the replay is shown, exit 1 says it failed."""
    uid, _ = ems.new_device()
    _, foreign = ems.new_device()
    words = ["--profile", "ess_bau", "--device", uid]
    words += ["--key-file", str(key_file(tmp_path, foreign)), "--sync-period-s", "60"]
    for url in (ems.url, "http://127.0.0.1:9/api"):
        found = document(capsys, LOG, *words, "--sync", url, code=1)
        assert found["sync"]["reported"] == 0
        assert found["sync"]["failed"] >= len(found["timeline"])
        assert found["sync"]["trouble"]
        assert found["timeline"][-1]["operating_status"] == 1


def test_a_key_file_that_anyone_can_read(tmp_path: Path, capsys: Capture) -> None:
    """It is refused before anything is sent."""
    path = key_file(tmp_path, "x" * 40)
    path.chmod(0o644)
    words = ["--sync", "http://127.0.0.1:9", "--device", "X", "--key-file", str(path)]
    assert str(path) in refused(capsys, LOG, "--profile", "ess_bau", *words)
