"""`bms-agent monitor` without a terminal: a table at the end, or a line for each change."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agent.bus_feed import BusFeed
from agent.cli import main
from agent.clock import SystemClock
from agent.cmd_monitor import Wish, _screen
from agent.monitor import Monitor
from bms_can import simulator_bus
from bms_can.bus import BusSettings, open_port
from bms_can.frame import Frame
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_signal_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the signals to pytest."""
    monkeypatch.setattr("signal.signal", lambda *_: None)


@contextmanager
def battery(channel: str) -> Iterator[Simulator]:
    """Put a battery on a virtual bus."""
    clock, stop = SystemClock(), threading.Event()
    simulator = Simulator(*load_profile(ROOT / "dbc" / "ess_bau.toml"), now_s=clock.monotonic_s())
    settings = BusSettings("virtual", channel)
    with closing(open_port(settings, clock.monotonic_s, own_frames=False)) as port:
        arguments = (port, simulator, clock.monotonic_s, stop)
        thread = threading.Thread(target=simulator_bus.run, args=arguments)
        thread.start()
        try:
            yield simulator
        finally:
            stop.set()
            thread.join()


def words(channel: str, *more: str) -> list[str]:
    """Return the command line."""
    return ["monitor", "-i", "virtual", "-c", channel, "--profile", "ess_bau", *more]


def test_the_table_at_the_end(capsys: Capture) -> None:
    """What was heard in so many seconds, filtered, without colour."""
    with battery("monitor-1"):
        assert main(words("monitor-1", "--seconds", "0.4", "--filter", "total_vol")) == 0
    shown = capsys.readouterr().out
    assert "1802E5F4  BAU_Electrical" in shown
    assert "total_voltage = 158.6 V" in shown
    assert "contactor_status" not in shown
    assert "\x1b" not in shown


def test_a_narrow_terminal_says_how_to_end() -> None:
    """80 columns are what a box's serial console has."""
    width = 80
    size = (width, 24)
    *_, last = _screen(Monitor(None, None), Wish("", "id"), SystemClock(), [], size)
    text = "".join(piece.text for piece in last)
    assert text.endswith("Ctrl-C: end")
    assert len(text) <= width


def test_a_line_for_each_change(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alarm that comes is told with its value before and after."""
    with battery("monitor-2") as simulator:
        timer = threading.Timer(
            0.3, simulator.tell, [lambda pack: pack.raise_alarm("soc_low_alarm", 2)]
        )

        class Feed(BusFeed):
            """Raises the alarm when the monitor listens, however long its profile took to load."""

            def frames(self) -> Iterator[Frame | None]:
                timer.start()
                yield from super().frames()

        monkeypatch.setattr("agent.cmd_monitor.BusFeed", Feed)
        assert main(words("monitor-2", "--seconds", "0.7", "--changes")) == 0
        timer.join()
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "soc_low_alarm" in line]
    assert len(told) == 1
    assert told[0].endswith("BAU_Alarms.soc_low_alarm: none -> level_2") or "->" in told[0]
    assert not any("checksum" in line for line in lines)


def test_raw_frames_without_a_dbc(capsys: Capture) -> None:
    """No DBC: identifiers and bytes; a silent bus gives an empty table and no failure."""
    with battery("monitor-3"):
        assert main(["monitor", "-i", "virtual", "-c", "monitor-3", "--seconds", "0.3"]) == 0
    assert "1801E5F4" in capsys.readouterr().out
    assert main(["monitor", "-i", "virtual", "-c", "monitor-4", "--seconds", "0.2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
