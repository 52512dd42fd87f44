"""Faults that the simulation found, each kept as the shortest run that shows it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.battery import Noise
from tests.simulation.faults import YEAR_S
from tests.simulation.invariants import CLOSE, OPEN, RESET
from tests.simulation.world import World


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    """Give a world in which nothing happens by itself; at most 3 closes in 10 minutes."""
    found = World(1, folder)
    assert found.invariants.limits.close_max == 3
    yield found
    found.close()


def last_state(world: World, command_id: str) -> tuple[str, str]:
    """Return state and reason of a command's newest step on the box."""
    step = world.invariants.ledger.steps[command_id][-1]
    return step.state, step.reason


def deafen(world: World, *messages: str) -> None:
    """Let the battery send no more of some messages."""
    simulator = world.battery.simulator
    senders = [each for each in simulator._senders if each.message.name not in messages]
    simulator._senders = senders


def test_no_status_before_all_was_heard(world: World) -> None:
    """Just started, the box told "powered down" though two required messages were never heard."""
    world.run_for(3.0)
    deafen(world, "BAU_Alarms", "BAU_Faults")
    world.crash(2.0)
    world.run_for(2.6)  # inside the first second after the start nothing is overdue yet
    agent = world.box.agent
    status = agent.observer.status
    assert status is not None
    assert (status.operating, status.disconnected) == (None, False)
    assert status.why == "not heard yet: BAU_Alarms, BAU_Faults"
    world.run_for(3.0)


def test_no_reset_before_all_was_heard(world: World) -> None:
    """Just started, a reset went out to a battery that had not been heard as a whole."""
    world.run_for(3.0)
    deafen(world, "BAU_Alarms", "BAU_Electrical")
    world.crash(2.0)
    command_id = world.issue(RESET)
    world.run_for(3.0)
    assert world.link.handed == []
    assert last_state(world, command_id) == ("rejected", "blocked-by-health")


def test_a_failed_bus_is_back_in_two_seconds(world: World) -> None:
    """The receiver waited up to 30 s before it opened the bus again."""
    world.link.unplug()
    world.run_for(60.0)
    world.link.vanished = False
    world.run_for(2.0)
    status = world.box.agent.observer.status
    assert status is not None
    assert not status.disconnected


def test_a_wall_clock_set_ahead_over_a_reboot_is_a_known_limit(world: World) -> None:
    """How long the machine was off is told by its wall clock alone: then a 4th close goes out.

    Not mended: without it every reboot would block closes for ten minutes. See docs/safety.md.
    """
    world.run_for(5.0)
    for _ in range(3):
        world.issue(CLOSE)
        world.run_for(15.0)
        world.issue(OPEN)
        world.run_for(8.0)
    refused = world.issue(CLOSE)
    world.run_for(1.0)
    assert last_state(world, refused) == ("rejected", "rate-limited")
    world.crash(20.0, reboot=True)
    world.run_for(25.0)
    refused = world.issue(CLOSE)
    world.run_for(1.0)
    assert last_state(world, refused) == ("rejected", "rate-limited")
    world.crash(20.0, reboot=True)
    world.box_clock.wall_off_s = 40 * YEAR_S
    world.run_for(25.0)
    known = world.issue(CLOSE)
    world.run_for(15.0)
    assert last_state(world, known) == ("held", "")


def test_a_slow_disk_makes_no_status_young(world: World) -> None:
    """A report took its status first and then waited for its number: it left seconds old."""
    world.run_for(5.0)
    assert world.box.system is not None
    outbox = world.box.system.outbox
    outbox._end = outbox._next  # the block of numbers is used up: the next one is a write
    world.disk.slow_s = 3.0
    world.box.system.schedule.wake("sync A")
    while world._alone is None:
        world.step()
    world.battery.noise = Noise(cut=True)
    world.run_for(8.0)  # the invariants look at what leaves
    world.disk.slow_s = 0.0
    world.run_for(5.0)
    assert world.platform.shown() is None


def test_silence_settles_nothing(world: World) -> None:
    """An interrupted open stays unknown while the battery is silent, and is settled after that."""
    world.run_for(5.0)
    world.issue(CLOSE)
    world.run_for(12.0)
    command_id = world.issue(OPEN)
    world.arm("after send", 0)
    world.run_for(0.5)
    world.battery.noise = Noise(cut=True)
    world.run_for(60.0)
    assert last_state(world, command_id) == ("unknown", "interrupted")
    world.battery.noise = Noise()
    world.run_for(10.0)
    assert last_state(world, command_id)[0] == "held"
    world.finish()
