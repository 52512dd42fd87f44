"""Who only watches a bus (`bms-agent monitor`, `sniff`) on a real CAN stack that is disturbed."""

import threading
import time
from collections.abc import Iterator

import pytest

from agent.bus_feed import BusFeed
from agent.clock import SystemClock
from bms_can.bus import BusSettings
from bms_can.netlink import read_link
from tests.socketcan.adapter import Adapter
from tests.socketcan.nodes import sh

NAME = "vcan8"
SOON_S = 3.0


class Watcher:
    """Watches a bus in a thread of its own, as a person at a terminal does."""

    def __init__(self, channel: str) -> None:
        clock = SystemClock()
        self.stop, self.heard, self.ids = threading.Event(), 0, set[int]()
        end_s = clock.monotonic_s() + 60.0
        settings = BusSettings("socketcan", channel)
        self.feed = BusFeed(settings, clock, end_s, self.stop, patient=True)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for frame in self.feed.frames():
            if frame is not None:
                self.ids.add(frame.can_id)

    def says(self, words: str) -> None:
        """Wait until it says what is wrong."""
        end_s = time.monotonic() + SOON_S
        while words not in self.feed.trouble or bool(words) != bool(self.feed.trouble):
            assert time.monotonic() < end_s, self.feed.trouble
            time.sleep(0.02)

    def hears(self, channel: str, can_id: int) -> None:
        """Send a frame until it is heard."""
        end_s = time.monotonic() + SOON_S
        while can_id not in self.ids:
            assert time.monotonic() < end_s, self.feed.trouble
            sh(f"cansend {channel} {can_id:03X}#01")
            time.sleep(0.1)

    def end(self) -> None:
        """Stop."""
        self.stop.set()
        self._thread.join()


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """Watch an interface of the test's own."""
    sh(f"ip link add {NAME} type vcan && ip link set {NAME} up")
    found = Watcher(NAME)
    yield found
    found.end()
    sh(f"ip link del {NAME} || true")


def test_link_down_and_up(watcher: Watcher) -> None:
    """It says that the interface is down, and hears again when it is up."""
    watcher.hears(NAME, 0x101)
    sh(f"ip link set {NAME} down")
    watcher.says("the interface is down")
    sh(f"ip link set {NAME} up")
    watcher.says("")
    watcher.hears(NAME, 0x102)


def test_an_adapter_that_is_pulled_and_put_back(watcher: Watcher) -> None:
    """The interface goes, and comes back as another one of that name: it is opened anew."""
    watcher.hears(NAME, 0x101)
    sh(f"ip link del {NAME}")
    watcher.says("no interface")
    sh(f"ip link add {NAME} type vcan && ip link set {NAME} up")
    watcher.hears(NAME, 0x102)
    assert not watcher.feed.trouble


def test_two_interfaces_change_their_names(watcher: Watcher) -> None:
    """Two adapters swap at a boot or by hand: who watches a name goes with the name."""
    other, spare = "vcan9", "vcan99"
    sh(f"ip link add {other} type vcan && ip link set {other} up")
    watcher.hears(NAME, 0x101)
    pairs = ((NAME, spare), (other, NAME), (spare, other))
    renamed = " && ".join(f"ip link set {old} name {new}" for old, new in pairs)
    sh(f"ip link set {NAME} down && ip link set {other} down && {renamed}")
    sh(f"ip link set {NAME} up && ip link set {other} up")
    try:
        watcher.hears(NAME, 0x102)
        sh(f"cansend {other} 103#01")
        watcher.hears(NAME, 0x104)
        assert 0x103 not in watcher.ids
    finally:
        sh(f"ip link del {other}")


def test_who_watches_changes_nothing() -> None:
    """In bus-off the interface stays as it is: to restart it is not a watcher's business."""
    adapter = Adapter(lambda _: None)
    sh(f"ip link set {adapter.name} up type can bitrate 500000")
    found = Watcher(adapter.name)
    try:
        adapter.state("bus-off", tx_errors=255)
        found.says("bus-off")
        opens = adapter.commands.count("O")
        time.sleep(2.5)  # longer than the agent's own rest before it restarts one
        link = read_link(adapter.name)
        assert link is not None
        assert (link.state, adapter.commands.count("O")) == ("BUS-OFF", opens)
    finally:
        found.end()
        adapter.pull()
