"""Power cuts: on how many images of the disk is something wrong? `python -m bench.power_cut N`.

The same with synchronous=NORMAL and OFF shows that the experiment finds losses. On two processors.
"""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random

import apsw

from tests.power_cuts import NORMAL, OFF, images, judge, record
from tests.scratch import scratch

DEFAULT, CHUNK, COMPARED = 2000, 250, 250
PROCESSES = 2
KINDS = ("lost", "gone", "torn", "corrupt", "frame without row", "sent again", "number again")


def look(instead: Mapping[str, str], seed: int) -> Counter[str]:
    """Record one box at work and judge a chunk of images of it."""
    random, found = Random(seed), Counter[str]()  # noqa: S311 - no secret
    with scratch() as folder:
        recording = record(folder, seed, instead)
    for image in images(recording, recording.cuts(CHUNK, random), random):
        with scratch() as folder:
            wrong = judge(recording, image, folder)
        found += wrong
        found["images"] += 1
        found.update(f"images: {kind}" for kind in wrong)
    return found


def measure(name: str, instead: Mapping[str, str], number: int) -> int:
    """Print one line of the table; return how many things were wrong."""
    start_s = time.perf_counter()
    seeds = range(1, 1 + -(-number // CHUNK))
    with ProcessPoolExecutor(PROCESSES) as pool:
        found = sum(pool.map(partial(look, instead), seeds), Counter[str]())
    took_s = time.perf_counter() - start_s
    columns = "".join(f"{found[f'images: {kind}']:>{max(8, len(kind) + 2)}}" for kind in KINDS)
    print(f"{name:8}{found['images']:8}{columns}{took_s:8.0f} s")
    return sum(found.values()) - found["images"]


def main(arguments: list[str]) -> int:
    """Print the table; the exit code says whether the product lost anything."""
    number = int(arguments[0]) if arguments else DEFAULT
    print(f"power cuts, SQLite {apsw.sqlite_lib_version()}: images in which something is wrong")
    head = "".join(f"{kind:>{max(8, len(kind) + 2)}}" for kind in KINDS)
    print(f"{'':8}{'images':>8}{head}{'took':>10}")
    wrong = measure("FULL", {}, number)
    measure("NORMAL", NORMAL, COMPARED)
    measure("OFF", OFF, COMPARED)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
