"""The whole system in one process, from seeds: `python -m bench.simulate --steps N --seed S`.

Runs worlds of some 2,500 steps each, with seeds S, S + 1, ... until N steps are done; one in
four has a held request, the others not, unless `--kind` says otherwise. Each broken
promise is printed with its seed, its step and the way to run it again; then the exit code is 1.
"""

import argparse
import sys
import time

from tests.simulation.episodes import many
from tests.simulation.kinds import KINDS


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--episodes", type=int, help="exactly so many worlds")
    parser.add_argument("--kind", choices=sorted(KINDS), default="", help="else the seeds choose")
    asked = parser.parse_args()
    began_s = time.perf_counter()
    total = many(
        asked.seed,
        asked.steps,
        episodes=asked.episodes,
        jobs=asked.jobs,
        say=print,
        kind=asked.kind,
    )
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
