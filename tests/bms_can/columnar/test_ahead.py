"""Reading ahead in a thread changes nothing but the time it takes."""

import threading
from pathlib import Path

import pytest

from bms_can.columnar.ahead import ahead, ahead_where_idle
from bms_can.columnar.chunk import frames
from bms_can.columnar.scan import scan
from bms_can.errors import BadInput
from tests.bms_can.columnar.texts import text


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log of 2000 lines."""
    (tmp_path / "x.log").write_bytes(text(3, 2000))
    return tmp_path / "x.log"


def test_the_same_chunks(log: Path) -> None:
    """All chunks come, in order."""
    direct = [list(frames(chunk)) for chunk in scan(log, chunk_frames=100)]
    assert [list(frames(chunk)) for chunk in ahead(scan(log, chunk_frames=100))] == direct


def test_an_error_comes_through(tmp_path: Path) -> None:
    """A log that cannot be read says so here, not in a thread."""
    path = tmp_path / "x.blf"
    path.write_bytes(b"LOGG" + bytes(400))
    with pytest.raises(BadInput):
        list(ahead(scan(path)))


@pytest.mark.parametrize(
    ("cores", "parent", "threads"), [(2, None, 1), (1, None, 0), (2, object(), 0)]
)
def test_only_with_an_idle_core(
    log: Path, monkeypatch: pytest.MonkeyPatch, cores: int, parent: object, threads: int
) -> None:
    """On one core, or as one of several workers, a thread would only cost."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr("bms_can.columnar.ahead.parent_process", lambda: parent)
    before = threading.active_count()
    chunks = ahead_where_idle(scan(log, chunk_frames=10))
    next(chunks)
    assert threading.active_count() - before == threads
    chunks.close()  # type: ignore[attr-defined]  # it is a generator


def test_stopping_early_ends_the_thread(log: Path) -> None:
    """Who stops looking leaves no thread behind."""
    before = threading.active_count()
    chunks = ahead(scan(log, chunk_frames=10))
    assert len(next(chunks)) <= 10
    chunks.close()  # type: ignore[attr-defined]  # it is a generator
    assert threading.active_count() == before
