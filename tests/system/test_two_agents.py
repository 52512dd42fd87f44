"""T38: a second agent on the same state directory is told so; a dead one holds nothing."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOLD = "import sys; from pathlib import Path; from agent.lock import only_one\n"
HOLD += "with only_one(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds the state directory until it is killed."""
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(  # noqa: S603 - our own words
        words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def _first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def _is_told(child: subprocess.Popen[str]) -> bool:
    _, error = child.communicate(timeout=20)
    return child.returncode != 0 and "another agent already uses" in error


def test_a_second_agent(tmp_path: Path) -> None:
    """It is told, even if somebody deleted the lock file; after kill -9 the next one gets in."""
    (tmp_path / "agent.lock").write_text("left over from 1998, pid 1\n")
    with holder(tmp_path) as first:
        assert _first_line(first) == "held"
        with holder(tmp_path) as second:
            assert _is_told(second)
        (tmp_path / "agent.lock").unlink()
        with holder(tmp_path) as third:
            assert _is_told(third)
        first.send_signal(signal.SIGKILL)
        first.wait()
        with holder(tmp_path) as next_one:
            assert _first_line(next_one) == "held"
