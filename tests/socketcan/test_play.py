"""`bms-agent play` on a vcan interface, beside canplayer: the same frames at the same times."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bms_can.frame import Frame
from bms_can.logfile import open_log
from tests.socketcan.nodes import sh

LOG = Path(__file__).parents[1] / "data" / "ess_bau" / "half_minute.log"
BUS = "vcan9"
SECONDS = 4.0
WORST_S = 0.3  # a kernel inside a process on a busy machine; canplayer is not better there


@pytest.fixture
def piece(tmp_path: Path) -> Iterator[Path]:
    """Give an interface of our own, and the first seconds of a log."""
    sh(f"ip link add {BUS} type vcan && ip link set {BUS} up")
    lines = LOG.read_text(encoding="ascii").splitlines(keepends=True)
    start_s = float(lines[0].split()[0].strip("()"))
    path = tmp_path / "piece.log"
    path.write_text(
        "".join(each for each in lines if float(each.split()[0].strip("()")) < start_s + SECONDS)
    )
    yield path
    sh(f"ip link del {BUS}")


def heard(words: list[str], folder: Path) -> list[Frame]:
    """Run a player; return what candump heard."""
    path = folder / "heard.log"
    with path.open("wb") as file, subprocess.Popen(["candump", "-L", BUS], stdout=file) as dump:  # noqa: S603, S607 - can-utils of the guest
        while BUS not in Path("/proc/net/can/rcvlist_all").read_text(encoding="ascii"):
            time.sleep(0.02)
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ours, or canplayer
        time.sleep(0.2)
        dump.send_signal(signal.SIGINT)
    return [entry for entry in open_log(path) if isinstance(entry, Frame)]


def worst_s(log: list[Frame], found: list[Frame]) -> float:
    """Return the largest distance from the log's own times, counted from the first frame."""
    pairs = zip(log, found, strict=True)
    return max(abs((b.at_s - found[0].at_s) - (a.at_s - log[0].at_s)) for a, b in pairs)


def test_the_same_as_canplayer(piece: Path, tmp_path: Path) -> None:
    """Every frame, in order, at its time; canplayer's own run is the yardstick."""
    log = [entry for entry in open_log(piece) if isinstance(entry, Frame)]
    ours = heard([sys.executable, "-m", "agent", "play", str(piece), "-c", BUS], tmp_path)
    theirs = heard(["canplayer", "-I", str(piece), f"{BUS}={log[0].channel}"], tmp_path)
    assert [(each.can_id, each.data) for each in ours] == [(each.can_id, each.data) for each in log]
    assert [each[1:4] for each in ours] == [each[1:4] for each in theirs]
    assert worst_s(log, ours) < max(WORST_S, worst_s(log, theirs))


def test_without_loopback_nobody_here_hears(piece: Path, tmp_path: Path) -> None:
    """With -x the frames do not come back to programs of this machine, as with canplayer."""
    words = [sys.executable, "-m", "agent", "play", str(piece), "-c", BUS, "-x", "-t", "-n", "5"]
    assert heard(words, tmp_path) == []


def test_control_frames_stay_away(piece: Path, tmp_path: Path) -> None:
    """With the battery's profile its control frames are left out."""
    words = [sys.executable, "-m", "agent", "play", str(piece), "-c", BUS, "-t"]
    with_profile = heard([*words, "--profile", "ess_bau"], tmp_path)
    every = heard(words, tmp_path)
    control = [each for each in every if each.can_id == 0x1811F4E5]
    assert control
    assert len(with_profile) == len(every) - len(control)
