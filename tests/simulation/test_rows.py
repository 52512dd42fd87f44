"""Rows T17 to T19, T22, T23, T25, T26: the whole agent on a hostile bus, in fake time."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bms_can.misbehaviour import misbehaviour
from bms_can.status import BmsStatus
from tests.hostile import data_message
from tests.simulation.battery import CONTROL_ID, TICK_S, Noise
from tests.simulation.invariants import CLOSE, OPEN
from tests.simulation.witness import ALARMS, ELECTRICAL, FAULTS, LIMIT_S, STATE
from tests.simulation.world import World

NUMBERS = (errno.ENOBUFS, errno.ENETDOWN, errno.ENODEV, errno.EBADF, errno.EIO)
FAULT_S = 20.0
BACK_S = 2.0


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    """Give a world in order, the battery heard for 5 s; nothing happens by itself."""
    found = World(2, folder)
    found.run_for(5.0)
    yield found
    found.close()


def status(world: World) -> BmsStatus:
    """Return the box's newest status."""
    found = world.box.agent.observer.status
    assert found is not None
    return found


def life(world: World, command_id: str) -> list[str]:
    """Return the states of a command, as its journal has them."""
    return [step.state for step in world.invariants.ledger.steps[command_id]]


def codes(world: World) -> list[int]:
    """Return the first byte of every control frame that was handed to the bus."""
    return [message.data[0] for _, message in world.link.handed]


# --- T17: the transmit queue stalls


def test_t17_a_stalled_queue_latches(world: World) -> None:
    """A close that is stuck latches within 120 ms, nothing follows it, and a person has to look.

    There is no purge: the stuck frame itself comes out when the queue moves. See docs/safety.md.
    """
    world.link.acknowledged = False
    command_id = world.issue(CLOSE)
    while not world.link.handed:
        world.step()
    world.run_for(0.12)
    assert world.box.agent.device.control.unsafe
    world.run_for(2.0)
    assert life(world, command_id)[-2:] == ["sending", "failed"]
    again = world.issue(CLOSE)
    world.run_for(120.0)
    assert life(world, again) == ["accepted", "rejected"]
    assert len(world.link.handed) == 1
    world.link.acknowledged = True
    world.link.flush()
    world.run_for(30.0)
    assert len(world.link.on_wire) == 1
    assert world.box.agent.device.control.unsafe
    world.clear_latches()
    assert not world.box.agent.device.control.unsafe


def test_t17_nobody_there_means_no_frame(world: World) -> None:
    """With the battery away nothing acknowledges; then no close is ever handed to the bus."""
    world.begin("nobody acknowledges")
    world.run_for(2.0)
    command_id = world.issue(CLOSE)
    world.run_for(5.0)
    assert life(world, command_id) == ["accepted", "rejected"]
    assert world.link.handed == []


def test_t17_the_latch_survives_a_restart(world: World) -> None:
    """A frame in an adapter's queue outlives the process, so the latch does too."""
    world.link.acknowledged = False
    world.issue(CLOSE)
    world.run_for(2.0)
    world.crash(1.0)
    world.run_for(8.0)
    command_id = world.issue(CLOSE)
    world.run_for(5.0)
    assert life(world, command_id) == ["accepted", "rejected"]


# --- T18, T19: echo and foreign master


def test_t18_without_an_echo_nothing_counts_as_sent(world: World) -> None:
    """The frame reached the battery, but never came back: failed, not sent, and latched."""
    world.link.echo = False
    command_id = world.issue(CLOSE)
    world.run_for(3.0)
    assert life(world, command_id) == ["accepted", "gated", "sending", "failed"]
    assert len(world.link.handed) == 1
    opening = world.issue(OPEN)
    world.run_for(10.0)
    assert "sending" in life(world, opening)  # opening is the safe side


