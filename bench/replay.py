"""`make bench-replay`: one generated log through us and through others, frames a second.

Each contender is a process of its own, started anew for each round, and the rounds are interleaved.
CPU is user + system of that process with its start; on a busy machine it says more than the wall.
Slow ones get the first part of the log. Files are in the page cache.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench import replay_c
from bench.replay_log import dbc_text, senders, write_log
from bench.table import show

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "build" / "bench-replay"
PEERS = ROOT / "bench" / "replay_peers.py"
TIMER = ROOT / "bench" / "replay_timer.py"
VENV = ROOT / ".venv-bench"
OURS = "ours, 1 core"
SAID_BYTES = 200
PARTS = {"python-can + cantools": 1_000_000, "cantools CLI": 200_000, "asammdf": 1_000_000}
LOG2ASC_FRAMES = 2_000_000


class Run(NamedTuple):
    """One run of a process: times [s], most memory [MB], its last line."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    said: str


@dataclass
class Contender:
    """A way to get at the values; `missing` says why it did not run."""

    name: str
    frames: int
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: Path | None = None
    rounds: int = 3
    missing: str = ""
    runs: list[Run] = field(default_factory=list)

    @property
    def cpu_rate(self) -> float:
        """Frames for each second of CPU, the median."""
        return self.frames / statistics.median(run.cpu_s for run in self.runs)

    @property
    def wall_rate(self) -> float:
        """Frames a second on the clock, the median."""
        return self.frames / statistics.median(run.wall_s for run in self.runs)


def measured(contender: Contender) -> Run:
    """Run it once."""
    output = CACHE / "said"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **contender.environment}
    files = (contender.stdin or os.devnull, output)
    command = [*_words(sys.executable, "-I", "-S", TIMER, *files), *contender.command]
    timed = subprocess.run(command, env=environment, check=True, capture_output=True)  # noqa: S603 - ours
    used = json.loads(timed.stdout)
    if used["code"]:
        raise RuntimeError(f"{contender.name} ended with {used['code']}")
    with output.open("rb") as said:
        said.seek(max(0, output.stat().st_size - SAID_BYTES))
        lines = said.read().decode(errors="replace").strip().splitlines()
    return Run(used["wall_s"], used["cpu_s"], used["rss_mb"], lines[-1] if lines else "")


def _words(*parts: str | Path) -> list[str]:
    return [str(part) for part in parts]


def log_of(frames: int) -> Path:
    """Return the log of so many frames, written once."""
    path = CACHE / f"{frames}.log"
    if not path.exists():
        write_log(path, frames)
    return path


def ours(frames: int, dbc: Path) -> list[Contender]:
    """Return our three ways."""
    command = _words(sys.executable, "-m", "bench.replay_ours", log_of(frames), dbc)
    plain = {"BMS_COLUMNAR": "numpy"}
    return [
        Contender(OURS, frames, command, {"BMS_COLUMNAR": "kernel"}, rounds=5),
        Contender("ours, 2 cores", frames, [*command, "--cores", "2"], rounds=5),
        Contender("ours, numpy only", frames, command, plain),
    ]


def peers(frames: int, dbc: Path) -> list[Contender]:
    """Return the others, with why they are missing where they are."""
    found = [_python_can(dbc), _cantools(dbc), _asammdf(dbc), _log2asc(frames), _c(frames, dbc)]
    return [*found, Contender("wc -l", frames, _words("wc", "-l", log_of(frames)), rounds=5)]


def _python_can(dbc: Path) -> Contender:
    name = "python-can + cantools"
    log = log_of(PARTS[name])
    return Contender(name, PARTS[name], _words(sys.executable, PEERS, "python_can", log, dbc))


def _cantools(dbc: Path) -> Contender:
    name = "cantools CLI"
    command = _words(sys.executable, "-m", "cantools", "decode", dbc)
    return Contender(name, PARTS[name], command, stdin=log_of(PARTS[name]))


