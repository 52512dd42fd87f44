"""Random cases of delay, clock steps, reboots: how many frames leave after their command's life?

`python -m bench.expiry --cases N --seed S`. See tests/simulation/expiry.py for what a case is. Exit
code 1 if there is a single one.
"""

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.expiry import Outcome, prove

A_SHARE = 2000
SHOWN = 10


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    began_s = time.perf_counter()
    shares = [min(A_SHARE, asked.cases - done) for done in range(0, asked.cases, A_SHARE)]
    total = Outcome()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.jobs, context) as pool:
        seeds = range(asked.seed, asked.seed + len(shares))
        for outcome in pool.map(prove, shares, seeds):
            total.add(outcome)
    took_s = time.perf_counter() - began_s
    ends = ", ".join(f"{name} {number}" for name, number in total.ends.most_common())
    print(f"{total.cases} cases in {took_s:.0f} s, seeds from {asked.seed} on")
    print(f"commands: {ends}")
    print(f"control frames: {total.in_time} within the life of their command")
    print(f"nearest to its end: {total.closest_s * 1000:.3f} ms")
    for line in total.late[:SHOWN]:
        print(f"LATE {line}")
    print(f"control frames after expiry: {len(total.late)}")
    return 1 if total.late else 0


if __name__ == "__main__":
    sys.exit(main())
