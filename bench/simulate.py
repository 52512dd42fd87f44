"""The whole system in one process, from seeds: `python -m bench.simulate --steps N --seed S`.

Runs worlds of some 2,500 steps each, with seeds S, S + 1, ... until N steps are done. Each broken
promise is printed with its seed, its step and the way to run it again; then the exit code is 1.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import count

from tests.simulation.episodes import EPISODE_STEPS, Summary, episode


def one(seed: int) -> Summary:
    """Run one world."""
    summary = Summary()
    episode(seed, summary)
    return summary


def simulate(steps: int, seed: int, jobs: int, episodes: int | None = None) -> Summary:
    """Run worlds until so many steps are done.

    Args:
        steps: at least so many.
        seed: of the first world.
        jobs: processes at a time.
        episodes: exactly so many worlds instead.
    """
    total = Summary()
    with ProcessPoolExecutor(jobs) as pool:
        for first in count(seed, jobs * 4):
            left = (steps - total.steps + EPISODE_STEPS - 1) // EPISODE_STEPS
            wanted = left if episodes is None else episodes - total.episodes
            if wanted <= 0:
                return total
            for summary in pool.map(one, range(first, first + min(wanted, jobs * 4))):
                total.add(summary)
                for found in summary.found:
                    print(found, flush=True)
    return total


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--episodes", type=int, help="exactly so many worlds")
    asked = parser.parse_args()
    began_s = time.perf_counter()
    total = simulate(asked.steps, asked.seed, asked.jobs, asked.episodes)
    took_s = time.perf_counter() - began_s
    print(f"{total.steps} steps in {took_s:.1f} s ({total.steps / took_s:.0f} a second)")
    print(f"{total.episodes} worlds, {total.simulated_s / 3600:.1f} h of their time")
    print(f"{total.frames} control frames; faults: {total.tally.total()}")
    for title, counted in (
        ("checks by promise", total.checks),
        ("how commands ended", total.ends),
        ("what happened", total.tally),
    ):
        print(f"{title}: " + ", ".join(f"{name} {n}" for name, n in sorted(counted.items())))
    print(f"broken promises: {len(total.found)}")
    return 1 if total.found else 0


if __name__ == "__main__":
    sys.exit(main())
