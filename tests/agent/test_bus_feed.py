"""Frames for a person who watches: pauses to draw in, and patience with a bus that is away."""

import itertools
import threading
from pathlib import Path

import can
import pytest

from agent import bus_feed
from agent.bus_feed import BusFeed
from agent.cli import main
from agent.clock import SystemClock
from bms_can.bus import BusSettings, open_port
from bms_can.errors import BusDown
from bms_can.port import Port

SETTINGS = BusSettings("virtual", "feed-1")


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bus be away for the first two tries to open it."""
    tries = itertools.count()

    def opens(settings: BusSettings, _clock_s: object, *, own_frames: bool) -> Port:
        if next(tries) < 2:
            raise BusDown("no such device")
        return open_port(settings, SystemClock().monotonic_s, own_frames=own_frames)

    monkeypatch.setattr(bus_feed, "open_port", opens)
    monkeypatch.setattr(bus_feed, "AGAIN_S", 0.01)


def feed(seconds: float, *, patient: bool) -> BusFeed:
    """Return a feed for a while."""
    clock = SystemClock()
    end_s = clock.monotonic_s() + seconds
    return BusFeed(SETTINGS, clock, end_s, threading.Event(), patient=patient)


@pytest.mark.usefixtures("away")
def test_a_patient_feed_waits_for_its_bus() -> None:
    """Its trouble is said while there is any, and is over with the first frame."""
    found = feed(5.0, patient=True)
    frames = found.frames()
    assert next(frames) is None
    assert found.trouble == "no such device"
    assert next(frames) is None
    with can.Bus("feed-1", "virtual") as sender:
        assert next(frames) is None  # open now: time to draw
        sender.send(can.Message(0.0, 0x123, False, data=[7]))  # noqa: FBT003 - extended
        heard = next(frame for frame in frames if frame is not None)
    assert (heard.can_id, heard.data, found.trouble) == (0x123, b"\7", "")
    frames.close()  # type: ignore[attr-defined]  # it is a generator


@pytest.mark.usefixtures("away")
def test_an_impatient_one_fails() -> None:
    """For scripts: a bus that is not there is an error."""
    with pytest.raises(BusDown, match="no such device"):
        next(feed(5.0, patient=False).frames())


def test_it_ends_in_time() -> None:
    """On a silent bus it only yields pauses, and ends."""
    assert set(feed(0.5, patient=True).frames()) == {None}


@pytest.mark.usefixtures("away")
def test_changes_say_that_the_bus_is_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On stderr, once, so that the lines of changes stay clean."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    words = ["-i", "virtual", "-c", str(tmp_path), "--seconds", "0.4", "--changes"]
    assert main(["monitor", *words]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[0] == "no such device"


@pytest.mark.parametrize("words", [["monitor"], ["sniff"]])
def test_a_silent_bus_is_told(
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """An empty table alone could be a mistake of ours."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    words = [*words, "-i", "virtual", "-c", str(tmp_path), "--seconds", "0.6", "--plain"]
    assert main(words) == 0
    assert capsys.readouterr().err == f"bms-agent {words[0]}: no frame for 1 s\n"


def test_trouble_of_an_open_bus_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says that the link is down while the socket is as good as ever."""
    monkeypatch.setattr(Port, "trouble", "the interface is down")
    monkeypatch.setattr(bus_feed, "FIRST_S", 0.0)
    found = feed(0.3, patient=True)
    assert set(found.frames()) == {None}
    assert found.silence == "the interface is down, no frame for 0 s"
