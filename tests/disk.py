"""A disk under SQLite that remembers each operation, fails on demand, and can lose its power.

The product opens its files with the standard library's sqlite3; here the same code runs on apsw,
whose SQLite lets Python see each write. `Database` makes apsw look like sqlite3.
"""

import errno
import itertools
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import apsw

from agent.sqlite_file import Storage

_names = itertools.count()
_DATABASE_ERRORS = frozenset({apsw.SQLITE_CORRUPT, apsw.SQLITE_NOTADB})


class Op(NamedTuple):
    """One operation on the disk, or a mark that the test set between two.

    Attributes:
        kind: "create", "write", "truncate", "sync", "sync failed", "delete", "mark".
        file: name without folder; what the mark is about.
        at: offset of a write, length after a truncate [bytes]; for a delete whether the folder is
            synced with it.
        data: written bytes; of a mark whatever the test wants to find again.
    """

    kind: str
    file: str
    at: int = 0
    data: Any = b""


class Faults:
    """Which operations fail.

    Args:
        random: decides.
        chances: of each kind of operation, 0..1.
        full: a write fails with "disk full", else with an input/output error.

    Attributes:
        failed: how many did.
    """

    def __init__(self, random: Random, chances: Mapping[str, float], *, full: bool = False) -> None:
        self.random = random
        self.chances = chances
        self.full = full
        self.failed = 0

    def strike(self, kind: str) -> bool:
        """Tell whether the operation that comes now fails."""
        struck = self.random.random() < self.chances.get(kind, 0.0)
        self.failed += struck
        return struck

    def error(self, kind: str) -> apsw.Error:
        """Return the error of such an operation."""
        if self.full and kind == "write":
            return apsw.FullError("disk full")
        error = apsw.IOError("disk I/O error")
        codes = {"sync": apsw.SQLITE_IOERR_FSYNC, "write": apsw.SQLITE_IOERR_WRITE}
        error.extendedresult = codes.get(kind, apsw.SQLITE_IOERR)  # type: ignore[attr-defined]  # read by apsw
        return error


class Disk(apsw.VFS):
    """A disk.

    Args:
        instead: SQL statements to be replaced, for tests that take safety away.
        content: tells what is in a database; called after each successful COMMIT, and its answer
            becomes a mark about that file.

    Attributes:
        log: what happened to it.
        faults: what fails now; None: nothing.
        keep_log: the log is written.
        rewriting: `rewrite` does something.
    """

    def __init__(
        self,
        instead: Mapping[str, str] | None = None,
        content: Callable[[sqlite3.Connection], object] | None = None,
    ) -> None:
        self.vfs_name = f"disk-{next(_names)}"
        self.log: list[Op] = []
        self.keep_log = True
        self.rewriting = True
        self.faults: Faults | None = None
        self.instead = instead or {}
        self.content = content
        super().__init__(self.vfs_name, "")

    def connect(self, path: Path) -> sqlite3.Connection:
        """Open a database on this disk."""
        return Database(path, self)  # type: ignore[return-value]  # looks like one

    @property
    def storage(self) -> Storage:
        """Return the way to this disk."""
        return Storage(self.connect, self.rewrite)

    def rewrite(self, path: Path) -> None:
        """Do what agent.durable.rewrite does: that one is not SQLite's, so it is not seen here."""
        if self.rewriting and path.exists():
            data = path.read_bytes()
            self.note(Op("write", path.name, 0, data))
            if self.faults is not None and self.faults.strike("sync"):
                self.note(Op("sync failed", path.name))
                raise OSError(errno.EIO, "Input/output error")
            self.note(Op("sync", path.name))

    def mark(self, about: str, data: object = None) -> None:
        """Write a mark into the log."""
        self.note(Op("mark", about, data=data))

    def note(self, op: Op) -> None:
        """Write an operation into the log; a file without a name is gone with its process."""
        if self.keep_log and op.file:
            self.log.append(op)

    def may(self, kind: str) -> None:
        """Raise the error of an operation that is to fail."""
        if self.faults is not None and self.faults.strike(kind):
            raise self.faults.error(kind)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        """Open a file."""
        return _File(self, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - SQLite's own shape
        """Delete a file."""
        self.may("delete")
        super().xDelete(name, syncdir)
        self.note(Op("delete", Path(name).name, int(syncdir)))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._disk, self._name = disk, Path(path).name
        new = bool(path) and not Path(path).exists()
        super().__init__("", name, flags)
        if new:
            disk.note(Op("create", self._name))

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write; a write that fails may have written a part."""
        faults = self._disk.faults
        if faults is not None and faults.strike("write"):
            part = data[: faults.random.randrange(len(data) + 1)]
            self._write(part, offset)
            raise faults.error("write")
        self._write(data, offset)

    def _write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.note(Op("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        """Cut off."""
        self._disk.may("truncate")
        super().xTruncate(newsize)
        self._disk.note(Op("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Sync. It is not passed on: what would survive is reckoned from the log, see Medium."""
        del flags
        faults = self._disk.faults
        if faults is not None and faults.strike("sync"):
            self._disk.note(Op("sync failed", self._name))
            raise faults.error("sync")
        self._disk.note(Op("sync", self._name))


class Database:
    """An apsw connection with the methods of sqlite3.Connection that the agent uses."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path, self._disk = path, disk
        with _Translated():
            self._db = apsw.Connection(str(path), vfs=disk.vfs_name)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> "Rows":
        """Run a statement."""
        with _Translated():
            before = self._db.total_changes()
            cursor = self._db.execute(self._disk.instead.get(sql, sql), tuple(values))
            rows = Rows(cursor, self._db.total_changes() - before)
        if sql == "COMMIT" and self._disk.content is not None:
            found = self._disk.content(self)  # type: ignore[arg-type]  # looks like one
            self._disk.mark(self._path.name, found)
        return rows

    def close(self) -> None:
        """Close."""
        with _Translated():
            self._db.close()


class Rows:
    """An apsw cursor with the methods of sqlite3.Cursor that the agent uses."""

    def __init__(self, cursor: apsw.Cursor, rowcount: int) -> None:
        self._cursor = cursor
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    def fetchone(self) -> Any:  # noqa: ANN401 - a row
        """Return the next row, None after the last."""
        with _Translated():
            return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """Return the other rows."""
        with _Translated():
            return self._cursor.fetchall()


class _Translated:
    """Turns apsw's errors into those of sqlite3, with their codes."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, apsw.Error):
            return
        code = int(getattr(error, "extendedresult", 0) or getattr(error, "result", 0))
        kind: type[sqlite3.DatabaseError] = sqlite3.OperationalError
        if code & 0xFF in _DATABASE_ERRORS:
            kind = sqlite3.DatabaseError
        if isinstance(error, apsw.ConstraintError):
            kind = sqlite3.IntegrityError
        made = kind(str(error))
        made.sqlite_errorcode = code or apsw.SQLITE_IOERR
        raise made from error
