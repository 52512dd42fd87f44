"""The folder of recordings: a part file that grows, its final names, and the room that is left.

A recording has its name only when it is complete and on disk. Every OSError is the caller's.
"""

import errno
import mmap
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.recording import Kept, doomed

PART = ".part"
BLOCK_BYTES = 4096  # what an empty file counts: a silent bus must not fill the folder with names
RESERVE_BYTES = 32 * 1024 * 1024  # left free for the journal: without it no command goes out


def free_bytes(folder: Path) -> int:
    """Return how much an ordinary process may still write there."""
    return shutil.disk_usage(folder).free


class PartFile:
    """A recording that is being written.

    Attributes:
        size: bytes so far.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.size = 0
        self._file = (folder / (name + PART)).open("wb")

    def write(self, text: str) -> None:
        """Add text."""
        self.size += self._file.write(text.encode())

    def flush(self) -> None:
        """Hand everything to the kernel: the end of this process does not lose it."""
        self._file.flush()

    def keep(self, more_names: Sequence[str] = ()) -> str:
        """End it: on disk first, then under its name, then under further ones. Return its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        final = self._folder / self._name
        (self._folder / (self._name + PART)).rename(final)
        for name in more_names:
            _also(final, self._folder / name)
        handle = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return self._name

    def discard(self) -> None:
        """Give it up."""
        try:
            self._file.close()  # tries to write the rest once more
        finally:
            (self._folder / (self._name + PART)).unlink(missing_ok=True)


def _also(first: Path, second: Path) -> None:
    """Give a file a second name; a copy where the file system has no links."""
    second.unlink(missing_ok=True)
    try:
        second.hardlink_to(first)
    except OSError:
        shutil.copyfile(first, second)


def kept_in(folder: Path) -> list[Kept]:
    """Return the complete recordings, and what else is there."""
    with os.scandir(folder) as entries:
        return [Kept(each.name, max(BLOCK_BYTES, each.stat().st_size)) for each in entries]


def make_room(folder: Path, quota: int, free: Callable[[Path], int] = free_bytes) -> int:
    """Delete recordings until quota and free space are held; return how many went.

    Args:
        folder: of the recordings.
        quota: the most bytes of complete recordings.
        free: how much may still be written there.

    Raises:
        OSError: ENOSPC: even without them there is no room; then all of them stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = kept_in(folder)
    ours = sum(each.size for each in kept if each.kind)
    budget = min(quota, ours + free(folder) - RESERVE_BYTES)
    if budget < 0:
        raise OSError(errno.ENOSPC, "no room for recordings")
    gone = doomed(kept, budget)
    for each in gone:
        (folder / each.name).unlink(missing_ok=True)
    return len(gone)


def rescue(folder: Path) -> int:
    """Keep what a crash left of open recordings, up to the last whole line; return how many."""
    found = 0
    for path in sorted(folder.glob("*.log" + PART)):
        whole = _whole_lines(path)
        if whole == 0:
            path.unlink()
            continue
        os.truncate(path, whole)
        path.rename(path.with_name(path.name.removesuffix(PART)))
        found += 1
    return found


def _whole_lines(path: Path) -> int:
    """Return the length of a file without what follows its last line end."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.rfind(b"\n") + 1
