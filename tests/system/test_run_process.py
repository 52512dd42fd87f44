"""`bms-agent run` and `bms-agent simulate` as processes of their own, with a bus between them."""

import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from tests.system.plant import FINISHED, ROOT, until
from tests.system.process import AGENT, END_S, GROUP, Box, status


@pytest.mark.slow
def test_three_processes_do_the_main_job(box: Box, operator: httpx.Client) -> None:
    """Battery, agent and platform, each a process: status up, close down and proven, clean end.

    At level debug no line of any process, and no file of the agent, holds the key.
    """
    battery, agent = box.simulate(), box.agent()
    until(lambda: status(box, operator)["operating_status"] == 1)
    time.sleep(0.5)  # the interlock steady_s of the quick profile, and a margin
    body = {"device_uid": box.uid, "command": 2}
    command_id = operator.post("/bms-control", json=body).json()["data"]
    path = f"/bms-control/commands/{command_id}"
    until(lambda: operator.get(path).json()["data"]["state"] in FINISHED, 15.0)
    record = operator.get(path).json()["data"]
    assert record["state"] == "held", record["events"][-1]
    assert status(box, operator)["operating_status"] == 2
    code, took_s = agent.end()
    assert (code, took_s < END_S) == (0, True), agent.output
    assert battery.end()[0] == 0
    assert "heard: {'command': 1, 'repetition': 2}" in battery.output
    assert "ended" in agent.output
    kept = b"".join(
        each.read_bytes() for each in (box.folder / "state").rglob("*") if each.is_file()
    )
    assert box.key not in agent.output + battery.output + box.ems.log()
    assert box.key.encode() not in kept


def test_the_end_does_not_wait_for_anybody(box: Box) -> None:
    """SIGTERM in the middle of a long poll, with a silent battery: exit 0 within 5 s."""
    agent = box.agent()
    agent.says("may send commands")
    with box.ems.client(box.ems.operator_key) as http:
        until(lambda: http.get("/bms-control/details", params={"device_uid": box.uid}).json())
        until(lambda: status(box, http)["alarm_status"] == 1)
    code, took_s = agent.end()
    assert (code, took_s < END_S) == (0, True), agent.output


def test_the_end_with_an_unreachable_platform(box: Box) -> None:
    """SIGTERM while nothing answers and the agent backs off: exit 0 within 5 s."""
    text = box.config.read_text(encoding="utf-8").replace(box.ems.url, "http://127.0.0.1:9/api")
    box.config.write_text(text, encoding="utf-8")
    agent = box.agent()
    agent.says("cannot ask for commands")
    code, took_s = agent.end(signal.SIGINT)
    assert (code, took_s < END_S) == (0, True), agent.output


def test_a_state_directory_belongs_to_one_agent(box: Box) -> None:
    """A second agent on the same state directory ends with 75 and says so; the first goes on."""
    first = box.agent()
    first.says("may send commands")
    second = box.agent()
    assert second.code() == os.EX_TEMPFAIL
    assert f"another agent already uses {box.folder / 'state'}" in second.output
    assert "Traceback" not in second.output
    assert first.started.poll() is None
    assert first.end()[0] == 0
    third = box.agent()
    third.says("may send commands")
    assert third.end()[0] == 0


def test_a_killed_agent_leaves_no_lock(box: Box) -> None:
    """After SIGKILL the next start works: the kernel lets go of the lock."""
    first = box.agent()
    first.says("may send commands")
    first.end(signal.SIGKILL)
    second = box.agent()
    second.says("may send commands")
    assert second.end()[0] == 0


def test_a_wrong_configuration_starts_nothing(box: Box) -> None:
    """Every mistake is told at once, exit 78; no journal, no socket, no report."""
    text = box.config.read_text(encoding="utf-8")
    text = text.replace(f'uid = "{box.uid}"', 'uid = "a b"').replace("sync_period_s = 1", "")
    text = text.replace("[agent]", 'period = 3\n[agent]\nlog_level = "loud"\n# ', 1)
    text = text.replace('log_level = "debug"', "").replace(box.ems.url, "ftp://x")
    box.config.write_text(text, encoding="utf-8")
    agent = box.agent()
    assert agent.code() == os.EX_CONFIG
    for part in ("platform.url", "platform.period", "agent.log_level", "uid"):
        assert part in agent.output
    assert "Traceback" not in agent.output
    assert list((box.folder / "state").iterdir()) == []


@pytest.mark.parametrize(
    ("what", "wrong", "named"),
    [
        ("dbc", "BO_ nonsense", "ess_bau.dbc"),
        ("toml", "[profile\n", "ess_bau.toml"),
    ],
)
def test_a_wrong_battery_starts_nothing(box: Box, what: str, wrong: str, named: str) -> None:
    """A DBC or profile that cannot be read: exit 78, the file named, nothing left behind."""
    (box.folder / f"ess_bau.{what}").write_text(wrong, encoding="utf-8")
    agent = box.agent()
    assert agent.code() == os.EX_CONFIG
    assert named in agent.output
    assert "Traceback" not in agent.output
    assert list((box.folder / "state").glob("*.db")) == []


def test_a_bus_that_does_not_open_is_named(box: Box) -> None:
    """The agent stays up without its bus, says why, and reports "disconnected", never 1."""
    text = box.config.read_text(encoding="utf-8")
    text = text.replace('interface = "udp_multicast"', 'interface = "socketcan"')
    text = text.replace(f'channel = "{GROUP}"', 'channel = "nocan7"').replace("port = ", "# ")
    box.config.write_text(text, encoding="utf-8")
    agent = box.agent()
    agent.says("bus: socketcan nocan7")
    with box.ems.client(box.ems.operator_key) as http:
        until(lambda: status(box, http)["alarm_status"] == 1)
        assert status(box, http)["operating_status"] is None
        assert status(box, http)["disconnected"] == 1
    assert agent.end()[0] == 0


def test_simulate_without_further_words() -> None:
    """The default bus works, or the one line of the error says what to install or set."""
    command = [*AGENT, "simulate", "--seconds", "0.2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603 - our own program
    if done.returncode == 0:
        assert done.stdout.startswith("simulating ess_bau on udp_multicast")
    else:
        assert done.returncode == 1
        assert "ip route add" in done.stderr


def test_simulate_without_its_extra() -> None:
    """Without msgpack the error names the extra that brings it."""
    code = (
        "import sys; sys.modules['msgpack'] = None\n"
        "from agent.cli import main; sys.exit(main(['simulate', '--seconds', '60']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(  # noqa: S603 - our own program
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=20
    )
    assert done.returncode == 1
    assert 'pip install "bms-can-agent[demo]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_simulate_ends_at_once_when_told(box: Box) -> None:
    """SIGTERM ends the battery, however long it was meant to run."""
    code, took_s = box.simulate("--seconds", "600").end()
    assert (code, took_s < END_S) == (0, True)
