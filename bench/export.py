"""`make bench-export`: one generated log to tables, by us and by others. See bench.replay.

The peers, which are slow, get the first part of the log. asammdf writes one table in which every
signal has a value at every time of any other (interpolated), so its file is large.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import cast

from bench.replay import CACHE, PEERS, VENV, Contender, log_of, measured
from bench.replay_log import dbc_text, senders
from bench.table import show

FRAMES = 10_000_000
PEER_FRAMES = 200_000
CSV_FRAMES = 2_000_000  # 80 MB of text for each million
ASAMMDF_FRAMES = 1_000_000
CORE = max(os.sched_getaffinity(0))  # the first one serves the machine's interrupts
GOAL = 2_000_000  # frames a second to Parquet, all signals, one core
PARQUET, DECODE = "export to Parquet", "decode, keep nothing"
CSV, PEER = "export to CSV", "python-can + cantools to CSV"
OUT = CACHE / "out"


def decode(log: Path, dbc: Path) -> None:
    """Read and decode all signals, keep nothing."""
    from bms_can.columnar.decode import Decoder  # noqa: PLC0415 - each case has its own process
    from bms_can.columnar.scan import scan  # noqa: PLC0415 - same
    from bms_can.database import load  # noqa: PLC0415 - same

    decoder = Decoder(load(dbc))
    for chunk in scan(log):
        for columns in decoder.decode(chunk):
            _ = columns.values


def export(log: Path, dbc: Path, *words: str) -> None:
    """Run the command."""
    from agent.cli import main  # noqa: PLC0415 - each case has its own process

    if main(["export", str(log), "--dbc", str(dbc), "-o", str(OUT), *words]) != 0:
        raise SystemExit(1)


def python_can(log: Path, dbc: Path) -> None:
    """Do what people do: python-can, cantools, and a CSV file for each message."""
    import can  # noqa: PLC0415 - each case has its own process
    import cantools  # noqa: PLC0415 - same

    database = cantools.database.load_file(dbc)
    assert isinstance(database, cantools.database.can.Database)  # noqa: S101 - a DBC is one
    OUT.mkdir()
    writers = {}
    for message in islice(can.LogReader(log), PEER_FRAMES):
        known = database.get_message_by_frame_id(message.arbitration_id)
        values = cast("dict[str, float]", known.decode(bytes(message.data), decode_choices=False))
        if known.name not in writers:
            names = ["time", *(signal.name for signal in known.signals)]
            file = (OUT / f"{known.name}.csv").open("w", newline="", encoding="utf-8")
            writers[known.name] = csv.DictWriter(file, names)
            writers[known.name].writeheader()
        writers[known.name].writerow({"time": message.timestamp, **values})


CASES: Mapping[str, Callable[[Path, Path], None]] = {
    DECODE: decode,
    PARQUET: export,
    "the same, snappy": lambda log, dbc: export(log, dbc, "--compression", "snappy"),
    CSV: lambda log, dbc: export(log, dbc, "--format", "csv"),
    "export --wide 1s": lambda log, dbc: export(log, dbc, "--wide", "1s"),
    PEER: python_can,
}


def contenders(frames: int, dbc: Path, rounds: int) -> list[Contender]:
    """Return all of them."""
    found = []
    fewer = {PEER: PEER_FRAMES, CSV: CSV_FRAMES}
    for name in CASES:
        count = min(frames, fewer.get(name, frames))
        command = [
            sys.executable,
            "-m",
            "bench.export",
            "--case",
            name,
            str(log_of(count)),
            str(dbc),
        ]
        found.append(Contender(name, count, command, rounds=1 if name in fewer else rounds))
    return [*found, _asammdf(dbc)]


def _asammdf(dbc: Path) -> Contender:
    name, python = "asammdf to Parquet", VENV / "bin" / "python"
    mf4 = CACHE / f"{ASAMMDF_FRAMES}.mf4"
    if not (python.exists() and mf4.exists()):
        return Contender(
            name, ASAMMDF_FRAMES, missing="run make bench-replay first, it installs it"
        )
    pip = [str(python), "-m", "pip", "install", "--quiet", "pyarrow", "pandas"]
    try:
        subprocess.run(pip, check=True)  # noqa: S603 - into its own venv
    except (OSError, subprocess.CalledProcessError) as error:
        return Contender(name, ASAMMDF_FRAMES, missing=str(error))
    command = [str(python), str(PEERS), "asammdf_parquet", str(mf4), str(dbc), str(OUT)]
    return Contender(name, ASAMMDF_FRAMES, command, rounds=1)


def race(all_of_them: list[Contender]) -> dict[str, float]:
    """Run all, round by round; return the size of what each wrote [MB]."""
    sizes = {}
    for number in range(max(each.rounds for each in all_of_them)):
        for each in all_of_them:
            if not each.missing and number < each.rounds:
                shutil.rmtree(OUT, ignore_errors=True)
                each.runs.append(measured(each))
                sizes[each.name] = sum(
                    path.stat().st_size for path in OUT.rglob("*") if path.is_file()
                )
    shutil.rmtree(OUT, ignore_errors=True)
    return {name: size / 1e6 for name, size in sizes.items()}


def report(all_of_them: list[Contender], sizes: Mapping[str, float]) -> int:
    """Print the table; 1 if the goal is missed."""
    mine = next(each for each in all_of_them if each.name == PARQUET)
    rows = []
    for each in all_of_them:
        if each.missing:
            rows.append([each.name, f"missing: {each.missing}"])
            continue
        most_mb = max(run.rss_mb for run in each.runs)
        rows.append(
            [each.name, f"{each.frames:,}", f"{each.cpu_rate / 1e6:.3f}",
             f"{each.wall_rate / 1e6:.3f}", f"{mine.cpu_rate / each.cpu_rate:.1f}",
             f"{mine.wall_rate / each.wall_rate:.1f}",
             f"{most_mb:.0f}", f"{1e6 * sizes[each.name] / each.frames:.1f}"]
        )  # fmt: skip
    head = (
        "to tables",
        "frames",
        "M/CPU s",
        "M/wall s",
        "CPU x ours",
        "wall x ours",
        "most MB",
        "MB per M",
    )
    show(f"one log, pinned to core {CORE}, start of the process included", head, rows)
    reached = mine.wall_rate >= GOAL
    print(
        f"goal of {GOAL / 1e6:g} M frames/s of the clock to Parquet, all signals, one core: "
        f"{mine.wall_rate / 1e6:.2f} ({mine.cpu_rate / 1e6:.2f} for each second of CPU), "
        f"{'reached' if reached else 'MISSED'}"
    )
    return 0 if reached else 1


def main() -> int:
    """Run all, or one case in this process."""
    parser = argparse.ArgumentParser(prog="python -m bench.export", description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("files", type=Path, nargs="*")
    given = parser.parse_args()
    if given.case is not None:
        os.sched_setaffinity(0, {CORE})
        CASES[given.case](*given.files)
        return 0
    CACHE.mkdir(parents=True, exist_ok=True)
    dbc = CACHE / "site.dbc"
    dbc.write_text(dbc_text(), encoding="utf-8")
    signals = sum(len(sender.signals) for sender in senders())
    print(f"{len(senders())} messages, {signals} signals; payload bits are random;", end=" ")
    print(f"load {', '.join(f'{each:.1f}' for each in os.getloadavg())}")
    all_of_them = contenders(given.frames, dbc, given.rounds)
    return report(all_of_them, race(all_of_them))


if __name__ == "__main__":
    sys.exit(main())
