"""An hour of the agent on the real clock: `python -m bench.soak_real --minutes 60 --series FILE`.

Platform and agent are processes of their own, the agent with the environment of its systemd unit;
the battery is here, at its full rate, among nodes that send 500 frames/s. Every five minutes a
close and an open are carried out. Prints the agent's memory and its share of a core; the slope is
that of the second half (least squares), the first half is its time to warm up. A single page of
4 KiB that comes in the middle of half an hour makes a slope of 0.3 MB a day, so the growth in kB
stands beside it.
Exit code 1 if a command did not end as it should, or the agent ended.
"""

import argparse
import os
import re
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.soak_box import HOST
from bench.stand import CONFIG, DEVICE, ENDED, ROOT, Client, platform, process, until
from bench.table import show
from bms_can.can_frame import EXTENDED, ID_MASK, frame_bytes
from bms_can.frame import Frame
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator

PROFILE = ROOT / "dbc" / "ess_bau.toml"
UNIT = ROOT / "deploy" / "bms-agent.service"
TICK_S, STRANGERS_A_TICK = 0.01, 5
SAMPLE_S, COMMANDS_S = 30.0, 300.0
CLOSE, OPEN = 2, 3
_SIZES = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)  # of /proc/PID/smaps_rollup
KIB, KB, MB, DAY_S = 1024, 1e3, 1e6, 86400.0


class Memory(NamedTuple):
    """Resident memory at a moment.

    Attributes:
        at_s: since the start of the series [s].
        rss_mb: all of it.
        own_mb: what belongs to no file: heap, stacks, changed data of libraries.
    """

    at_s: float
    rss_mb: float
    own_mb: float


class Bus:
    """The battery and other nodes on one side of a pair of datagram sockets; the agent hears them.

    Attributes:
        sent: frames so far.
    """

    def __init__(self, wire: socket.socket, agent_port: int) -> None:
        self._wire = wire
        self._agent = (HOST, agent_port)
        self._battery = Simulator(*load_profile(PROFILE), now_s=time.monotonic())
        self.sent = 0

    def run(self, stop: threading.Event) -> None:
        """Send and hear until told to stop."""
        while not stop.wait(TICK_S):
            now_s = time.monotonic()
            self._hear(now_s)
            for frame in self._battery.due_frames(now_s):
                self._send(frame_bytes(frame))
            for number in range(STRANGERS_A_TICK):
                data = (self.sent + number).to_bytes(8)
                self._send(frame_bytes(Frame(0.0, 0x300 + number, extended=False, data=data)))

    def _hear(self, now_s: float) -> None:
        while select.select([self._wire], [], [], 0)[0]:
            packed = self._wire.recv(16)
            word = int.from_bytes(packed[:4], sys.byteorder)
            data = packed[8 : 8 + packed[4]]
            self._send(packed)  # everybody hears it, its sender too
            self._battery.hear(Frame(now_s, word & ID_MASK, word >= EXTENDED, data), now_s)

    def _send(self, packed: bytes) -> None:
        try:
            self._wire.sendto(packed, self._agent)
            self.sent += 1
        except ConnectionRefusedError:
            return  # the agent is not there yet


class Box:
    """The agent and what it takes."""

    def __init__(self, agent: "subprocess.Popen[bytes]", url: str, key: str) -> None:
        self.agent = agent
        self._platform = url, key

    @contextmanager
    def _operator(self) -> Iterator[Client]:
        """Connect anew: the platform closes a connection that is idle for long."""
        client = Client(*self._platform)
        try:
            yield client
        finally:
            client.close()

    def memory(self, at_s: float) -> Memory:
        """Return its resident memory now, counted page by page (statm may lag behind)."""
        text = Path(f"/proc/{self.agent.pid}/smaps_rollup").read_text(encoding="ascii")
        kib = {name: int(size) for name, size in _SIZES.findall(text)}
        return Memory(at_s, kib["Rss"] * KIB / MB, kib["Anonymous"] * KIB / MB)

    def cpu_s(self) -> float:
        """Return its processor time so far [s]."""
        text = Path(f"/proc/{self.agent.pid}/stat").read_text(encoding="ascii")
        fields = text.rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])  # proc(5): utime, stime
        return ticks / os.sysconf("SC_CLK_TCK")

    def command(self, code: int) -> str:
        """Give a command; return how it ended."""
        body: dict[str, object] = {"device_uid": DEVICE, "command": code}
        with self._operator() as client:
            path = f"/bms-control/commands/{client.call('POST', '/bms-control', body)}"
            until(lambda: client.call("GET", path)["state"] in ENDED, 60.0, 0.5)
            return str(client.call("GET", path)["state"])

    def is_ready(self) -> bool:
        """Tell whether the platform knows the battery's status."""
        with self._operator() as client:
            status = client.call("GET", f"/bms-control?device_uid={DEVICE}")
            return bool(status["operating_status"] == 1)


