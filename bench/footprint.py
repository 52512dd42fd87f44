"""What the agent takes on the box: disk, memory, processor, start."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.stand import ROOT, Stand, stand
from bench.table import percentile, show

MIB, MB = 2**20, 10**6
RUN_S = 30.0
STARTS = 20
NOT_OURS = ("pip", "setuptools", "_distutils_hack", "pkg_resources", "distutils-precedence")


def size() -> None:
    """Print the size of a base install in a fresh virtual environment."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        packages = _install(folder)
        files = [path for path in packages.rglob("*") if path.is_file() and _counts(packages, path)]
        code = [path for path in files if "__pycache__" not in path.parts]
        rows = [
            ["site-packages without bytecode", *_sizes(code), "<= 20 MB"],
            ["with the bytecode that pip makes", *_sizes(files), ""],
        ]
        rows += [[f"  {top}", *_sizes(some), ""] for top, some in _largest(packages, files)]
        found = subprocess.run(  # noqa: S603 - the program just installed
            [str(folder / "venv" / "bin" / "bms-agent"), "--help"], capture_output=True, check=False
        )
    rows.append([f"its bms-agent --help ends with {found.returncode}", "", "", ""])
    show("Install (requirements/base.lock and the project)", ("what", "MB", "files", "goal"), rows)


def _install(folder: Path) -> Path:
    """Install lock file and project; return site-packages."""
    python = folder / "venv" / "bin" / "python"
    run = ["-m", "pip", "install", "--quiet", "--no-deps"]
    lock = ["--require-hashes", "-r", str(ROOT / "requirements" / "base.lock")]
    wheel = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    _must([sys.executable, *wheel, "-w", str(folder), str(ROOT)])
    _must([sys.executable, "-m", "venv", str(folder / "venv")])
    _must([str(python), *run, *lock])
    _must([str(python), *run, *map(str, folder.glob("*.whl"))])
    (packages,) = folder.glob("venv/lib/python*/site-packages")
    return packages


def _must(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own words
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(command)}: {done.stderr}")


def _top(packages: Path, path: Path) -> str:
    return path.relative_to(packages).parts[0]


def _counts(packages: Path, path: Path) -> bool:
    """Tell whether a file came with us, not with the virtual environment."""
    top = _top(packages, path)
    return not any(top == name or top.startswith((f"{name}-", f"{name}.")) for name in NOT_OURS)


def _sizes(files: Iterable[Path]) -> tuple[str, int]:
    found = [path.stat().st_size for path in files]
    return f"{sum(found) / MB:.2f}", len(found)


def _largest(packages: Path, files: Iterable[Path]) -> list[tuple[str, list[Path]]]:
    """Return the five largest parts, with bytecode."""
    parts: dict[str, list[Path]] = {}
    for path in files:
        parts.setdefault(_top(packages, path), []).append(path)
    return sorted(parts.items(), key=lambda item: -sum(p.stat().st_size for p in item[1]))[:5]


def memory(seconds: float = RUN_S) -> None:
    """Print what a running agent holds, and its share of one processor."""
    with (
        TemporaryDirectory(prefix="bench-") as name,
        stand(Path(name), battery_process=True, quick=False) as found,
    ):
        before_s, frames = _cpu_s(found), sum(1 for _ in found.frames(seconds))
        used_s, status = _cpu_s(found) - before_s, _status(found)
    rows = [
        ["resident (VmRSS)", f"{int(status['VmRSS'].split()[0]) * 1024 / MB:.1f} MB", "<= 60 MB"],
        ["the most so far (VmHWM)", f"{int(status['VmHWM'].split()[0]) * 1024 / MB:.1f} MB", ""],
        ["threads", status["Threads"], ""],
        ["processor, of one core", f"{100 * used_s / seconds:.2f} %", ""],
        ["frames on the bus", f"{frames / seconds:.0f} /s", ""],
    ]
    show(f"bms-agent run, {seconds:g} s with ess_bau at full rate", ("what", "found", "goal"), rows)


def _status(found: Stand) -> dict[str, str]:
    assert found.agent is not None  # noqa: S101 - made by `stand`
    text = Path(f"/proc/{found.agent.pid}/status").read_text(encoding="ascii")
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _cpu_s(found: Stand) -> float:
    assert found.agent is not None  # noqa: S101 - made by `stand`
    stat = Path(f"/proc/{found.agent.pid}/stat").read_text(encoding="ascii")
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime, stime


def start(count: int = STARTS) -> None:
    """Print how long --help takes, beside a Python that does nothing."""
    script = str(Path(sys.executable).with_name("bms-agent"))
    commands = {
        "bms-agent --help": [script, "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -S -c pass": [sys.executable, "-S", "-c", "pass"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(count):
        for name, command in commands.items():
            began_s = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own words
            taken[name].append(time.perf_counter() - began_s)
    rows = [
        [name, count, *(f"{1000 * percentile(some, share):.1f}" for share in (0.0, 0.5, 0.99))]
        for name, some in taken.items()
    ]
    rows[0].append("p50 <= 150")
    show("Start", ("what", "n", "least ms", "p50 ms", "p99 ms", "goal"), rows)
