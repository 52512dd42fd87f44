"""How far a file was read."""

import gzip
from pathlib import Path

from bms_can.columnar.place import position


def test_the_place_in_a_file(tmp_path: Path) -> None:
    """Of an open file; 0 before and after, and for files that are not there."""
    path = tmp_path / "a.log"
    path.write_bytes(b"x" * 1000)
    (tmp_path / "link.log").symlink_to(path)
    assert position(str(path)) == 0
    with path.open("rb", buffering=0) as file:
        file.read(10)
        assert position(str(path)) == 10
        assert position(str(tmp_path / "link.log")) == 10
        assert position(str(tmp_path / "none")) == 0
    assert position(str(path)) == 0


def test_the_place_in_an_archive_is_that_of_its_bytes(tmp_path: Path) -> None:
    """What counts is the size of the file, not of what is in it."""
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress(b"x" * 10_000_000))
    with gzip.open(path) as file:
        file.read(5_000_000)
        assert 0 < position(str(path)) <= path.stat().st_size
