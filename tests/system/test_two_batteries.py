"""Two batteries, one agent process, one key, a real platform: neither one's fate is the other's."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.ems_process import Ems
from tests.second_battery import second_battery
from tests.system.plant import FINISHED, quick_profile, until
from tests.system.process import GROUP, Process, free_udp_port, multicast_trouble

CONFIG = """\
[platform]
url = "{url}"
key_file = "box.key"
sync_period_s = 1
[agent]
state_dir = "state"
"""
DEVICE = """\
[[device]]
uid = "{uid}"
profile = "{profile}"
read_only = false
[device.can]
interface = "udp_multicast"
channel = "{group}"
port = {port}
"""


class Site:
    """One box with two batteries; processes end with the test."""

    def __init__(self, folder: Path, ems: Ems, processes: ExitStack) -> None:
        self._folder, self._processes = folder, processes
        self.uids = [ems.new_device()[0] for _ in range(2)]
        self.http = processes.enter_context(ems.client(ems.new_operator(*self.uids)))
        (folder / "state").mkdir(mode=0o700)
        (folder / "box.key").touch(mode=0o600)
        (folder / "box.key").write_text(ems.new_box(*self.uids), encoding="ascii")
        self._text = CONFIG.format(url=ems.url)

    def battery(self, uid: str, profile: Path, port: int) -> Process:
        """Add a battery to the box and put it on its bus."""
        self._text += DEVICE.format(uid=uid, profile=profile.name, group=GROUP, port=port)
        words = ("simulate", "-o", f"port={port}", "--profile", str(profile))
        return self._start(words, "simulating ")

    def agent(self) -> Process:
        """Start the agent."""
        (self._folder / "agent.toml").write_text(self._text, encoding="utf-8")
        return self._start(("run", str(self._folder / "agent.toml")), "may send commands")

    def status(self, uid: str) -> dict[str, Any]:
        """GET /bms-control."""
        answer = self.http.get("/bms-control", params={"device_uid": uid}).json()
        assert isinstance(answer["data"], dict)
        return answer["data"]

    def shows(self, uid: str, **wanted: object) -> None:
        """Wait until the platform has these values."""
        until(lambda: wanted.items() <= self.status(uid).items())

    def close(self, uid: str) -> dict[str, Any]:
        """Close a contactor; return the command's record."""
        body = {"device_uid": uid, "command": 2}
        made = self.http.post("/bms-control", json=body).json()["data"]

        def ended() -> Any:  # noqa: ANN401 - the record, once it has ended
            record = self.http.get(f"/bms-control/commands/{made}").json()["data"]
            return record if record["state"] in FINISHED else None

        found = until(ended, 15.0)
        assert isinstance(found, dict)
        return found

    def closes(self, uid: str) -> None:
        """Close a contactor with proof; at the start the interlock steady_s may refuse it once."""
        until(lambda: self.close(uid)["state"] == "held", 15.0)

    def _start(self, words: tuple[str, ...], says: str) -> Process:
        process = Process(words)
        self._processes.callback(process.close)
        process.says(says)
        return process


@pytest.fixture
def site(tmp_path: Path, ems: Ems) -> Iterator[Site]:
    """Give a box; skip where the machine has no multicast."""
    if trouble := multicast_trouble(free_udp_port()):
        pytest.skip(trouble)
    with ExitStack() as processes:
        yield Site(tmp_path, ems, processes)


@pytest.mark.slow
def test_two_batteries_on_two_buses(site: Site, tmp_path: Path) -> None:
    """A command to A moves A alone; the death of B withdraws B alone, and A still obeys."""
    (first, second), profile = site.uids, quick_profile(tmp_path)
    ports = free_udp_port(), free_udp_port()
    one = site.battery(first, profile, ports[0])
    other = site.battery(second, profile, ports[1])
    agent = site.agent()
    for uid in site.uids:
        site.shows(uid, operating_status=1, disconnected=0)
    site.closes(first)
    assert site.status(first)["operating_status"] == 2
    assert site.status(second)["operating_status"] == 1
    other.end()
    assert "heard: {'command'" not in other.output
    site.shows(second, operating_status=None, disconnected=1)
    assert site.status(first)["disconnected"] == 0
    assert site.status(first)["operating_status"] == 2
    one.end()
    assert "heard: {'command'" in one.output
    assert agent.end()[0] == 0, agent.output


@pytest.mark.slow
def test_two_batteries_on_one_bus(site: Site, tmp_path: Path) -> None:
    """One socket, two batteries: each obeys its own command, and our frames are no stranger's."""
    (first, second), profile = site.uids, quick_profile(tmp_path)
    port = free_udp_port()
    site.battery(first, profile, port)
    site.battery(second, second_battery(tmp_path, profile=profile), port)
    agent = site.agent()
    for uid in site.uids:
        site.shows(uid, operating_status=1, disconnected=0)
    site.closes(second)
    assert site.status(first)["operating_status"] == 1
    site.closes(first)
    assert "another node" not in agent.output
    assert agent.end()[0] == 0, agent.output
