"""Prometheus text of a running agent, read back by Prometheus's own parser."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from agent.cli import main
from agent.metrics import METRICS, PREFIX, exposition

DEVICE: dict[str, Any] = {
    "operating_status": 2,
    "alarm_status": 1,
    "disconnected": 0,
    "age_s": 0.05,
    "lockout": "",
    "read_only": True,
    "tx_unsafe": "no echo",
    "foreign_master": "",
    "journal": "",
    "bad_frames": {"checksum": 3, "length": 1},
    "decoded": 900,
    "unknown_ids": 2,
    "changes_lost": 0,
    "foreign_frames": 0,
    "bus": {
        "trouble": "",
        "doubt": "error-passive",
        "state": "ERROR-ACTIVE",
        "opened": 1,
        "frames": 1000,
        "lost": 5,
        "dropped": {"error": 7},
        "errors": {"crtl": 7},
        "bus_off_recoveries": 0,
        "babbling_s": 2,
    },
    "sync": {"done": 10, "failed": 1, "age_s": 3.5},
    "refused_by_platform": 0,
    "heartbeat": {"why_not": "", "sent": 40, "skipped": 0},
}
ANSWER: dict[str, Any] = {
    "devices": {"BAT-1": DEVICE},
    "box": {
        "uptime_s": 12.5,
        "threads": 9,
        "rss_bytes": 40_000_000,
        "outbox": {"rows": 4, "bytes": 900, "dropped": 0},
        "commands": [["BAT-1", "held", "", 3], ["BAT-1", "rejected", "local-lockout", 1]],
        "recorder": {"lost": 0},
    },
}


def read(answer: dict[str, Any] | None) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return every sample by its name, as Prometheus reads it."""
    text = "".join(f"{line}\n" for line in exposition(answer))
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_every_metric_is_there() -> None:
    """With all facts known each metric has at least one sample, under its own name."""
    found = read(ANSWER)
    assert set(found) == {f"{PREFIX}{metric.name}" for metric in METRICS} | {f"{PREFIX}up"}
    assert found["bms_agent_frames_total"] == [({"device": "BAT-1"}, 1000)]
    assert found["bms_agent_up"] == [({}, 1)]
    reasons = {labels["reason"]: value for labels, value in found["bms_agent_bad_frames_total"]}
    assert reasons == {"checksum": 3, "length": 1}
    states = {labels["state"]: value for labels, value in found["bms_agent_commands"]}
    assert states == {"held": 3, "rejected": 1}
    assert found["bms_agent_tx_unsafe"][0][1] == 1
    assert (found["bms_agent_bus_trouble"][0][1], found["bms_agent_bus_doubt"][0][1]) == (0, 1)


def test_what_is_not_known_is_left_out() -> None:
    """Unknown is not zero: no sample, and no broken line."""
    answer = copy.deepcopy(ANSWER)
    device = answer["devices"]["BAT-1"]
    device |= {"operating_status": None, "alarm_status": None, "age_s": None, "heartbeat": None}
    device["bus"]["state"] = None
    device["sync"]["age_s"] = None
    answer["box"] |= {"outbox": None, "commands": None, "rss_bytes": None}
    found = read(answer)
    gone = {"operating_status", "alarms", "status_age_seconds", "heartbeats_total", "bus_state"}
    gone |= {"outbox_reports", "commands", "resident_memory_bytes", "report_age_seconds"}
    assert not {f"{PREFIX}{name}" for name in gone} & set(found)
    assert f"{PREFIX}frames_total" in found


def test_no_agent() -> None:
    """Only that it is not up."""
    assert read(None) == {"bms_agent_up": [({}, 0)]}


@given(st.text(alphabet='ab"\\\n {}=,#é告', max_size=20))
def test_any_reason_can_be_read_back(reason: str) -> None:
    """Quotes, backslashes and line ends in a label come back as they were."""
    answer = copy.deepcopy(ANSWER)
    answer["box"]["commands"] = [["BAT-1", "failed", reason, 1]]
    assert read(answer)["bms_agent_commands"][0][0]["reason"] == reason


def test_without_an_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 69; the file for the collector says that it is down, and nothing old stays in it."""
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text("secret-secret", encoding="ascii")
    config = tmp_path / "agent.toml"
    config.write_text(
        '[platform]\nurl = "http://127.0.0.1:9/x"\nkey_file = "key"\n[agent]\nstate_dir = "state"\n'
        '[[device]]\nuid = "B"\nprofile = "ess_bau"\n[device.can]\ninterface = "virtual"\n'
        'channel = "metrics"\n',
        encoding="utf-8",
    )
    output = tmp_path / "bms_agent.prom"
    output.write_text("old", encoding="utf-8")
    assert main(["metrics", str(config), "--output", str(output)]) == 69
    assert output.read_text(encoding="utf-8").splitlines()[-1] == "bms_agent_up 0"
    assert [path.name for path in tmp_path.glob(".*")] == []
    assert "no agent answers" in capsys.readouterr().err
    assert main(["verify", str(config)]) == 66
