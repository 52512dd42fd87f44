"""Random identifiers: how often is a counter, checksum or number found where there is none?

    make false-findings N=20000

Prints what was found in N random identifiers of four kinds, and in N with something planted.
"""

import sys

import numpy as np

from bms_can.examine.checksums import find_checksum
from bms_can.examine.counters import find_counters
from bms_can.integrity import ALGORITHMS
from tests.bms_can.examine.planted import count, noise, seal

KINDS = ("all bits random", "few bits of a byte", "constant bytes", "slow values")


def false_findings(number: int) -> int:
    """Return how many findings there are in random payloads."""
    total = 0
    for kind, words in enumerate(KINDS):
        rng = np.random.default_rng(kind)
        counters = checksums = 0
        for _ in range(number // len(KINDS)):
            data = noise(rng, int(rng.integers(24, 400)), int(rng.integers(2, 9)), kind)
            counters += len(find_counters(data))
            checksums += find_checksum(data, int(rng.integers(0x800))) is not None
        print(
            f"{words:20} {number // len(KINDS):7} ids: {counters} counters, {checksums} checksums"
        )
        total += counters + checksums
    return total


def missed(number: int) -> int:
    """Return how many planted counters with a checksum are not found as they are."""
    names = sorted(ALGORITHMS)
    rng = np.random.default_rng(99)
    wrong = 0
    for turn in range(number):
        bits, algorithm = int(rng.integers(2, 9)), names[turn % len(names)]
        data = noise(rng, 300, 8, turn % 3)
        data[:, 1] = rng.integers(0, 256, 300, dtype=np.uint8)
        data[:, 2] = rng.integers(0, 256, 300, dtype=np.uint8)
        planted = count(data, (6, 0), bits, little=True, low=0, modulo=1 << bits)
        sealed = seal(planted, 7, algorithm, 0x123)
        places = [(each.byte, each.bit, each.bits) for each in find_counters(sealed)]
        found = find_checksum(sealed, 0x123)
        good = (6, 0, bits) in places and found is not None and found.name == algorithm
        wrong += not good
    print(f"{'planted':20} {number:7} ids: {wrong} not found as planted")
    return wrong


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    sys.exit(1 if false_findings(size) + missed(size) else 0)
