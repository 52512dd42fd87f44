"""Much traffic, wrong traffic, and clocks that are set: can-utils play the other nodes on vcan0."""

import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from bms_can.frame import frame_text
from bms_can.netlink import read_link
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator
from tests.socketcan.nodes import PROFILE, sh
from tests.socketcan.platform import Told
from tests.socketcan.stage import CLOSE, HEALTHY_S, OPEN, VCAN, Stage

FULL_S = float(os.environ.get("FULL_BUS_S", "15"))  # `make socketcan-long`: 600
FULL_PER_S = 3816.8  # 500 kbit/s, extended identifier, 8 bytes, no stuff bits (131 bits a frame)
LOOP_S = 16.0  # every rolling counter of the battery is where it began
STATE_ID, PAUSE_S = "1801E5F4", 0.25  # of BAU_State, each 100 ms, two frames did not come
LIMITS_ID, FREE_ID = "1804E5F4", "180AE5F4"


def bus(scene: Stage) -> dict[str, int]:
    """Return the agent's counts."""
    found: dict[str, int] = scene.local(do="status")["devices"][VCAN]["bus"]
    return found


def settled(scene: Stage) -> dict[str, int]:
    """Return the counts when no more frames come in, the battery's own included."""
    found = bus(scene)
    while True:
        time.sleep(1.0)
        now = bus(scene)
        if now["frames"] == found["frames"]:
            return now
        found = now


def gaps(scene: Stage, since_s: float) -> list[Told]:
    """Return the reports since a time that do not say what the battery does."""
    told = scene.platform.told[VCAN]
    return [each for each in told if each.at_s >= since_s and not each.connected]


def test_another_master(scene: Stage) -> None:
    """One frame with our control identifier by another process: closes are refused at once."""
    sh("cansend vcan0 1811F4E5#0100000000000057")
    step = scene.outcome(scene.command(VCAN, CLOSE))
    assert (step["state"], step["reason"]) == ("rejected", "locked-by-other-client"), step
    assert scene.local(do="status")["devices"][VCAN]["foreign_master"]
    opened = scene.outcome(scene.command(VCAN, OPEN))
    assert opened["state"] == "succeeded", opened
    scene.local(do="clear-latches", who="test")
    scene.row("vcan: foreign control id", None, None, 0, "latched by the first frame")
    scene.steady(VCAN)
    step = scene.outcome(scene.command(VCAN, CLOSE))
    assert step["state"] == "succeeded", step
    step = scene.outcome(scene.command(VCAN, OPEN))
    assert step["state"] == "succeeded", step


def test_random_frames(scene: Stage) -> None:
    """Any identifier, length and content, remote frames and CAN FD among them: nothing happens."""
    sh("cangen vcan0 -g 1 -I r -L r -D r -m -n 1500 & cangen vcan0 -g 1 -I r -L r -R -n 500; wait")
    sh("cangen vcan0 -g 1 -I 1801E5F4 -L r -D r -e -n 50")  # the battery's own, all of them wrong
    time.sleep(1.0)
    assert scene.newest(VCAN).connected
    scene.row("vcan: random frames", None, None, 0, "2,050 by cangen")


@pytest.mark.parametrize("step", ["+3600 sec", "-3600 sec", "+40 days", "-40 days", "1970"])
def test_the_clock_is_set(scene: Stage, step: str) -> None:
    """Frames become neither older nor younger; no status is withdrawn; nothing goes out."""
    before = len(scene.control_frames())
    real = datetime.now().timestamp() - time.monotonic()  # noqa: DTZ005, TID251 - to set it back
    began_s = time.monotonic()
    sh(f'date -s "{step}"' if step != "1970" else 'date -s "1970-01-02 00:00:00"')
    try:
        time.sleep(2.5)
        told = [each for each in scene.platform.told[VCAN] if each.at_s >= began_s]
        ages_ms = [each.body["age_ms"] for each in told]
        local_s = scene.local(do="status")["devices"][VCAN]["age_s"]
    finally:
        sh(f"date -s @{real + time.monotonic():.3f}")
    assert gaps(scene, began_s) == []
    assert all(0 <= age_ms < 600 for age_ms in ages_ms), ages_ms
    assert 0 <= local_s < 0.6
    late = len(scene.control_frames()) - before
    scene.row(f"clock set: {step}", None, 0.0, late, f"oldest value {local_s * 1000:.0f} ms")
    time.sleep(0.5)
    assert gaps(scene, began_s) == []


