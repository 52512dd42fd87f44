"""What a disk holds after its power was cut: made from the log of tests/disk.py.

Model, on the pessimistic side of real disks:
* A write is safe from the end of the next sync of its file on; before, each of its 512-byte sectors
  is kept or not by chance, in any order. A truncate before a sync happened or did not.
* A file's name, or its deletion, is safe after a sync of the folder. SQLite syncs the folder at the
  first sync of a new WAL or rollback journal, and with some deletions; until then a beginning of
  the folder's changes is kept.
* A sync that failed drops what it should have written: the kernel calls those pages clean, yet
  each sector is on the disk or not by chance, and no later sync writes it.
"""

from dataclasses import dataclass, field
from random import Random

from tests.disk import Op

SECTOR = 512
CHANCES = (0.0, 0.1, 0.5, 0.9, 1.0)  # that an unsynced sector is kept; one of them for each image
_SYNC_FOLDER = ("-wal", "-journal")


@dataclass(slots=True)
class _Content:
    """What is in a file, whatever its name: bytes that are safe, and later changes."""

    safe: bytearray = field(default_factory=bytearray)
    pending: list[Op] = field(default_factory=list)
    named: bool = False

    def sync(self) -> None:
        for op in self.pending:
            _change(self.safe, op)
        self.pending.clear()

    def after_cut(self, random: Random, chance: float) -> bytearray:
        image = bytearray(self.safe)
        for op in self.pending:
            _change_partly(image, op, random, chance)
        return image


class Medium:
    """The disk as a power cut after so many operations would leave it."""

    def __init__(self) -> None:
        self._live: dict[str, _Content] = {}
        self._safe: dict[str, _Content] = {}
        self._renames: list[tuple[str, _Content | None]] = []
        self._random = Random(0)  # noqa: S311 - no secret

    def apply(self, op: Op) -> None:
        """Take the next operation."""
        if op.kind == "create":
            self._live[op.file] = _Content()
            self._renames.append((op.file, self._live[op.file]))
        elif op.kind == "delete":
            del self._live[op.file]
            self._renames.append((op.file, None))
            if op.at:
                self._sync_folder()
        elif op.kind in {"write", "truncate"}:
            self._live[op.file].pending.append(op)
        elif op.kind == "sync":
            self._sync(op.file)
        elif op.kind == "sync failed":
            content = self._live[op.file]
            content.safe = content.after_cut(self._random, self._random.choice(CHANCES))
            content.pending.clear()

    def cut(self, random: Random) -> dict[str, bytes]:
        """Return the files that a power cut now leaves."""
        names = dict(self._safe)
        for name, content in self._renames[: random.randint(0, len(self._renames))]:
            _rename(names, name, content)
        chance = random.choice(CHANCES)
        return {name: bytes(each.after_cut(random, chance)) for name, each in names.items()}

    def _sync(self, file: str) -> None:
        content = self._live[file]
        content.sync()
        if not content.named and file.endswith(_SYNC_FOLDER):
            self._sync_folder()

    def _sync_folder(self) -> None:
        for name, content in self._renames:
            _rename(self._safe, name, content)
        self._renames.clear()
        for content in self._live.values():
            content.named = True


def _rename(names: dict[str, _Content], name: str, content: _Content | None) -> None:
    if content is None:
        names.pop(name, None)
    else:
        names[name] = content


def _change(image: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        del image[op.at :]
        image.extend(bytes(op.at - len(image)))
        return
    _put(image, op.at, op.data)


def _change_partly(image: bytearray, op: Op, random: Random, chance: float) -> None:
    """Do what the power left time for."""
    if op.kind == "truncate":
        if random.random() < chance:
            _change(image, op)
        return
    start, end = op.at, op.at + len(op.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if random.random() < chance:
            _put(image, start, op.data[start - op.at : stop - op.at])
        start = stop


def _put(image: bytearray, at: int, data: bytes) -> None:
    image.extend(bytes(max(0, at - len(image))))
    image[at : at + len(data)] = data
