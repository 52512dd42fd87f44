"""Random frames against the driver: `python -m bench.fuzz_frames --frames 10000000 --seed S`.

An error that comes out of the driver ends it with a traceback. Exit code 1 if the driver claimed
something about the battery that no valid frame said.
"""

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.fuzz import fuzz

A_SHARE = 500_000


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    began_s = time.perf_counter()
    shares = [min(A_SHARE, asked.frames - done) for done in range(0, asked.frames, A_SHARE)]
    with ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(fuzz, shares, range(asked.seed, asked.seed + len(shares))))
    frames, took_s = sum(each.frames for each in found), time.perf_counter() - began_s
    claims = [claim for each in found for claim in each.claims]
    print(f"{frames} random frames in {took_s:.0f} s ({frames / took_s:.0f} a second)")
    print(f"decoded, their checksum fitting by chance: {sum(each.decoded for each in found)}")
    looks, known = sum(each.looks for each in found), sum(each.known for each in found)
    print(f"status looked at {looks} times, known {known} times; errors: 0")
    for claim in claims[:10]:
        print(f"CLAIM {claim}")
    print(f"claims that no valid frame made: {len(claims)}")
    return 1 if claims else 0


if __name__ == "__main__":
    sys.exit(main())
