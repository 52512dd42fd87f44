"""`bms-agent doctor` on a whole plant: what is well is well, and a fault is found where it is."""

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import can
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.cli import main
from agent.doctor_look import look_at_disk
from tests.ems_process import Ems
from tests.system.plant import ROOT, plant, write_config

TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
Capture = pytest.CaptureFixture[str]


def examined(capsys: Capture, config: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run it; return the exit code, and verdict and words by check."""
    capsys.readouterr()
    code = main(["doctor", str(config), "--json", "--listen-s", "0.5"])
    found = json.loads(capsys.readouterr().out)
    return code, {each["check"]: (each["verdict"], each["said"]) for each in found}


def metrics(capsys: Capture, config: Path) -> dict[str, float]:
    """Return the metrics that have one sample only."""
    assert main(["metrics", str(config)]) == 0
    families = text_string_to_metric_families(capsys.readouterr().out)
    return {each.samples[0].name: each.samples[0].value for each in families}


@pytest.mark.slow
def test_a_whole_plant(tmp_path: Path, ems: Ems, capsys: Capture) -> None:
    """A running agent, its platform and its battery; then the battery dies, the key is revoked."""
    with plant(tmp_path, ems) as site:
        site.shows(operating_status=1)
        _, found = examined(capsys, site.config)
        for check in ("required messages", "DBC", "contents", "counters and checksums"):
            assert found[f"{site.uid} {check}"][0] == "ok", found
        assert found[f"{site.uid} status"] == ("ok", "powered down, 0 alarms")
        assert found[f"{site.uid} other master"][0] == "unknown"
        keys = ("platform key", "platform devices", "platform clock")
        for check in ("state mode", "state writable", *keys):
            assert found[check][0] == "ok", found
        assert found["agent process"] == ("ok", "runs and answers")
        assert found["agent commands"][1] == f"{site.uid} may be commanded"
        assert found["agent local lock-out"] == ("ok", "none")
        assert found["agent reports"][0] == "ok"
        assert {site.channel + " interface", "machine unit"} <= {
            check for check, (verdict, _) in found.items() if verdict == "unknown"
        }
        numbers = metrics(capsys, site.config)
        assert numbers["bms_agent_operating_status"] == 1
        assert numbers["bms_agent_frames_total"] > 10
        assert numbers["bms_agent_resident_memory_bytes"] > 1_000_000
        assert main(["verify", str(site.config)]) == 0
        assert "the chain is whole" in capsys.readouterr().out
        site.wrong("silent")
        site.shows(disconnected=1)
        with ems.registry() as registry:
            registry.revoke_key((tmp_path / "box.key").read_text(encoding="ascii").split("_")[1])
        code, found = examined(capsys, site.config)
        assert code == 1
        assert found[f"{site.uid} frames"][0] == "fail"
        assert found["platform key"][0] == "fail"
    _, found = examined(capsys, site.config)
    assert found["agent process"] == ("warn", "none runs here")
    with closing(sqlite3.connect(tmp_path / "state" / "journal.db")) as journal:
        for (name,) in journal.execute(TRIGGERS).fetchall():
            journal.execute(f"DROP TRIGGER {name}")
        journal.execute("UPDATE event SET detail = 'forged' WHERE seq = 1")
        journal.commit()
    capsys.readouterr()
    assert main(["verify", str(site.config)]) == 1
    assert "WRONG row 1" in capsys.readouterr().out
    assert found["agent journal"][0] == "unknown"


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["operator", "another box"])
def test_a_key_that_may_not_report(tmp_path: Path, ems: Ems, capsys: Capture, whose: str) -> None:
    """The platform takes the key, but not for this device: no report would arrive."""
    uid, _ = ems.new_device()
    key = ems.operator_key if whose == "operator" else ems.new_device()[1]
    config = write_config(tmp_path, ems, uid, key, channel=uid, profile="ess_bau")
    code, found = examined(capsys, config)
    assert code == 1
    assert found["platform key"][0] == "ok"
    verdict, said = found["platform devices"]
    assert (verdict, said.startswith(f"{uid}: HTTP 400")) == ("fail", True), said


def test_a_wrong_configuration_is_a_finding(tmp_path: Path, capsys: Capture) -> None:
    """Each mistake in agent.toml is a line; the machine is looked at all the same."""
    path = tmp_path / "agent.toml"
    path.write_text("[platform]\nurl = 'ftp://x'\n", encoding="utf-8")
    code, found = examined(capsys, path)
    assert code == 1
    assert found["configuration"][0] == "fail"
    assert found["machine clock"][0] == "ok"


def test_a_machine_without_that_bus(capsys: Capture) -> None:
    """No interface, no CAN in the kernel: said, with what mends it, and nothing made up."""
    words = ["doctor", "-c", "nocan7", "--profile", "ess_bau", "--listen-s", "0.1"]
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "nocan7 interface" in shown
    assert "# plug the adapter in" in shown
    assert "unknown  nocan7 frames" in shown


def babble(bus: can.BusABC, over: threading.Event) -> None:
    """Send a frame again and again: nobody knows when the listener is there."""
    while not over.wait(0.02):
        bus.send(can.Message(0.0, 0x123, False, data=[1]))  # noqa: FBT003 - is_extended_id, by place


def test_with_a_dbc_alone_and_in_colour(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a profile nothing is said about the battery; on a terminal verdicts have colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    dbc = tmp_path / "my.dbc"
    dbc.write_bytes((ROOT / "dbc" / "ess_bau.dbc").read_bytes())
    channel = str(tmp_path)
    with can.Bus(channel, "virtual") as sender:
        words = ["-i", "virtual", "-c", channel, "--dbc", str(dbc), "--listen-s", "0.5"]
        over = threading.Event()
        node = threading.Thread(target=babble, args=(sender, over))
        node.start()
        assert main(["doctor", *words]) == 1
        over.set()
        node.join()
    shown = capsys.readouterr().out
    assert "\x1b[1;31mfail   \x1b[0m" in shown
    assert "0.0 % of the frames are in it; not in it: 123" in shown
    assert "no profile was given" in shown


def test_a_state_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """Not there, and not a directory: said, and nothing is made."""
    config = SimpleNamespace(
        state_dir=tmp_path / "state",
        journal_max_bytes=1,
        outbox_max_bytes=1,
        recorder=SimpleNamespace(max_bytes=1),
    )
    assert look_at_disk(config).there is False  # type: ignore[arg-type]  # what it reads of a Config
    config.state_dir = tmp_path / "file"
    config.state_dir.touch()
    found = look_at_disk(config)  # type: ignore[arg-type]  # what it reads of a Config
    assert (found.there, found.trouble, found.fsync_s) == (False, "is no directory", None)
    assert not (tmp_path / "state").exists()


def test_something_must_be_named(capsys: Capture) -> None:
    """Neither a file nor a bus: wrong usage."""
    assert main(["doctor"]) == 2
    assert "give agent.toml, or a bus" in capsys.readouterr().err
