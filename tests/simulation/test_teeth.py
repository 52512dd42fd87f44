"""The promises can be broken: each planted bug is caught, or the simulation would prove nothing."""

from pathlib import Path

import pytest

from tests.simulation.episodes import Summary, episode
from tests.simulation.invariants import CLOSE, Violation
from tests.simulation.plants import PLANTS, Bite, Plant, skips_the_second_look
from tests.simulation.world import World

pytestmark = pytest.mark.proof

MOST_WORLDS = 80  # some bugs need a rare moment; mostly 1 to 8 worlds suffice


@pytest.mark.parametrize(
    ("plant", "bite"), PLANTS.items(), ids=lambda each: getattr(each, "__name__", "")
)
def test_a_planted_bug_is_caught(plant: Plant, bite: Bite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise that the bug breaks is the one that is reported."""
    plant(monkeypatch)
    summary = Summary()
    for seed in range(bite.first, bite.first + MOST_WORLDS):
        episode(seed, summary, favoured=bite.favoured)
        if summary.found:
            break
    assert summary.found, f"not caught in {summary.steps} steps"
    assert summary.found[0].text.split(":")[0] in bite.promises


@pytest.mark.parametrize(
    ("life_ms", "fault", "promise"), [(4_000, "", "I2"), (None, "alarm", "I3")]
)
def test_the_second_look_is_needed(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    life_ms: int | None,
    fault: str,
    promise: str,
) -> None:
    """A box that does not look again after a slow write sends what it must not send."""
    for planted in (False, True):
        if planted:
            skips_the_second_look(monkeypatch)
        world = World(2, folder / str(planted))
        try:
            world.run_for(5.0)
            world.disk.slow_s = 1.6
            command_id = world.issue(CLOSE, life_ms)
            steps = world.invariants.ledger.steps
            while not any(step.state == "gated" for step in steps.get(command_id, ())):
                world.step()
            if fault:
                world.begin(fault)
            if planted:
                with pytest.raises(Violation, match=promise):
                    world.run_for(3.0)
            else:
                world.run_for(5.0)
                assert world.link.handed == []
        finally:
            world.close()