def _asammdf(dbc: Path) -> Contender:
    name = "asammdf"
    python, frames = VENV / "bin" / "python", PARTS[name]
    try:
        if not python.exists():
            subprocess.run(_words(sys.executable, "-m", "venv", VENV), check=True)  # noqa: S603 - this Python
        pip = _words(python, "-m", "pip", "install", "--quiet", "asammdf>=8", "python-can>=4.6")
        subprocess.run(pip, check=True)  # noqa: S603 - into its own venv
        mf4 = CACHE / f"{frames}.mf4"
        if not mf4.exists():
            command = _words(python, PEERS, "to_mf4", log_of(frames), mf4)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our file
    except (OSError, subprocess.CalledProcessError) as error:
        return Contender(name, frames, missing=str(error))
    return Contender(name, frames, _words(python, PEERS, "asammdf", mf4, dbc))


def _log2asc(frames: int) -> Contender:
    frames = min(frames, LOG2ASC_FRAMES)
    program = shutil.which("log2asc")
    if program is None:
        return Contender("log2asc", frames, missing="not installed (Debian: can-utils)")
    return Contender(
        "log2asc", frames, _words(program, "-I", log_of(frames), "-O", os.devnull, "can0")
    )


def _c(frames: int, dbc: Path) -> Contender:
    name = "generated C"
    try:
        program = replay_c.build(dbc, CACHE / "c")
    except (OSError, subprocess.CalledProcessError) as error:
        return Contender(name, frames, missing=str(error))
    return Contender(name, frames, _words(program, log_of(frames)), rounds=5)


def race(contenders: Sequence[Contender]) -> None:
    """Run all, round by round."""
    for number in range(max(each.rounds for each in contenders)):
        for contender in contenders:
            if not contender.missing and number < contender.rounds:
                contender.runs.append(measured(contender))


def report(contenders: Sequence[Contender]) -> None:
    """Print the table; the ratio is that of CPU."""
    mine = next(each for each in contenders if each.name == OURS)
    rows = []
    for each in contenders:
        if each.missing:
            rows.append([each.name, each.frames, f"missing: {each.missing}"])
            continue
        cpu_s = statistics.median(run.cpu_s for run in each.runs)
        rss_mb = max(run.rss_mb for run in each.runs)
        rates = [f"{rate / 1e6:.3f}" for rate in (each.wall_rate, each.cpu_rate)]
        ratio = f"{mine.cpu_rate / each.cpu_rate:.2f}"
        rows.append([each.name, each.frames, *rates, f"{cpu_s:.2f}", f"{rss_mb:.0f}", ratio])
    head = ("what", "frames", "M/s wall", "M/s CPU", "CPU s", "RSS MB", "we are x times")
    show("log to values of all signals", head, rows)
    said = {each.name: each.runs[-1].said for each in contenders if each.runs}
    for name in (OURS, "generated C"):
        print(f"  {name}: {said.get(name, '')}")


def memory(dbc: Path, sizes: Sequence[int]) -> None:
    """Print our memory for logs of several lengths."""
    rows = []
    for frames in sizes:
        kept = (CACHE / f"{frames}.log").exists()
        contender = ours(frames, dbc)[0]
        run = measured(contender)
        rows.append([frames, f"{run.rss_mb:.0f}", f"{run.cpu_s:.2f}", f"{run.wall_s:.2f}"])
        if not kept:
            log_of(frames).unlink()
    show("our memory by the length of the log", ("frames", "RSS MB", "CPU s", "wall s"), rows)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--memory", type=int, nargs="*", help="frames of each log")
    parser.add_argument("--only-memory", action="store_true")
    asked = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    dbc = CACHE / "site.dbc"
    dbc.write_text(dbc_text())
    signals = sum(len(sender.signals) for sender in senders())
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{asked.frames} frames, {len(senders())} messages, {signals} signals; load {load}")
    if not asked.only_memory:
        contenders = [*ours(asked.frames, dbc), *peers(asked.frames, dbc)]
        race(contenders)
        report(contenders)
    memory(dbc, [1_000_000, asked.frames] if asked.memory is None else asked.memory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
