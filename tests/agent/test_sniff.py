"""`bms-agent sniff`: what unknown identifiers do."""

import itertools
import threading
import time
from pathlib import Path

import can
import pytest

from agent.cli import main
from agent.monitor_screen import rendered
from agent.sniff import Sniffer
from bms_can.frame import Frame
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator
from bms_can.traffic import MOST_IDS

ROOT = Path(__file__).parents[2]


def text_of(sniffer: Sniffer, query: str = "") -> str:
    """Return what it says, without colour."""
    return "\n".join(rendered(line, colour=False) for line in sniffer.lines(5.0, query))


def fed(*, known: bool) -> Sniffer:
    """Return a sniffer that has heard a battery, and one frame of a stranger."""
    profile, database = load_profile(ROOT / "dbc" / "ess_bau.toml")
    simulator = Simulator(profile, database, now_s=0.0)
    sniffer = Sniffer(database.by_id if known else ())
    for step in range(1, 51):
        for frame in simulator.due_frames(step / 10):
            sniffer.take(frame)
    sniffer.take(Frame(5.0, 0x7A0, extended=False, data=b"\x05\x00"))
    return sniffer


def test_counter_and_checksum_of_a_battery_are_found() -> None:
    """Without any DBC: pace, which bits move, the counter and the checksum with its name."""
    shown = text_of(fed(known=False), "1801E5F4")
    assert "every 100 ms" in shown
    assert "moves    .. .. .. .. .. .. 0F FF" in shown
    assert "counter? byte 6 low nibble" in shown
    assert "checksum? byte 7 is crc8-sae-j1850 of the others" in shown
    assert "7A0" not in shown


def test_what_the_dbc_knows_is_left_out() -> None:
    """Only the stranger is shown; the others are counted."""
    shown = text_of(fed(known=True))
    assert shown.startswith("1 unknown identifiers; ")
    assert "7A0       once, 1 frames, 2 bytes, never changes" in shown
    assert "1801E5F4" not in shown


def test_plain_output_of_a_bus(capsys: pytest.CaptureFixture[str]) -> None:
    """Heard for a moment on a virtual bus; nothing is sent."""
    stop = threading.Event()
    with can.Bus("sniff-1", "virtual") as sender:

        def send() -> None:
            number = 0
            while not stop.wait(0.01):
                number += 1
                sender.send(can.Message(0.0, 0x123, False, data=[number % 256, 7]))  # noqa: FBT003 - extended

        thread = threading.Thread(target=send)
        thread.start()
        try:
            words = ["sniff", "-i", "virtual", "-c", "sniff-1", "--seconds", "0.5", "--plain"]
            began_s = time.monotonic()
            assert main(words) == 0
            assert time.monotonic() - began_s < 5
        finally:
            stop.set()
            thread.join()
        assert sender.recv(0) is None
    shown = capsys.readouterr().out
    assert "1 unknown identifiers; 0 frames of known" in shown
    assert "counter? byte 0 goes up by one each time" in shown


@pytest.mark.parametrize("command", ["sniff", "monitor"])
def test_a_bus_that_does_not_open(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 1."""
    assert main([command, "-c", "nocan7", "--seconds", "1"]) == 1
    assert capsys.readouterr().err.startswith(f"bms-agent {command}: socketcan nocan7")


def test_what_is_too_much_is_told() -> None:
    """A node with random identifiers fills the list: the rest is counted, not silently gone."""
    sniffer = Sniffer()
    for can_id in range(MOST_IDS + 3):
        sniffer.take(Frame(1.0, can_id, extended=True, data=b"\1"))
    (_, said) = itertools.islice(sniffer.lines(1.0), 2)
    assert said[0].text == "3 frames of more than 4096 identifiers are left out"