def test_queue_overrun(scene: Stage) -> None:
    """The agent is stopped while 40,000 frames come: what is lost is counted, to the frame."""
    scene.vcan.battery.silent.set()
    before = settled(scene)
    scene.agent.send_signal(signal.SIGSTOP)
    try:
        sh(f"cangen vcan0 -g 0 -I {LIMITS_ID} -e -L 8 -D r -n 40000")
    finally:
        scene.agent.send_signal(signal.SIGCONT)
        scene.vcan.battery.silent.clear()
    ended_s = time.monotonic()
    healthy_s = scene.healthy(VCAN, ended_s)
    scene.vcan.battery.silent.set()
    time.sleep(0.2)
    sh(f"cansend vcan0 {LIMITS_ID}#0000000000000000")  # a loss is told with the next frame
    after = settled(scene)
    scene.vcan.battery.silent.clear()
    lost, got = after["lost"] - before["lost"], after["frames"] - before["frames"]
    assert lost > 0
    scene.healthy(VCAN, time.monotonic())
    note = f"{got} read, {lost} counted lost"
    # The 22,000 frames that wait are read first, as blocks: some 4 us for each in this guest.
    scene.row("vcan: receive queue overrun", None, healthy_s, 0, note)
    said = got + lost - 40_001  # by the battery, some 52 frames a second, until all was read
    assert 0 <= said < 60 * (healthy_s + 1.0)


def test_a_babbling_node(scene: Stage, tmp_path: Path) -> None:
    """One identifier as fast as the bus allows: named, and the battery is heard all the same."""
    began_s = time.monotonic()
    log = tmp_path / "babble.log"
    lines = (f"({n / FULL_PER_S:.6f}) vcan0 {FREE_ID}#{n:016X}\n" for n in range(30_000))
    log.write_text("".join(lines), encoding="ascii")
    babbler = subprocess.Popen(["canplayer", "-I", str(log)])  # noqa: S603, S607 - can-utils
    end_s = began_s + 8.0
    while "babbling" not in str(bus(scene)["trouble"]):
        assert time.monotonic() < end_s, bus(scene)
        time.sleep(0.1)
    said = str(bus(scene)["trouble"])
    scene.steady(VCAN)  # the battery has to share a slow machine with the babbler
    refused = scene.outcome(scene.command(VCAN, CLOSE))
    step = scene.outcome(scene.command(VCAN, OPEN))
    babbler.terminate()
    babbler.wait()
    ended_s = time.monotonic()
    assert (refused["state"], refused["reason"]) == ("rejected", "blocked-by-health"), refused
    assert "babbling" in refused["detail"]
    assert step["state"] == "succeeded", step
    assert gaps(scene, began_s) == []
    while bus(scene)["trouble"]:
        assert time.monotonic() < ended_s + 5.0
        time.sleep(0.1)
    scene.row("vcan: babbling node", None, 0.0, 0, said)


def full_bus_log(path: Path, loops: int) -> int:
    """Write what a battery and others say on a full bus; return the number of frames.

    Not by canplayer's own loop: it pauses for seconds between two rounds.
    """
    battery = Simulator(*load_profile(PROFILE), now_s=0.0)
    count, lines = round(LOOP_S * FULL_PER_S), []
    for number in range(count):
        at_s = number / FULL_PER_S
        due = battery.due_frames(at_s)
        lines += [(at_s, frame_text(each.can_id, each.extended, each.data)) for each in due]
        if len(lines) <= number:
            lines.append((at_s, f"{LIMITS_ID}#{number:016X}"))
    with path.open("w", encoding="ascii") as file:
        for loop in range(loops):
            begin_s = 1e9 + loop * LOOP_S
            file.writelines(f"({begin_s + at_s:.6f}) vcan0 {words}\n" for at_s, words in lines)
    return len(lines) * loops


class Pause(NamedTuple):
    """A time in which the bus stood still: nobody sent what is due, monotonic [s]."""

    begin_s: float
    end_s: float

    def explains(self, at_s: float) -> bool:
        """Tell whether a status was rightly withdrawn then."""
        return self.begin_s + PAUSE_S <= at_s <= self.end_s + HEALTHY_S