@contextmanager
def box(folder: Path) -> Iterator[Box]:
    """Set up platform, bus and agent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire, ExitStack() as end:
        wire.bind((HOST, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        url, key = platform(folder, end)
        (folder / "state").mkdir(mode=0o700)
        config = folder / "agent.toml"
        device = {"uid": DEVICE, "group": HOST, "port": port, "profile": PROFILE}
        text = CONFIG.format(url=url, **device).replace('"udp_multicast"', '"socketcan"')
        config.write_text("\n".join(_without_override(text)), encoding="utf-8")
        stop = threading.Event()
        bus = threading.Thread(target=Bus(wire, port).run, args=(stop,))
        end.callback(bus.join)
        end.callback(stop.set)
        bus.start()
        own_port = str(wire.getsockname()[1])
        words = str(config), str(port), own_port
        agent = process(end, "bench.soak_box", *words, environment=_of_the_unit())
        found = Box(agent, url, key)
        until(found.is_ready)
        yield found


def _of_the_unit() -> dict[str, str]:
    """Return what the systemd unit sets in the environment, without the agent's own variables."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    found = (line.removeprefix("Environment=") for line in lines if line.startswith("Environment="))
    pairs = (each.partition("=") for each in found)
    return {name: value for name, _, value in pairs if not name.startswith("BMS_AGENT_")}


def _without_override(text: str) -> Iterator[str]:
    """Yield the lines of the stand's configuration that a site would have."""
    site = False
    for line in text.splitlines():
        site = line == "[site]" or (site and not line.startswith("["))
        if not site and not line.startswith("port ="):
            yield line


def slope_mb_a_day(samples: list[Memory]) -> float:
    """Return the slope of all resident memory."""
    times_s, sizes_mb = [each.at_s for each in samples], [each.rss_mb for each in samples]
    return statistics.linear_regression(times_s, sizes_mb).slope * DAY_S


def watch(found: Box, minutes: float, series: Path) -> tuple[list[Memory], list[str]]:
    """Return memory over time, and how the commands ended; the series is written as it grows."""
    began_s, cpu_s = time.monotonic(), found.cpu_s()
    samples, ends, next_command_s = [], [], COMMANDS_S / 5
    series.write_text("seconds,rss_mb,own_mb,cpu_pct,commands\n", encoding="ascii")
    while (at_s := time.monotonic() - began_s) < minutes * 60 and found.agent.poll() is None:
        if at_s >= next_command_s:
            next_command_s += COMMANDS_S
            ends += [found.command(CLOSE), found.command(OPEN)]
        used_pct = 100 * (found.cpu_s() - cpu_s) / max(at_s, 1.0)
        samples.append(found.memory(at_s))
        _, rss_mb, own_mb = samples[-1]
        with series.open("a", encoding="ascii") as file:
            file.write(f"{at_s:.1f},{rss_mb:.3f},{own_mb:.3f},{used_pct:.2f},{len(ends)}\n")
        time.sleep(SAMPLE_S)
    return samples, ends


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--series", type=Path, default=Path("soak_real.csv"))
    asked = parser.parse_args()
    with TemporaryDirectory(prefix="soak-") as folder, box(Path(folder)) as found:
        samples, ends = watch(found, asked.minutes, asked.series)
        alive = found.agent.poll() is None
        used_pct = asked.series.read_text(encoding="ascii").splitlines()[-1].split(",")[3]
    half = samples[len(samples) // 2 :]
    first, last = half[0], half[-1]
    grew_kb = [KB * (now - then) for then, now in zip(first[1:], last[1:], strict=True)]
    since = f"from {first.at_s / 60:.0f} min on"
    rows = [
        ["memory at the end", f"{last.rss_mb:.2f} MB", "<= 60 MB"],
        ["of it in no file", f"{last.own_mb:.2f} MB", ""],
        [f"slope {since}", f"{slope_mb_a_day(half):+.2f} MB a day", "< 1 MB a day"],
        [f"growth {since}", f"{grew_kb[0]:+.0f} kB, in no file {grew_kb[1]:+.0f} kB", ""],
        ["processor", f"{used_pct} % of a core", ""],
        ["commands", f"{ends.count('held')} of {len(ends)} held", "all"],
    ]
    show(f"Soak, {asked.minutes:g} minutes real time", ["what", "found", "goal"], rows)
    return 0 if alive and ends.count("held") == len(ends) else 1


if __name__ == "__main__":
    sys.exit(main())
