"""Worlds with a held request: the promises of ADR 0014 in any order of faults, and their teeth."""

from pathlib import Path

import pytest

from tests.simulation.episodes import Summary, episode, many
from tests.simulation.faults import FAULTS
from tests.simulation.invariants import CLOSE, OPEN
from tests.simulation.kinds import HELD
from tests.simulation.plants import Bite, Plant
from tests.simulation.plants_held import HELD_PLANTS, outlives_the_lockout
from tests.simulation.world import World

PROMISES = {"H0", "H1", "H2", "H3", "H4", "H5", "H6"}
MOST_WORLDS = 40
QUICK = (outlives_the_lockout,)


@pytest.mark.proof
def test_no_promise_of_a_hold_is_broken() -> None:
    """Four worlds with all faults: each promise holds at each step, and each was tested."""
    total = many(seed=1, steps=0, episodes=4, kind="held")
    assert total.found == [], "\n".join(str(found) for found in total.found)
    assert set(total.checks) >= PROMISES


@pytest.mark.proof
def test_a_hundred_thousand_steps_with_a_held_request() -> None:
    """10^5 steps: no promise is broken, with every fault, and with thousands of closed frames."""
    total = many(seed=1, steps=100_000, kind="held")
    rare = tuple(sorted(set(FAULTS) - set(total.tally)))
    for seed in range(1000, 1010):
        if set(rare) - set(total.tally):
            episode(seed, total, favoured=rare, kind=HELD)
    assert total.found == [], "\n".join(str(found) for found in total.found)
    assert total.steps >= 100_000
    assert total.checks["H3"] > 1000
    assert set(FAULTS) <= set(total.tally)


def test_in_order_a_hold_begins_lasts_and_ends(folder: Path) -> None:
    """Closed goes out from the close to the open, ten times a second; else rest does."""
    world = World(3, folder, kind=HELD)
    try:
        world.run_for(8.0)
        closed = world.issue(CLOSE)
        world.run_for(15.0)
        opened = world.issue(OPEN)
        world.run_for(10.0)
        world.finish()
        steps = world.invariants.ledger.steps
        life = ["accepted", "gated", "sending", "sent", "succeeded", "held"]
        assert [[step.state for step in steps[each]] for each in (closed, opened)] == [life, life]
        words = "".join("C" if message.data[0] else "r" for _, message in world.link.handed)
        assert words.strip("r").strip("C") == ""
        assert words.count("C") == pytest.approx(150, abs=5)
    finally:
        world.close()


def _caught(plant: Plant, bite: Bite, patch: pytest.MonkeyPatch) -> None:
    plant(patch)
    summary = Summary()
    for seed in range(bite.first, bite.first + MOST_WORLDS):
        episode(seed, summary, favoured=bite.favoured, kind=HELD)
        if summary.found:
            break
    assert summary.found, f"not caught in {summary.steps} steps"
    assert summary.found[0].text.split(":")[0] in bite.promises, str(summary.found[0])


@pytest.mark.slow
@pytest.mark.parametrize("plant", QUICK, ids=lambda each: each.__name__)
def test_a_planted_bug_of_a_hold_is_caught(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst: the promise that the bug breaks is the one that is reported."""
    _caught(plant, HELD_PLANTS[plant], monkeypatch)


@pytest.mark.proof
@pytest.mark.parametrize(
    "plant", [each for each in HELD_PLANTS if each not in QUICK], ids=lambda each: each.__name__
)
def test_each_planted_bug_of_a_hold_is_caught(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all others."""
    _caught(plant, HELD_PLANTS[plant], monkeypatch)
