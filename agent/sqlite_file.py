"""One SQLite file of ours: opening, durability, quarantine. Journal and outbox stand on it.

* WAL with synchronous=FULL: a committed row survives a power cut; NORMAL loses some, OFF corrupts.
* One connection per process, guarded by one lock: SQLite before 3.51.3 has a race between
  connections when the WAL is reset.
* After any error of SQLite the operation counts as not done; the connection is thrown away and
  the next use opens a new one.
* A file that is corrupt at the start is kept aside as NAME.corrupt-<n>, three at the most.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

KEEP_CORRUPT = 3
MIB = 1024 * 1024
_BUSY_MS = 5000  # another process (the CLI) may read or write for a moment
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRAGMAS = (
    f"PRAGMA busy_timeout = {_BUSY_MS}",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 256",
    f"PRAGMA journal_size_limit = {MIB}",
    "PRAGMA trusted_schema = OFF",
)


class Schema(NamedTuple):
    """Statements that make an empty file ours; `version` is kept in user_version."""

    version: int
    statements: Sequence[str]


class SqliteFile:
    """The file behind a lock.

    Args:
        path: the file; its folder is made if it is missing.
        schema: what it holds.
        max_bytes: quota of the file; beyond it a write fails.
        failed: makes the error to raise from a text; every error of SQLite becomes this one.

    Attributes:
        created: the file was made by this start.
        lost: its predecessor was corrupt, or vanished after having been put aside.
    """

    def __init__(
        self, path: Path, schema: Schema, max_bytes: int, failed: Callable[[str], Exception]
    ) -> None:
        self.path = path
        self.created = False
        self.lost = False
        self._schema = schema
        self._max_bytes = max_bytes
        self._failed = failed
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._start()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write: all or nothing, durable when the block has ended without an error."""
        with self._lock, self._translated():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read; nothing that was not committed is seen."""
        with self._lock, self._translated():
            yield self._open()

    def close(self) -> None:
        """Close the connection; a later use opens it again."""
        with self._lock:
            self._drop()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self._drop()
            raise self._failed(f"{self.path.name}: {error}") from error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _start(self) -> None:
        self.created = not self.path.exists()
        try:
            damage = self._quick_check()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _CORRUPT:
                raise
            damage = str(error)
        if damage:
            self._drop()
            self._put_aside()
            self.created = True
            self._open()
        self.lost = self.created and bool(self._put_aside_before())

    def _quick_check(self) -> str:
        rows = self._open().execute("PRAGMA quick_check(1)").fetchall()
        return "" if rows == [("ok",)] else str(rows)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._connection = connection
            self._prepare(connection)
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise sqlite3.OperationalError(f"journal mode is {mode}, not wal")
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(16, self._max_bytes // page_size)}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._create(connection)
        elif version != self._schema.version:
            raise sqlite3.OperationalError(f"made by another version of the agent ({version})")

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement in self._schema.statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {self._schema.version}")
        connection.execute("COMMIT")

    def _put_aside_before(self) -> list[Path]:
        """Return the corrupt files kept so far, oldest first."""
        found = self.path.parent.glob(f"{self.path.name}.corrupt-*")
        numbered = [path for path in found if path.suffix.removeprefix(".corrupt-").isdigit()]
        return sorted(numbered, key=_number)

    def _put_aside(self) -> None:
        """Rename the file, then its WAL: an orphan WAL beside no file is dropped by SQLite."""
        before = self._put_aside_before()
        number = _number(before[-1]) + 1 if before else 1
        aside = self.path.with_name(f"{self.path.name}.corrupt-{number}")
        self.path.rename(aside)
        for tail in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + tail).rename(f"{aside}{tail}")
        for old in before[: max(0, len(before) + 1 - KEEP_CORRUPT)]:
            for tail in ("", "-wal", "-shm"):
                old.with_name(old.name + tail).unlink(missing_ok=True)


def _number(path: Path) -> int:
    return int(path.suffix.removeprefix(".corrupt-"))
