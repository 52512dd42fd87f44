"""Exports in real processes, to be killed: what a reader of the folder may find at any time.

Shared by the suite (few kills) and by `python -m bench.export_kill` (many).
"""

import hashlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from agent.cli import main
from tests.bms_can.columnar.battery import steady_log, write_dbc

LOGS, FRAMES = 8, 1500
DEADLINE_S = 60.0

Hashes = dict[str, str]


def visible(out: Path) -> Hashes:
    """Return the SHA-256 of each table that a reader finds, by its path."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*.parquet")
    }


def start(*words: object) -> subprocess.Popen[str]:
    """Start `bms-agent export` in a process of its own."""
    command = [sys.executable, "-m", "agent", "export", *map(str, words)]
    return subprocess.Popen(  # noqa: S603 - our own words
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(done: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    end_s = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end_s, what
        time.sleep(0.005)  # another process makes it so


@dataclass(slots=True)
class Rig:
    """Some logs, and the tables that they must become.

    Args:
        folder: empty.
        count, frames: number of logs, and of frames in each.
    """

    folder: Path
    count: int = LOGS
    frames: int = FRAMES
    logs: list[Path] = field(init=False)
    dbc: Path = field(init=False)
    expected: Hashes = field(init=False)

    def __post_init__(self) -> None:
        self.dbc = write_dbc(self.folder)
        self.logs = [
            steady_log(self.folder / f"{number}.log", self.frames, seed=number)
            for number in range(self.count)
        ]
        assert main(["export", *map(str, self.words("expected"))]) == 0
        self.expected = visible(self.folder / "expected")

    def words(self, out: str, *more: object) -> Sequence[object]:
        """Return the arguments of an export into a folder."""
        return (*self.logs, "--dbc", self.dbc, "-o", self.folder / out, *more)

    def mistakes(self, out: str, *, complete: bool) -> list[str]:
        """Return what a reader finds and should not, or misses."""
        found = visible(self.folder / out)
        wrong = [path for path, digest in found.items() if self.expected.get(path) != digest]
        if complete:
            wrong += sorted(self.expected.keys() - found.keys())
            left = [each.name for each in (self.folder / out / ".export").iterdir()]
            wrong += [name for name in left if name != "lock"]
        return wrong


def kill_one(rig: Rig, out: str, chance: random.Random, whole_s: float) -> list[str]:
    """Kill an export at some moment of its life, then let another one finish; return mistakes."""
    process = start(*rig.words(out))
    work = rig.folder / out / ".export" / "lock"
    wait_for(lambda: work.exists() or process.poll() is not None, "begins")
    time.sleep(chance.uniform(0, whole_s))  # the moment is what is tried
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wrong = rig.mistakes(out, complete=False)
    again = start(*rig.words(out))
    told, _ = again.communicate(timeout=DEADLINE_S)
    if again.returncode != 0:
        wrong.append(told)
    return wrong + rig.mistakes(out, complete=True)


def readable(out: Path) -> int:
    """Return how many rows all tables have; every file must be whole."""
    return sum(pq.ParquetFile(path).read().num_rows for path in out.rglob("*.parquet"))
