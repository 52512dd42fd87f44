"""`bms-agent monitor` in a real terminal: it draws, takes keys, and leaves the screen as it was."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.terminal import ENTER, LEAVE
from tests.system.plant import ROOT
from tests.system.process import GROUP, Process, free_udp_port, multicast_trouble


class Screen:
    """The other end of the terminal."""

    def __init__(self, handle: int, process: "subprocess.Popen[bytes]") -> None:
        self.handle, self.process = handle, process
        self.text = ""

    def shows(self, wanted: str, seconds: float = 15.0) -> None:
        """Wait until a text was drawn."""
        end_s = time.monotonic() + seconds
        while wanted not in self.text:
            assert time.monotonic() < end_s, self.text[-3000:]
            if select.select([self.handle], [], [], 0.2)[0]:
                self.text += os.read(self.handle, 65536).decode("utf-8", "replace")

    def press(self, keys: str) -> None:
        """Type."""
        self.text = ""
        os.write(self.handle, keys.encode())


@contextmanager
def screen(*words: str) -> Iterator[Screen]:
    """Run `bms-agent` with these words in a terminal of its own."""
    master, slave = pty.openpty()
    environment = os.environ | {"COLUMNS": "120", "LINES": "30"}
    command = [sys.executable, "-m", "agent", *words]
    process = subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=environment
    )
    try:
        yield Screen(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


@pytest.mark.slow
def test_monitor_in_a_terminal() -> None:
    """Live values in colour, a filter by typing, and a clean end by Ctrl-C."""
    port = free_udp_port()
    if trouble := multicast_trouble(port):
        pytest.skip(trouble)
    battery = Process(("simulate", "-o", f"port={port}"))
    bus = ("-i", "udp_multicast", "-c", GROUP, "-o", f"port={port}", "--profile", "ess_bau")
    try:
        battery.says("simulating ")
        with screen("monitor", *bus) as found:
            before = termios.tcgetattr(found.handle)
            found.shows("contactor_status = open")
            assert ENTER in found.text
            assert "\x1b[1;33m" in found.text  # bytes that changed just now
            found.press("cell_voltage_48")
            found.shows("filter: cell_voltage_48")
            found.shows("cell_voltage_48 = ")
            assert "contactor_status" not in found.text.rpartition("filter: cell_voltage_48")[2]
            found.process.send_signal(signal.SIGINT)  # Ctrl-C, in a terminal that controls it
            found.shows(LEAVE)
            assert found.process.wait(10) == 0
            assert termios.tcgetattr(found.handle)[3] == before[3] | termios.ICANON | termios.ECHO
    finally:
        battery.end()
        battery.close()
