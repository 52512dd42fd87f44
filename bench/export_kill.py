"""Kill -9 an export at random moments: `python -m bench.export_kill N [SEED]`.

See tests/system/export_rig.py.
After each kill, what a reader finds must be whole and right; after the next run, complete, byte for
byte. Exit code 1 if anything else was found.
"""

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.system.export_rig import Rig, kill_one, start

DEFAULT = 100


def main(words: list[str]) -> int:
    """Kill and look, N times."""
    count, seed = (int(word) for word in (*words, *(str(DEFAULT), "1")[len(words) :]))
    chance, found = random.Random(seed), []  # noqa: S311 - chance
    with tempfile.TemporaryDirectory(prefix="export-kill-") as folder:
        rig = Rig(Path(folder))
        began_s = time.monotonic()
        start(*rig.words("whole")).communicate()
        whole_s = time.monotonic() - began_s  # with its start, which is before the first file
        for number in range(count):
            wrong = kill_one(rig, "out", chance, 0.8 * whole_s)
            found += [f"kill {number}: {each}" for each in wrong]
            shutil.rmtree(rig.folder / "out")
    print(f"{count} kills, seed {seed}, within {0.8 * whole_s:.2f} s: {len(found)} mistakes")
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
