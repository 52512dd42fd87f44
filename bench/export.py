"""Export of one log, against plain decoding and others. `python -m bench.export [--frames N]`.

Each case is a process of its own on one core; its start is in the figures. The peers, which are
slow, get the first part of the log, and their frames are counted as such.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import cast

from bench.replay_log import dbc_text, write_log
from bench.table import show

FRAMES = 10_000_000
PEER_FRAMES = 200_000
CORE = 0
MANIFEST = "_manifest.json"
GOAL = 2_000_000  # frames a second to Parquet, all signals, one core


@dataclass(frozen=True, slots=True)
class Place:
    """The files of a measurement."""

    log: Path
    dbc: Path
    out: Path


def decode(place: Place) -> int:
    """Read and decode all signals, keep nothing."""
    from bms_can.columnar.decode import Decoder  # noqa: PLC0415 - each case has its own process
    from bms_can.columnar.scan import scan  # noqa: PLC0415 - same
    from bms_can.database import load  # noqa: PLC0415 - same

    decoder = Decoder(load(place.dbc))
    return sum(
        sum(len(columns.rows) for columns in decoder.decode(chunk)) for chunk in scan(place.log)
    )


def export(place: Place, *words: str) -> int:
    """Run the command; return the frames in its folder's manifest."""
    from agent.cli import main  # noqa: PLC0415 - each case has its own process

    files = ("--dbc", str(place.dbc), "-o", str(place.out))
    if main(["export", str(place.log), *files, *words]) != 0:
        raise SystemExit(1)
    (source,) = json.loads((place.out / MANIFEST).read_text(encoding="utf-8"))["sources"]
    return int(source["frames"])


def peer(place: Place) -> int:
    """Do what people do: python-can, cantools, and a CSV file for each message."""
    import can  # noqa: PLC0415 - each case has its own process
    import cantools  # noqa: PLC0415 - same

    database = cantools.database.load_file(place.dbc)
    assert isinstance(database, cantools.database.can.Database)  # noqa: S101 - a DBC is one
    place.out.mkdir()
    count = 0
    writers = {}
    for message in islice(can.LogReader(place.log), PEER_FRAMES):
        known = database.get_message_by_frame_id(message.arbitration_id)
        values = cast("dict[str, float]", known.decode(bytes(message.data), decode_choices=False))
        if known.name not in writers:
            names = ["time", *(signal.name for signal in known.signals)]
            file = (place.out / f"{known.name}.csv").open("w", newline="", encoding="utf-8")
            writers[known.name] = csv.DictWriter(file, names)
            writers[known.name].writeheader()
        writers[known.name].writerow({"time": message.timestamp, **values})
        count += 1
    return count


CASES: Mapping[str, Callable[[Place], int]] = {
    "decode only": decode,
    "export, Parquet": export,
    "export, CSV": lambda place: export(place, "--format", "csv"),
    "export, wide 1 s": lambda place: export(place, "--wide", "1s"),
    "python-can + cantools, CSV": peer,
}


def measure(name: str, place: Place) -> tuple[float, float, float, float]:
    """Run a case; return frames, CPU [s], wall [s] and the largest memory [MB] of its process."""
    command = [sys.executable, "-m", "bench.export", "--case", name]
    command += ["--log", str(place.log), "--dbc", str(place.dbc), "--out", str(place.out)]
    began_s = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own words
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        frames = int(process.stdout.read().splitlines()[-1])
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = perf_counter() - began_s
    assert process.returncode == 0  # noqa: S101 - a measurement of a failure is none
    return frames, used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / 1024


def folder_mb(folder: Path) -> float:
    """Return the size of what was written [MB]."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def run(frames: int, folder: Path) -> int:
    """Measure all cases on one log; 1 if the goal is missed."""
    log, dbc = folder / f"site-{frames}.log", folder / "site.dbc"
    dbc.write_text(dbc_text(), encoding="utf-8")
    if not log.exists():
        write_log(log, frames)
    rows, rates = [], {}
    for name in CASES:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            place = Place(log, dbc, Path(scratch) / "out")
            count, cpu_s, wall_s, most_mb = measure(name, place)
            rates[name] = count / cpu_s
            written = f"{folder_mb(place.out):.0f}" if place.out.exists() else ""
        rows.append(
            [name, f"{count:,}", f"{cpu_s:.2f}", f"{wall_s:.2f}", f"{rates[name] / 1e6:.3f}",
             f"{rates['decode only'] / rates[name]:.1f}", f"{most_mb:.0f}", written]
        )  # fmt: skip
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    print(f"{platform.machine()}, Python {platform.python_version()}, load {load}")
    print(f"{log.name}: {log.stat().st_size / 1e6:.0f} MB, payload bits are random")
    head = ("case", "frames", "CPU s", "wall s", "M frames/CPU s", "x decode", "most MB", "out MB")
    show("one log, one core", head, rows)
    reached = rates["export, Parquet"] >= GOAL
    peer_rate = rates["python-can + cantools, CSV"]
    print(
        f"\nto Parquet: {rates['export, Parquet'] / peer_rate:.0f} x python-can + cantools to CSV"
    )
    print(f"goal of {GOAL / 1e6:g} M frames/s to Parquet: {'reached' if reached else 'MISSED'}")
    return 0 if reached else 1


def main() -> int:
    """Run all, or one case in this process."""
    parser = argparse.ArgumentParser(prog="python -m bench.export", description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--folder", type=Path, help="for the log; kept for the next run")
    parser.add_argument("--case", choices=CASES)
    for name in ("--log", "--dbc", "--out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    if given.case is not None:
        os.sched_setaffinity(0, {CORE})
        print(CASES[given.case](Place(given.log, given.dbc, given.out)))
        return 0
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
        return run(given.frames, given.folder)
    with tempfile.TemporaryDirectory(prefix="bench-export-") as folder:
        return run(given.frames, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