@contextmanager
def witness(path: Path) -> Iterator[list[Pause]]:
    """Let candump note when a message comes that the status rests on; fill in the pauses."""
    pauses: list[Pause] = []
    words = ["candump", "-L", f"vcan0,{STATE_ID}:1FFFFFFF"]
    with path.open("wb") as file, subprocess.Popen(words, stdout=file) as dump:  # noqa: S603 - can-utils
        yield pauses
        dump.send_signal(signal.SIGINT)
    offset_s = time.clock_gettime(time.CLOCK_REALTIME) - time.monotonic()
    lines = path.read_text(encoding="ascii").splitlines()
    came_s = [float(line[1 : line.index(")")]) - offset_s for line in lines]
    ends_s = [*came_s, math.inf]  # when the player is through the bus stands still for good
    pauses += [Pause(*pair) for pair in pairwise(ends_s) if pair[1] - pair[0] >= PAUSE_S]


def test_a_full_bus_without_a_lost_frame(scene: Stage, tmp_path: Path) -> None:
    """Every frame that canplayer sends at 500 kbit/s is read; the status stands all the time.

    Where the player itself paused, which candump saw, the status must be withdrawn.
    """
    log = tmp_path / "full.log"
    loops = max(1, round(FULL_S / LOOP_S))
    frames = full_bus_log(log, loops)
    scene.vcan.battery.silent.set()
    before, kernel = settled(scene), passed("vcan0")
    began_s, used_s = time.monotonic(), _cpu_s(scene.agent.pid)
    with witness(tmp_path / "witness.log") as pauses:
        player = subprocess.Popen(["canplayer", "-I", str(log)])  # noqa: S603, S607 - can-utils
        healthy_s = scene.healthy(VCAN, began_s)
        sizes_kb = []
        while player.poll() is None:
            sizes_kb.append(_rss_kb(scene.agent.pid))
            time.sleep(1.0)
    took_s, used_s = time.monotonic() - began_s, _cpu_s(scene.agent.pid) - used_s
    found = gaps(scene, began_s + healthy_s)
    after = settled(scene)
    kernel = {name: count - kernel[name] for name, count in passed("vcan0").items()}
    scene.vcan.battery.silent.clear()
    scene.healthy(VCAN, time.monotonic())
    got, lost = after["frames"] - before["frames"], after["lost"] - before["lost"]
    note = f"{got} of {frames} frames in {took_s:.0f} s, {got / took_s:.0f}/s"
    note += f", {100 * used_s / took_s:.0f} % CPU"
    if loops > 1:  # the second half tells whether it grows
        half = sizes_kb[len(sizes_kb) // 2 :]
        note += f", RSS {half[0] / 1024:.1f} to {half[-1] / 1024:.1f} MB in {len(half)} s"
    if holes := pauses[:-1]:  # of the player, or of the whole guest: nobody sent anything
        longest_s = max(pause.end_s - pause.begin_s for pause in holes)
        note += f", {len(holes)} pauses of the bus of up to {longest_s:.2f} s"
        note += f", {len(found)} reports without a status in them"
    scene.row("vcan: full 500 kbit/s", None, healthy_s, 0, note)
    assert player.returncode == 0
    assert kernel == {"tx": frames, "rx": frames, "backlog full": 0}, (got, lost, sh("dmesg|tail"))
    assert (got, lost, after["opened"]) == (frames, 0, before["opened"]), scene.words()
    wrong = [told for told in found if not any(pause.explains(told.at_s) for pause in pauses)]
    assert [(round(told.at_s - began_s, 2), told.body["age_ms"]) for told in wrong] == [], pauses


def passed(channel: str) -> dict[str, int]:
    """Return what the kernel counted: frames sent and received, and those no socket ever got."""
    link = read_link(channel)
    assert link is not None
    lines = Path("/proc/net/softnet_stat").read_text(encoding="ascii").splitlines()
    full = sum(int(line.split()[1], 16) for line in lines)
    return {
        "tx": link.counters["tx_packets"],
        "rx": link.counters["rx_packets"],
        "backlog full": full,
    }


def _rss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