def test_t19_one_foreign_frame_latches(world: World) -> None:
    """One control frame of another master: told to the platform, closes refused, opens not."""
    world.link.deliver(data_message(CONTROL_ID, bytes(8), extended=True))
    world.run_for(0.2)
    assert world.box.agent.device.control.foreign
    closing = world.issue(CLOSE)
    world.run_for(2.0)
    assert world.invariants.ledger.steps[closing][-1].reason == "locked-by-other-client"
    opening = world.issue(OPEN)
    world.run_for(10.0)
    assert life(world, opening)[:3] == ["accepted", "gated", "sending"]
    assert set(codes(world)) == {2}
    details = world.platform.services.statuses.details("A")
    assert details["box"]["foreign_master"]


# --- T22, T23: every error, once and for ever; unplugged


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("side", ["send_errno", "recv_errno"])
def test_t22_an_error_for_ever(world: World, side: str, number: int) -> None:
    """No thread dies, the box does not spin or babble into its log, and is back within 2 s."""
    lines, opened, asked = world.tally["log lines"], world.link.opened, world.link.asked
    setattr(world.link, side, number)
    command_id = world.issue(OPEN)
    world.issue(CLOSE)
    world.run_for(FAULT_S)
    assert world.tally["log lines"] - lines < 10
    assert world.link.opened - opened < 2 * FAULT_S
    assert world.link.asked - asked < 100 * FAULT_S
    assert world.link.handed == []
    # Already open, so no frame; or silent, so one was tried that the driver did not take.
    assert life(world, command_id)[-1] in {"held", "succeeded", "failed"}
    setattr(world.link, side, None)
    world.run_for(BACK_S)
    assert not status(world).disconnected
    assert world.invariants.process == 1


@pytest.mark.parametrize("number", NUMBERS)
def test_t22_an_error_once(world: World, number: int) -> None:
    """One error on receive: reopened, and heard again within 2 s."""
    opened = world.link.opened
    world.link.once.append(number)
    world.run_for(BACK_S)
    assert world.link.opened == opened + 1
    assert not status(world).disconnected


def test_t23_an_adapter_is_pulled(world: World) -> None:
    """One error, then silence: the status is withdrawn in its limit, and comes back."""
    world.link.unplug()
    world.run_for(max(LIMIT_S.values()) + 2 * TICK_S)
    assert (status(world).disconnected, status(world).operating) == (True, None)
    world.run_for(60.0)
    assert world.platform.shown() is None
    world.link.vanished = False
    world.run_for(BACK_S)
    assert not status(world).disconnected


# --- T25, T26: silence and frozen frames, one message at a time

QUIET: dict[str, tuple[int, Callable[[str], str]]] = {
    f"{name} {kind}": (can_id, word)
    for name, can_id in (
        ("BAU_State", STATE),
        ("BAU_Electrical", ELECTRICAL),
        ("BAU_Alarms", ALARMS),
        ("BAU_Faults", FAULTS),
    )
    for kind, word in (
        ("silent", lambda message: f"silent={message}"),
        ("frozen", lambda message: f"frozen_counter={message}"),
        ("wrong checksum", lambda message: f"wrong_checksum={message}"),
    )
}


@pytest.mark.parametrize("case", QUIET)
def test_t25_t26_silence_of_each_message(world: World, case: str) -> None:
    """Silent, frozen or unreadable: disconnected at the limit, within a tick; never 1 after it."""
    can_id, word = QUIET[case]
    wrong = misbehaviour([word(case.split(maxsplit=1)[0])])
    world.battery.simulator.tell(lambda pack: pack.misbehave(wrong))
    world.run_for(TICK_S * 2)  # the last good one may have been on its way
    last_s = world.invariants.witness.frames[can_id][-1].at_s
    while not status(world).disconnected:
        assert world.now_s < last_s + 5.0
        world.step()
    late_s = world.now_s - last_s - LIMIT_S[can_id]
    assert 0 <= late_s <= TICK_S + 0.06  # a tick of the idle loop, and the slowness of this box
    world.run_for(40.0)
    assert world.platform.shown() is None


def test_t25_the_platform_hears_of_it_at_once(world: World) -> None:
    """A cut cable is told within its limit and a second, not at the next period."""
    assert world.platform.shown() == 1
    world.battery.noise = Noise(cut=True)
    world.run_for(max(LIMIT_S.values()) + 1.0)
    view = world.platform.services.statuses.get("A")
    assert (view.operating_status, view.disconnected) == (None, 1)
