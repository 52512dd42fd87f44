"""The control thread: what wakes it, what it does in which order, and who else uses our frames."""

import threading
from itertools import pairwise
from pathlib import Path

import pytest

from agent.clock import FakeClock, SystemClock
from agent.control_loop import LEAST_GAP_S, ControlLoop
from agent.errors import IllegalTransition
from bms_can.frame import Frame
from tests.agent.rig import CLOSE, OPEN, UID, Rig, ess_bau, quick_rig
from tests.bms_can.build import Battery

CONTROL = Frame(0.0, 0x1811F4E5, extended=True, data=bytes(8))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a bench with an open battery that has been heard for a while."""
    return quick_rig(tmp_path)


def is_woken(rig: Rig, frame: Frame) -> bool:
    """Tell whether a frame wakes the loop."""
    rig.loop._wake.clear()
    rig.loop.take(frame)
    return rig.loop._wake.is_set()


def test_what_wakes_it(rig: Rig) -> None:
    """What a status rests on does; the same again, mere numbers and bad frames do not."""
    battery = Battery(*ess_bau())
    now_s = rig.clock.monotonic_s()
    at_rest, power, more = (
        battery.frame("BAU_Electrical", now_s, total_current=current) for current in (0, 80, 81)
    )
    assert not is_woken(rig, at_rest)
    assert is_woken(rig, power)
    assert not is_woken(rig, power)
    assert not is_woken(rig, more)
    assert not is_woken(rig, battery.frame("BAU_Limits", now_s))
    assert not is_woken(rig, Frame(now_s, 0x123, extended=False, data=b"\x01"))
    broken = battery.frame("BAU_State", now_s)
    assert not is_woken(rig, broken._replace(data=bytes(8)))
    rig.loop._wake.clear()
    rig.loop.wake()
    assert rig.loop._wake.is_set()


def test_status_comes_before_commands(rig: Rig) -> None:
    """Interlock and report judge the same status: an alarm heard just now stops the close."""
    rig.pack.raise_alarm("cell_high_temp_alarm", 2)
    rig.bus_goes_on(0.3)
    identity = rig.offer(CLOSE)
    rig.loop.step()
    assert rig.status.alarm_count == 1
    assert rig.state(identity) == "rejected"


def test_the_step_says_when_the_next_one_is_due(rig: Rig) -> None:
    """Ten times a second, and 200 times with a command in flight."""
    assert rig.loop.step() == 0.1
    rig.offer(CLOSE)
    assert rig.loop.step() == 0.005


def test_every_frame_is_recorded(rig: Rig) -> None:
    """The flight recorder gets every frame, also echoes, strangers and foreign ones."""
    kept: list[Frame] = []
    loop = ControlLoop(
        rig.device, rig.observer, rig.executor, rig.clock, rig.foreign.append, kept.extend
    )
    stranger = Frame(1.0, 0x123, extended=False, data=b"\x01")
    for frame in (CONTROL, stranger):
        loop.take(frame)
    assert kept == [CONTROL, stranger]


def test_each_pass_is_announced(rig: Rig) -> None:
    """What is to be done in every pass is done after status and commands."""
    seen: list[bool] = []
    rig.loop.each_pass = lambda: seen.append(rig.executor.busy)
    rig.offer(CLOSE)
    rig.loop.step()
    assert seen == [True]


def test_an_echo_is_no_stranger(rig: Rig) -> None:
    """Our own frames come back and change nothing but the command."""
    rig.do(CLOSE)
    assert rig.loop.foreign == 0
    assert rig.foreign == []
    assert rig.device.control.foreign == ""


def test_another_master_is_announced_once(rig: Rig) -> None:
    """A stranger with our identifier latches at its first frame; a hundred more are counted."""
    for _ in range(100):
        assert is_woken(rig, CONTROL)
    assert rig.loop.foreign == 100
    assert len(rig.foreign) == 1
    assert rig.device.control.foreign == "1811F4E5#0000000000000000"
    rig.device.control.clear()
    rig.loop.take(CONTROL)
    assert len(rig.foreign) == 2


def test_a_late_frame_of_an_earlier_life_latches(rig: Rig) -> None:
    """A frame that comes out of a queue after a restart is nobody's: no close from then on."""
    rig.wire.held = True
    rig.gate.remember(CLOSE, rig.clock.monotonic_s())
    rig.do(OPEN, 0.1)
    assert len(rig.frames()) == 1
    rig.stop()
    rig.start()
    rig.run(1.0)
    rig.wire.held = False
    rig.run(0.1)
    assert rig.device.control.foreign.startswith("1811F4E5#0200")
    refused = rig.do(CLOSE, 0.1)
    assert rig.state(refused) == "rejected"


def test_the_thread_steps_until_it_is_stopped(rig: Rig) -> None:
    """The body of the thread counts its passes, hears what wakes it, and ends when told to."""
    passes = threading.Semaphore(0)
    loop = ControlLoop(rig.device, rig.observer, rig.executor, SystemClock(), rig.foreign.append)
    loop.each_pass = passes.release
    thread = threading.Thread(target=loop.run)
    thread.start()
    for _ in range(5):
        assert passes.acquire(timeout=5.0)
        loop.wake()
    loop.stop()
    thread.join(5.0)
    assert not thread.is_alive()
    assert loop.beats >= 5


def test_passes_have_a_least_gap(rig: Rig) -> None:
    """However often it is woken, a pass comes no sooner than some milliseconds after the last."""
    clock = FakeClock(auto=True)
    loop = ControlLoop(rig.device, rig.observer, rig.executor, clock, rig.foreign.append)
    times_s: list[float] = []

    def note() -> None:
        times_s.append(clock.monotonic_s())
        loop.wake()
        if len(times_s) == 4:
            loop.stop()

    loop.each_pass = note
    loop.run()
    gaps_s = [after - before for before, after in pairwise(times_s)]
    assert gaps_s == [pytest.approx(LEAST_GAP_S)] * 3


def test_an_error_of_ours_ends_the_thread(rig: Rig) -> None:
    """What should not be possible is not swallowed: the supervisor has to see it."""

    def fail(_: str) -> None:
        raise IllegalTransition("held -> sent")

    rig.journal.before = fail
    rig.offer(CLOSE)
    with pytest.raises(IllegalTransition):
        rig.loop.run()
    assert rig.device.uid == UID
