"""The promises can be broken: each planted bug is caught, or the simulation would prove nothing."""

import pytest

from tests.simulation.episodes import Summary, episode
from tests.simulation.plants import PLANTS, Bite, Plant

MOST_WORLDS = 40  # some bugs need a rare moment; 1 to 8 worlds have sufficed


@pytest.mark.parametrize(
    ("plant", "bite"), PLANTS.items(), ids=lambda each: getattr(each, "__name__", "")
)
def test_a_planted_bug_is_caught(plant: Plant, bite: Bite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise that the bug breaks is the one that is reported."""
    plant(monkeypatch)
    summary = Summary()
    for seed in range(MOST_WORLDS):
        episode(seed, summary, favoured=bite.favoured)
        if summary.found:
            break
    assert summary.found, f"not caught in {summary.steps} steps"
    assert summary.found[0].text.split(":")[0] in bite.promises
