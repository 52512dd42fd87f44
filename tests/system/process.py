"""`bms-agent` as processes of their own, with a bus between them.

The bus is python-can's udp_multicast: the only one that two processes can share without a driver
in the kernel. Each box has a port of its own, because Linux hands each group to every socket.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bms_can.bus import BusSettings, open_port
from bms_can.errors import BusDown
from tests.ems_process import Ems
from tests.system.plant import ROOT, quick_profile, until, write_config

GROUP = "239.74.163.2"
AGENT = [sys.executable, "-m", "agent"]
END_S = 5.0


class Process:
    """A process of ours whose output is gathered while it runs."""

    def __init__(self, words: Sequence[str]) -> None:
        self.started = subprocess.Popen(  # noqa: S603 - our own program
            [*AGENT, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def output(self) -> str:
        """All that it wrote so far, stdout and stderr."""
        return "".join(self._lines)

    def says(self, text: str, seconds: float = 10.0) -> None:
        """Wait until it has written a text."""
        until(lambda: text in self.output or self.started.poll() is not None, seconds)
        assert text in self.output, self.output

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return the exit code and how long the end took [s]."""
        began_s = time.monotonic()
        self.started.send_signal(how)
        return self.code(), time.monotonic() - began_s

    def code(self) -> int:
        """Wait for the end; return the exit code."""
        found = self.started.wait(20)
        self._reader.join(5)
        return found

    def close(self) -> None:
        """Leave nothing behind."""
        if self.started.poll() is None:
            self.started.kill()
        self.started.wait()
        self._reader.join(5)
        assert self.started.stdout is not None
        self.started.stdout.close()

    def _read(self) -> None:
        assert self.started.stdout is not None
        for line in self.started.stdout:
            self._lines.append(line)


@dataclass
class Box:
    """A folder with agent.toml for a device of the platform; processes end with the test."""

    folder: Path
    ems: Ems
    uid: str
    key: str
    port: int
    config: Path
    processes: ExitStack

    def run(self, *words: str) -> Process:
        """Start `bms-agent` with these words."""
        process = Process(words)
        self.processes.callback(process.close)
        return process

    def simulate(self, *words: str) -> Process:
        """Start the simulated battery on this box's bus, and wait until it sends."""
        profile = str(self.folder / "ess_bau.toml")
        option = f"port={self.port}"
        process = self.run("simulate", "-o", option, "--profile", profile, *words)
        process.says("simulating ")
        return process

    def agent(self) -> Process:
        """Start the agent."""
        return self.run("run", str(self.config))


def free_udp_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def multicast_trouble(port: int) -> str:
    """Return why this machine has no multicast bus, "" if it has one."""
    try:
        open_port(BusSettings("udp_multicast", GROUP, options={"port": port}), float).close()
    except BusDown as error:
        return str(error)
    return ""


@contextmanager
def new_box(folder: Path, ems: Ems) -> Iterator[Box]:
    """Give a box whose bus is a multicast group; without multicast, skip, or fail in CI."""
    port = free_udp_port()
    if trouble := multicast_trouble(port):
        without = pytest.fail if os.environ.get("CI") else pytest.skip
        without(trouble)
    uid, key = ems.new_device()
    quick_profile(folder)
    options = f"port = {port}"
    words = {"interface": "udp_multicast", "channel": GROUP, "options": options}
    config = write_config(folder, ems, uid, key, **words)
    with ExitStack() as processes:
        yield Box(folder, ems, uid, key, port, config, processes)


def status(box: Box, operator: httpx.Client) -> dict[str, object]:
    """GET /bms-control."""
    answer = operator.get("/bms-control", params={"device_uid": box.uid})
    data = answer.json()["data"]
    assert isinstance(data, dict)
    return data
