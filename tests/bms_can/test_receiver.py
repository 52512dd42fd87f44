"""The receiving thread: reopen after failure and silence, back off, never deaf without need."""

import errno
import threading
import time
from collections.abc import Iterator, Sequence

import can
import pytest

from bms_can import receiver as module
from bms_can.bus import BusSettings, Port, open_port
from bms_can.errors import BusDown
from bms_can.frame import Frame
from bms_can.receiver import FIRST_WAIT_S, LONGEST_WAIT_S, POLL_S, Receiver
from tests.hostile import Event, HostileBus, data_message, error_message

DOWN = can.CanOperationError("Network is down", 100)


class Script:
    """Opens one hostile bus after another; a text instead of a script: it cannot be opened.

    Attributes:
        waits_s: the waits that the receiver asked for.
        buses: the buses opened.
    """

    def __init__(self, scripts: Sequence[Sequence[Event] | str], silence_s: float = 1.0) -> None:
        self._scripts = list(scripts)
        self.waits_s: list[float] = []
        self.buses: list[HostileBus] = []
        self.frames: list[Frame] = []
        self.now_s = 0.0
        self.receiver = Receiver(self.open, self.frames.extend, silence_s)
        self.receiver._stop.wait = self._wait  # type: ignore[method-assign]  # no test sleeps

    def open(self) -> Port:
        """Open the next bus of the script; stop after the last."""
        if not self._scripts:
            self.receiver.stop()
            raise BusDown("the script is over")
        script = self._scripts.pop(0)
        if isinstance(script, str):
            raise BusDown(script)
        self.buses.append(HostileBus(script))
        return Port(self.buses[-1], lambda: self.now_s)

    def _wait(self, timeout: float | None = None) -> bool:
        self.waits_s.append(timeout or 0.0)
        return self.receiver._stop.is_set()

    def run(self) -> "Script":
        """Run the receiver to the end of the script; forget the wait after it."""
        self.receiver.run()
        self.waits_s.pop()
        return self


def test_frames_are_handed_on_in_order() -> None:
    """Each data frame reaches `take`, in this thread and in order."""
    script = Script([[data_message(data=bytes([i])) for i in range(5)]]).run()
    assert [frame.data[0] for frame in script.frames] == [0, 1, 2, 3, 4]
    assert script.receiver.frames == 5


def test_a_failed_bus_is_closed_and_reopened() -> None:
    """After one error the old bus is closed and a new one takes its place (traps 1 and 3)."""
    script = Script([[data_message(), DOWN, data_message()], [data_message()]]).run()
    assert script.receiver.opened == 2
    assert len(script.frames) == 2
    assert all(bus.closed for bus in script.buses)
    assert script.waits_s == [FIRST_WAIT_S]
    assert script.receiver.port is None


def test_the_wait_grows_and_has_a_limit() -> None:
    """A bus that cannot be opened is tried again after 0.5, 1, 1, 1 ... s (row T22)."""
    script = Script(["no such device"] * 5).run()
    assert script.waits_s == [0.5, 1.0, LONGEST_WAIT_S, LONGEST_WAIT_S, LONGEST_WAIT_S]
    assert script.receiver.opened == 0


def test_the_wait_grows_for_a_bus_that_opens_and_fails() -> None:
    """A link that is down opens without error and fails on receive: it must not spin (trap 2)."""
    assert Script([[DOWN]] * 4).run().waits_s == [0.5, 1.0, 1.0, 1.0]


def test_the_wait_starts_anew_after_a_frame() -> None:
    """A frame shows that the bus works: the next failure waits the shortest time."""
    script = Script(["down", "down", "down", [data_message(), DOWN], [DOWN], "down"])
    assert script.run().waits_s == [0.5, 1.0, 1.0, 0.5, 1.0, 1.0]


def test_silence_reopens_without_a_wait() -> None:
    """A silent bus is reopened at once: meanwhile an open must find a port (trap 3)."""
    script = Script([[data_message()], [], [], [data_message()]], silence_s=1.0).run()
    assert script.receiver.opened == 4
    assert script.waits_s == []
    assert [bus.closed for bus in script.buses] == [True] * 4
    assert len(script.frames) == 2


def test_silence_after_failures_forgets_them() -> None:
    """A bus that opens and is merely silent starts the waits anew."""
    assert Script(["down", "down", [], "down"]).run().waits_s == [0.5, 1.0, 0.5]


@pytest.mark.parametrize(("silence_s", "polls"), [(POLL_S, 1), (1.0, 20), (5.0, 100)])
def test_how_long_silence_lasts(silence_s: float, polls: int) -> None:
    """The bus is reopened after so many polls without a frame, not one more or less."""
    script = Script([[data_message()]], silence_s).run()
    assert sum(each == POLL_S for each in script.buses[0].timeouts_s) == polls


def test_error_frames_are_no_silence() -> None:
    """A burst of error frames between two data frames does not reopen the bus."""
    script = Script([[data_message(), *[error_message()] * 200, data_message()]], 0.2).run()
    assert (len(script.frames), script.receiver.opened) == (2, 1)


