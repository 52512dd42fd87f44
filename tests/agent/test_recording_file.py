"""The folder of recordings: complete or not there, bounded, and never at the journal's cost."""

import os
import stat
from pathlib import Path

import pytest

from agent.recording_file import BLOCK_BYTES, RESERVE_BYTES, PartFile, kept_in, make_room, rescue

ALARM = "20230101T00000{}.000Z_B.alarm.x.log"
NAME = "20230101T000000.000Z_B.command.c1.log"
OTHER = "20230101T000000.000Z_B.command.c2.log"
LINE = "(0000000001.000000) can0 123#01\n"
PLENTY = 1 << 40


def plenty(_folder: Path) -> int:
    """Be a large empty disk."""
    return PLENTY


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def alarms(folder: Path, count: int, size: int = BLOCK_BYTES) -> None:
    """Put recordings of alarms there."""
    for number in range(count):
        (folder / ALARM.format(number)).write_bytes(size * b"x")


def test_a_name_only_when_complete(tmp_path: Path) -> None:
    """While it grows it is a part file; then it is there under its names, whole."""
    file = PartFile(tmp_path, NAME)
    file.write(LINE)
    file.flush()
    assert names(tmp_path) == [NAME + ".part"]
    assert (tmp_path / (NAME + ".part")).read_text() == LINE
    assert (file.keep([OTHER]), file.size) == (NAME, len(LINE))
    assert names(tmp_path) == [NAME, OTHER]
    assert (tmp_path / OTHER).read_text() == LINE


def test_a_second_name_takes_no_room(tmp_path: Path) -> None:
    """Two commands in one recording share one file, also if the name was taken."""
    (tmp_path / OTHER).write_text("old")
    file = PartFile(tmp_path, NAME)
    file.write(LINE)
    file.keep([OTHER])
    assert (tmp_path / OTHER).samefile(tmp_path / NAME)


def test_a_disk_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file can have one name only, the second is a copy."""

    def refuse(_second: Path, _first: Path) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    file = PartFile(tmp_path, NAME)
    file.write(LINE)
    file.keep([OTHER])
    assert (tmp_path / OTHER).read_text() == LINE
    assert not (tmp_path / OTHER).samefile(tmp_path / NAME)


def test_given_up(tmp_path: Path) -> None:
    """A recording that is given up leaves nothing."""
    file = PartFile(tmp_path, NAME)
    file.write(LINE)
    file.discard()
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_given_up_on_a_full_disk(tmp_path: Path) -> None:
    """The part file goes even if its rest cannot be written."""
    (tmp_path / (NAME + ".part")).symlink_to("/dev/full")
    file = PartFile(tmp_path, NAME)
    file.write(LINE)
    with pytest.raises(OSError, match="No space left"):
        file.discard()
    assert names(tmp_path) == []


def test_an_empty_file_counts(tmp_path: Path) -> None:
    """A silent bus makes empty recordings; they take a block each and so do not last for ever."""
    alarms(tmp_path, 3, size=0)
    assert [each.size for each in kept_in(tmp_path)] == 3 * [BLOCK_BYTES]
    assert make_room(tmp_path, 2 * BLOCK_BYTES, plenty) == 1
    assert names(tmp_path) == [ALARM.format(1), ALARM.format(2)]


def test_the_folder_is_made(tmp_path: Path) -> None:
    """The first recording needs no preparation."""
    assert make_room(tmp_path / "state" / "recordings", 0, plenty) == 0
    assert (tmp_path / "state" / "recordings").is_dir()


def test_room_by_deleting(tmp_path: Path) -> None:
    """A disk that others fill takes old recordings away until the reserve is free again."""
    alarms(tmp_path, 4)
    missing = 2 * BLOCK_BYTES - 1
    assert make_room(tmp_path, PLENTY, lambda _: RESERVE_BYTES - missing) == 2
    assert names(tmp_path) == [ALARM.format(2), ALARM.format(3)]


def test_no_room_at_all(tmp_path: Path) -> None:
    """Where even all recordings would not be enough, nothing is deleted in vain."""
    alarms(tmp_path, 4)
    with pytest.raises(OSError, match="no room"):
        make_room(tmp_path, PLENTY, lambda _: 0)
    assert len(names(tmp_path)) == 4
    with pytest.raises(OSError, match="no room"):
        make_room(tmp_path, -1, plenty)


def test_after_a_crash(tmp_path: Path) -> None:
    """What was written before a crash is kept up to the last whole line; an empty part goes."""
    (tmp_path / (NAME + ".part")).write_bytes(LINE.encode() + b"(0000000001.5")
    (tmp_path / (OTHER + ".part")).write_bytes(b"")
    (tmp_path / (ALARM.format(1) + ".part")).write_bytes(bytes(500))
    (tmp_path / "mine.part").write_text("a person's")
    assert rescue(tmp_path) == 1
    assert names(tmp_path) == [NAME, "mine.part"]
    assert (tmp_path / NAME).read_text() == LINE


def test_nothing_to_rescue(tmp_path: Path) -> None:
    """Before the first recording there is no folder, and that is well."""
    assert rescue(tmp_path / "recordings") == 0


def test_all_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File and folder are synced before the recording counts as kept."""
    synced: list[bool] = []
    real = os.fsync

    def noting(handle: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(handle).st_mode))
        real(handle)

    monkeypatch.setattr(os, "fsync", noting)
    PartFile(tmp_path, NAME).keep()
    assert synced == [False, True]
