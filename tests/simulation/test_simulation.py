"""The whole system under random faults of all kinds: every promise at every step (row T65)."""

from pathlib import Path

import pytest

from tests.simulation.episodes import Summary, episode, many
from tests.simulation.faults import FAULTS
from tests.simulation.invariants import CLOSE, OPEN, RESET
from tests.simulation.world import World

PROMISES = {"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "proof"}


@pytest.mark.slow
def test_no_promise_is_broken() -> None:
    """Ten thousand steps of worlds with all faults: each promise holds at each of them."""
    total = many(seed=1, steps=10_000, kind="plain")
    assert total.found == [], "\n".join(str(found) for found in total.found)
    assert total.steps >= 10_000
    assert set(total.checks) == PROMISES


@pytest.mark.proof
def test_a_hundred_thousand_steps() -> None:
    """10^5 steps: no promise is broken, and each was really put to the test by every fault."""
    total = many(seed=1, steps=100_000, kind="plain")
    rare = tuple(sorted(set(FAULTS) - set(total.tally)))  # chance leaves one out now and then
    for seed in range(1000, 1010):
        if set(rare) - set(total.tally):
            episode(seed, total, favoured=rare)
    assert total.found == [], "\n".join(str(found) for found in total.found)
    assert total.steps >= 100_000
    assert set(total.checks) == PROMISES
    assert min(total.checks.values()) > 50
    assert set(FAULTS) <= set(total.tally)
    assert total.frames > 100
    ends = {text.split()[0] for text in total.ends}
    assert {"held", "rejected", "expired", "failed", "cancelled"} <= ends


def test_a_seed_replays_identically() -> None:
    """The same seed gives the same trace, step for step; another one another."""
    summary = Summary()
    for seed in (7, 7, 8):
        episode(seed, summary, steps=800)
    first, again, other = summary.traces
    assert first == again
    assert first != other


def test_without_faults_commands_do_what_they_say(folder: Path) -> None:
    """In a world in order a close, an open and a reset are carried out, proven and told."""
    world = World(3, folder)
    try:
        world.run_for(5.0)
        ids = []
        for code, seconds in ((CLOSE, 15.0), (OPEN, 10.0)):
            ids.append(world.issue(code))
            world.run_for(seconds)
        world.begin("latched fault")
        world.run_for(1.0)
        world.end("latched fault")
        ids.append(world.issue(RESET))
        world.run_for(10.0)
        world.finish()
        steps = world.invariants.ledger.steps
        life = ["accepted", "gated", "sending", "sent", "acknowledged", "succeeded", "held"]
        assert [[step.state for step in steps[each]] for each in ids] == [life] * 3
        assert [len(world.link.handed), len(world.link.on_wire)] == [9, 9]
    finally:
        world.close()
