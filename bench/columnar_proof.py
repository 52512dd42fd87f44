"""Logs as columns against the slow ways, at full size: `python -m bench.columnar_proof`.

Random databases and frames: every value of every frame against cantools, and what is accepted and
usable against the live codec. Mutated lines: each good line read, each bad one with its reason, as
candump.py alone says. Both with the compiled loops and with numpy. Exit code 1 on any difference.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bms_can.columnar.chunk import frames as frames_of
from bms_can.columnar.decode import Decoder
from bms_can.columnar.kernel import SWITCH, why_not
from bms_can.columnar.scan import scan
from bms_can.database import load
from bms_can.errors import BadLogLine
from bms_can.frame import Frame
from tests.bms_can.columnar.dbcs import dbc, frames
from tests.bms_can.columnar.decoding import by_cantools, by_codec, by_columns, chunk_of, same
from tests.bms_can.columnar.texts import entries, text

LINES_A_LOG = 20_000


class Tally(NamedTuple):
    """What was compared in one case, and the first difference."""

    frames: int = 0
    values: int = 0
    lines: int = 0
    bad: int = 0
    difference: str = ""


def of_database(folder: Path, seed: int, count: int) -> Tally:
    """Compare one random database with cantools; every third, of overlaps, with the codec."""
    overlap = seed % 3 == 0
    made = dbc(seed, overlap=overlap)
    path = folder / "random.dbc"
    path.write_text(made.text)
    database = load(path)
    sent = list(frames(made, seed, count))
    chunk = chunk_of(sent)
    values = 0
    way = by_codec if overlap else by_cantools
    found = by_columns(Decoder(database, exact=overlap), chunk, live=overlap)
    for frame, one, other in zip(sent, found, way(database, sent), strict=True):
        if not same(one, other):
            return Tally(len(sent), values, difference=f"seed {seed}: {frame} {one} {other}")
        values += 0 if one is None else len(one.values)
    return Tally(len(sent), values)


def of_lines(folder: Path, seed: int, count: int) -> Tally:
    """Compare one mutated log with what the line parser makes of it."""
    path = folder / "x.log"
    path.write_bytes(text(seed, count))
    chunks = list(scan(path))
    told = [
        each for chunk in chunks for each in zip(chunk.line.tolist(), frames_of(chunk), strict=True)
    ]
    counts = sum((Counter(chunk.bad_counts) for chunk in chunks), Counter[str]())
    expected = list(entries(path))
    good = [each for each in expected if isinstance(each[1], Frame)]
    reasons = Counter(each.reason for _, each in expected if isinstance(each, BadLogLine))
    fine = told == good and counts == reasons
    difference = "" if fine else f"log of seed {seed}: {set(told) ^ set(good)} {counts} {reasons}"
    return Tally(len(good), 0, len(expected), sum(reasons.values()), difference[:1000])


def _run(name: str, cases: Iterator[Tally]) -> int:
    began_s = time.perf_counter()
    found = list(cases)
    differences = [each.difference for each in found if each.difference]
    frames_seen, values = sum(each.frames for each in found), sum(each.values for each in found)
    lines, bad = sum(each.lines for each in found), sum(each.bad for each in found)
    print(
        f"{name}: {len(found)} cases, {frames_seen} frames, {values} values, {lines} lines with a "
        f"meaning, {bad} of them bad; {len(differences)} differences "
        f"({time.perf_counter() - began_s:.0f} s)",
        flush=True,
    )
    for difference in differences[:5]:
        print(f"  {difference}")
    return len(differences)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", type=int, default=200)
    parser.add_argument("--frames", type=int, default=1_000_000, help="over all databases")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", nargs="*", default=["kernel", "numpy"])
    asked = parser.parse_args()
    wrong = 0
    for lane in asked.lanes:
        os.environ[SWITCH] = lane
        print(f"{lane}: {why_not() or 'compiled loops'}")
        wrong += _both(asked.databases, asked.frames // asked.databases, asked.lines, asked.seed)
    return 1 if wrong else 0


def _both(databases: int, frames_each: int, lines: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds = range(seed, seed + databases)
        logs = range(seed, seed + max(1, lines // LINES_A_LOG))
        wrong = _run("databases", (of_database(folder, each, frames_each) for each in seeds))
        return wrong + _run("mutated lines", (of_lines(folder, each, LINES_A_LOG) for each in logs))


if __name__ == "__main__":
    sys.exit(main())
