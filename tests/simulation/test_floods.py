"""Rows T30 and T31: a babbling node, and a million random frames."""

import tracemalloc
from pathlib import Path
from random import Random

import pytest

from bms_can.intake import MOST_UNKNOWN
from tests.hostile import SOCKET_FRAMES
from tests.simulation.battery import Noise, random_message
from tests.simulation.fuzz import fuzz
from tests.simulation.world import World

MIB = 1024 * 1024


@pytest.mark.proof
def test_t31_a_million_random_frames() -> None:
    """No error comes out, and nothing is claimed that valid frames do not say."""
    found = fuzz(1_000_000, seed=31)
    assert found.frames == 1_000_000
    assert found.decoded > 100  # a random checksum fits at times
    assert found.known > 0  # and so does a whole battery's worth of them
    assert found.claims == []


def test_t30_a_babbling_node(folder: Path) -> None:
    """2,600 strange frames a second for 20 s: the battery stays fresh, memory stays bounded.

    That is what a socket's buffer holds between two looks of the battery's tick; the driver alone
    is flooded with 20,000 a second in row T31.
    """
    world = World(4, folder)
    try:
        world.run_for(5.0)
        world.battery.noise = Noise(babble=SOCKET_FRAMES - 20)
        world.run_for(2.0)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        end_s = world.now_s + 20.0
        while world.now_s < end_s:
            world.step()
            status = world.box.agent.observer.status
            assert status is not None
            assert not status.disconnected
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        intake = world.box.agent.device.intake
        assert intake.frames > 50_000
        assert len(intake.unknown) <= MOST_UNKNOWN
        assert grown < 5 * MIB
    finally:
        tracemalloc.stop()
        world.close()


def test_strange_frames_never_look_like_ours() -> None:
    """The noise of the simulation never holds our control identifier: that is another fault."""
    random = Random(1)  # noqa: S311 - a test, no secret
    ids = {random_message(random).arbitration_id for _ in range(10_000)}
    assert 0x1811F4E5 not in ids
