"""`bms-agent demo` as a person runs it: it proves each step, and admits when a proof is missing."""

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass

import pytest

from tests.system.conftest import BATTERY, Started
from tests.system.plant import ROOT

LONGEST_S = 120.0


@dataclass(frozen=True)
class Ended:
    """A demonstration that is over."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def demos(started_demos: Started) -> dict[str, Ended]:
    """Wait for the demonstrations that were started with the first test of this folder."""
    ended = {}
    for fault, process in started_demos.items():
        out, err = process.communicate(timeout=LONGEST_S)
        ended[fault] = Ended(process.returncode, out, err)
    return ended


@pytest.mark.proof
def test_the_story_is_proven(demos: dict[str, Ended]) -> None:
    """On a good battery every step is proven, exit 0, and nothing is said on stderr."""
    good = demos[""]
    assert (good.code, good.err) == (0, ""), good.out
    assert "ok every step was proven" in good.out
    assert "!!" not in good.out
    for operating in (1, 2, 3, 4):
        assert f"operating_status {operating}" in good.out
    assert "the command is rejected" in good.out, "a close with a latched fault"


@pytest.mark.proof
def test_a_battery_that_can_only_be_read(demos: dict[str, Ended]) -> None:
    """Its status follows it, each command is rejected, and not one frame is sent."""
    found = demos[BATTERY]
    assert (found.code, found.err) == (0, ""), found.out
    assert "ok every step was proven" in found.out
    assert found.out.count("ok the command is rejected (read-only") == 3
    assert "ok every frame on the bus was the battery's" in found.out


@pytest.mark.proof
def test_each_step_comes_with_a_line_to_type(demos: dict[str, Ended]) -> None:
    """A person can do the same: the curl lines carry the three documented commands."""
    lines = [line for line in demos[""].out.splitlines() if " curl " in line]
    for command in (1, 2, 3):
        assert any(f'"command": {command}' in line for line in lines)


@pytest.mark.proof
def test_a_missing_proof_is_named(demos: dict[str, Ended]) -> None:
    """When the battery ignores the close the demonstration fails, and says what was not seen."""
    bad = demos["ignore_close"]
    assert (bad.code, bad.err) == (1, ""), bad.out
    assert "!! Close the contactor: no proof; the command is timed_out" in bad.out
    assert "the BMS did not acknowledge it" in bad.out
    assert "every step was proven" not in bad.out


def read_until(master: int, text: bytes | None, seconds: float = 60.0) -> bytes:
    """Read from a terminal until a text was shown; None: until the program has left it."""
    shown, end_s = b"", time.monotonic() + seconds
    while text is None or text not in shown:
        assert time.monotonic() < end_s, shown[-2000:]
        if not select.select([master], [], [], 0.5)[0]:
            continue
        try:
            part = os.read(master, 65536)
        except OSError:  # EIO: the last one who had the terminal open is gone
            part = b""
        if not part:
            assert text is None, shown[-2000:]
            break
        shown += part
    return shown


@pytest.mark.slow
def test_in_a_terminal_it_is_a_picture_and_ctrl_c_ends_it() -> None:
    """Both halves of the live view are drawn; Ctrl-C gives the screen back, exit 0, no trace."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 45, 140, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "demo"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm-256color"},
    )
    os.close(slave)
    try:
        shown = read_until(master, b"frames/s")
        shown += read_until(master, b"1 powered down")
        process.send_signal(signal.SIGINT)
        shown += read_until(master, None)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    for part in (b"battery on CAN", b"agent and platform", b"story", b"\x1b[?1049l"):
        assert part in shown
    assert b"Traceback" not in shown