def test_the_last_error_is_kept() -> None:
    """What failed last can be shown."""
    script = Script([[DOWN]])
    assert script.receiver.last_error == ""
    script.receiver.run()
    assert script.receiver.last_error == "the script is over"


def test_trouble_is_told_once_and_so_is_its_end() -> None:
    """One call for each new reason, one when frames come again; none for silence."""
    script = Script(["down", "down", "gone", [], [data_message(), data_message(), DOWN], [DOWN]])
    told: list[str] = []
    script.receiver._on_trouble = told.append
    script.run()
    down = str(DOWN)
    assert told == ["down", "gone", "", down, "the script is over"]


def test_an_adapter_that_cannot_be_closed_ends_nothing() -> None:
    """A pulled adapter fails on close too; the thread goes on."""
    script = Script([[DOWN], [data_message()]])
    first = script.open

    def open_badly() -> Port:
        port = first()
        script.buses[-1].shutdown_error = OSError(errno.EIO, "gone")
        return port

    script.receiver._open_bus = open_badly
    script.run()
    assert len(script.frames) == 1


def test_an_unknown_error_goes_up_and_the_bus_is_closed() -> None:
    """A bug in `take` ends the thread, to be seen by the supervisor; nothing hides it."""
    script = Script([[data_message()]])

    def take(_frames: Sequence[Frame]) -> None:
        raise ZeroDivisionError

    script.receiver._take = take
    with pytest.raises(ZeroDivisionError):
        script.receiver.run()
    assert script.buses[0].closed
    assert script.receiver.port is None


def test_stopped_before_it_starts() -> None:
    """A receiver told to stop opens nothing."""
    script = Script([[data_message()]])
    script.receiver.stop()
    script.receiver.run()
    assert script.buses == []


def test_every_pass_beats() -> None:
    """The watchdog sees movement in silence, in failure and under load."""
    script = Script(["down", [], [data_message()]], silence_s=1.0).run()
    assert script.receiver.beats == 4 + 20 + 21


@pytest.fixture
def running(channel: str) -> Iterator[tuple[Receiver, list[Frame], can.BusABC]]:
    """Return a receiver that runs on a real virtual bus, its frames, and another node."""
    frames: list[Frame] = []
    receiver = Receiver(
        lambda: open_port(BusSettings("virtual", channel), time.monotonic), frames.extend
    )
    thread = threading.Thread(target=receiver.run)
    with can.Bus(interface="virtual", channel=channel) as other:
        thread.start()
        yield receiver, frames, other
        receiver.stop()
        thread.join(5)
    assert not thread.is_alive()


def until(done: "list[Frame]", count: int) -> None:
    """Wait until so many frames came, at most 5 s."""
    end_s = time.monotonic() + 5
    while len(done) < count and time.monotonic() < end_s:
        threading.Event().wait(0.005)


def test_on_a_real_virtual_bus(running: tuple[Receiver, list[Frame], can.BusABC]) -> None:
    """Frames of another node and our own echo arrive; stop ends the thread."""
    receiver, frames, other = running
    end_s = time.monotonic() + 5
    while receiver.port is None and time.monotonic() < end_s:
        threading.Event().wait(0.005)
    other.send(data_message(0x101))
    until(frames, 1)
    port = receiver.port
    assert port is not None
    port.send(Frame(0.0, 0x102, extended=False, data=b"\x01"))
    until(frames, 2)
    assert [frame.can_id for frame in frames] == [0x101, 0x102]


def test_the_numbers_of_the_back_off() -> None:
    """Rule 25 would wait up to 30 s; T22 wants the bus back within 2 s: 1 s is the most."""
    assert (module.FIRST_WAIT_S, module.LONGEST_WAIT_S) == (0.5, 1.0)


def test_a_bus_just_opened_is_in_doubt_until_it_was_looked_at() -> None:
    """A close must not slip through between the opening and the first look at the controller."""
    seen: list[str] = []

    class Watched(Port):
        def receive_many(self, timeout_s: float) -> Sequence[Frame]:
            seen.append(receiver.doubt)
            if len(seen) > 1:
                receiver.stop()
            return super().receive_many(timeout_s)

    receiver = Receiver(lambda: Watched(HostileBus([None] * 9), lambda: 0.0), lambda _: None)
    receiver.run()
    assert seen == [module.NOT_OPEN, ""]


def test_the_reason_why_the_bus_is_not_open() -> None:
    """Who looks at status, page or doctor need not look into the log for it."""
    script, seen = Script(["no interface with this name"]), []

    def pause(stop: threading.Event, _seconds: float) -> bool:
        seen.append(script.receiver.facts()["trouble"])
        return stop.is_set()

    script.receiver._pause = pause
    assert script.receiver.facts()["trouble"] == "the bus is not open"
    script.receiver.run()
    assert seen[0] == "the bus is not open: no interface with this name"
