"""Exports that are killed, side by side, and on a cluster: always the same bytes in the end."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agent.clock import FakeClock
from bms_can.columnar import export_engines
from bms_can.columnar.export_run import EngineLost
from bms_can.errors import BadInput
from tests.system.export_rig import FRAMES, LOGS, Rig, kill_one, readable, start, wait_for

KILLS = 20
BIG_FRAMES = 40_000


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """Give logs and the tables that they must become."""
    return Rig(tmp_path_factory.mktemp("export"))


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(n, marks=pytest.mark.proof) for n in range(1, KILLS))]
)
def test_killed_at_any_moment_nothing_half_written_is_seen(rig: Rig, number: int) -> None:
    """What stands in the folder is whole; the next run completes it to the same bytes."""
    assert kill_one(rig, f"kill-{number}", random.Random(number), 0.4) == []  # noqa: S311 - chance
    assert readable(rig.folder / f"kill-{number}") == LOGS * FRAMES


@pytest.mark.proof
def test_two_at_once_are_refused(rig: Rig) -> None:
    """The second process says so and ends."""
    out = rig.folder / "both"
    first = start(*rig.words("both"))
    wait_for((out / ".export" / "lock").exists, "holds the folder")
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = start(*rig.words("both"))
        told, _ = second.communicate(timeout=30)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    first.communicate(timeout=30)
    assert (first.returncode, second.returncode) == (0, os.EX_CONFIG)
    assert "another export is writing into this folder" in told
    assert rig.mistakes("both", complete=True) == []


def children(pid: int) -> list[int]:
    """Return the processes that a process started to work."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [each for each in map(int, listed) if b"spawn_main" in cmdline(each)]


def cmdline(pid: int) -> bytes:
    """Return the command line of a process, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def attempts(out: Path, pid: int) -> list[Path]:
    """Return the folders in which a process writes."""
    return list((out / ".export").glob(f"w-*-{pid}-*"))


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """Give logs that take a moment."""
    return Rig(tmp_path_factory.mktemp("big"), count=5, frames=BIG_FRAMES)


def test_a_killed_process_loses_no_log(big: Rig) -> None:
    """Two processes, one is killed while it writes: the same bytes, exit 0."""
    exporter = start(*big.words("jobs", "--jobs", 2))
    out = big.folder / "jobs"
    victims: list[int] = []

    def one_writes() -> bool:
        victims[:] = [pid for pid in children(exporter.pid) if attempts(out, pid)]
        return bool(victims) or exporter.poll() is not None

    wait_for(one_writes, "a process writes")
    os.kill(victims[0], signal.SIGKILL)
    told, _ = exporter.communicate(timeout=60)
    assert exporter.returncode == 0, told
    assert "5 logs exported, 0 unchanged, 0 failed" in told
    assert big.mistakes("jobs", complete=True) == []


@pytest.mark.proof
def test_killed_itself_an_export_leaves_no_process(big: Rig) -> None:
    """Its processes end with it; what they had begun does not count."""
    exporter = start(*big.words("orphans", "--jobs", 2))
    wait_for(lambda: len(children(exporter.pid)) == 2, "works")
    workers = children(exporter.pid)
    exporter.kill()
    exporter.communicate()
    wait_for(lambda: not any(map(cmdline, workers)), "all are gone")
    assert big.mistakes("orphans", complete=False) == []


@contextmanager
def dask(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Run a scheduler and two workers on loopback; give address and workers."""
    file = folder / "scheduler.json"
    with ExitStack() as stack:

        def run(*words: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-m", "dask", *words, "--scheduler-file", str(file)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "DASK_DISTRIBUTED__WORKER__DAEMON": "false"},
                cwd=folder,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        run("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
        worker = ("worker", "--no-nanny", "--nthreads", "1", "--no-dashboard")
        workers = [run(*worker, "--host", "127.0.0.1") for _ in range(2)]
        wait_for(file.exists, "the scheduler tells its address")
        yield json.loads(file.read_text(encoding="utf-8"))["address"], workers


def test_no_scheduler_is_said(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody answers."""
    monkeypatch.setattr(export_engines, "CONNECT_S", 0.2)
    with pytest.raises(BadInput, match=r"--scheduler: tcp://127.0.0.1:9: "):
        export_engines.Dask("tcp://127.0.0.1:9", FakeClock().monotonic_s)
    assert rig.expected


def end_without_workers(address: str) -> None:
    """Check that nobody waits for ever for workers that are gone."""
    clock = FakeClock()
    engine = export_engines.Dask(address, clock.monotonic_s)
    try:
        clock.advance(export_engines.PATIENCE_S)
        engine.check()
        clock.advance(1)
        with pytest.raises(EngineLost, match="no worker for 60 s"):
            engine.check()
    finally:
        engine.close()


def test_a_full_disk_leaves_nothing(rig: Rig) -> None:
    """Files may not grow beyond a few bytes: every log is named, none is there."""
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
    run = "from agent.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["export", *map(str, rig.words("full"))]
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", limit + run, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert f"0 logs exported, 0 unchanged, {LOGS} failed" in done.stdout
    assert done.stderr.count("File too large (3 tries)") == LOGS
    assert readable(rig.folder / "full") == 0
    assert [path.name for path in (rig.folder / "full" / ".export").iterdir()] == ["lock"]


def test_dask_makes_the_same_bytes_though_a_worker_is_killed(big: Rig, tmp_path: Path) -> None:
    """Two workers, one is killed with -9 while it writes: no log is lost, no byte differs."""
    with dask(tmp_path) as (address, workers):
        exporter = start(*big.words("dask", "--engine", "dask", "--scheduler", address))
        out = big.folder / "dask"
        victims: list[subprocess.Popen[bytes]] = []

        def one_writes() -> bool:
            victims[:] = [each for each in workers if attempts(out, each.pid)]
            return bool(victims) or exporter.poll() is not None

        wait_for(one_writes, "a worker writes")
        victims[0].kill()
        told, _ = exporter.communicate(timeout=60)
        assert exporter.returncode == 0, told
        for worker in workers:
            worker.kill()
            worker.wait()
        end_without_workers(address)
    assert "5 logs exported, 0 unchanged, 0 failed" in told
    assert big.mistakes("dask", complete=True) == []
