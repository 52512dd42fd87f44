"""One SQLite file of ours: opening, durability, quarantine. Journal and outbox stand on it.

* WAL with synchronous=FULL: a committed row survives a power cut; NORMAL loses some, OFF corrupts.
* One connection per process, guarded by one lock: SQLite before 3.51.3 has a race between
  connections when the WAL is reset.
* After any error of SQLite the operation counts as not done; the connection is thrown away and
  the next use opens a new one. It may find the failed commit in the WAL and build on it, so the WAL
  is made durable before anything is written: else a power cut would take all later commits with
  the failed one.
* A file that is damaged or not ours at the start is kept aside as NAME.corrupt-<n>, three at the
  most. A new file knows whether there was one before it (`lost`).
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from agent.durable import rewrite
from agent.quarantine import put_aside, traces

MIB = 1024 * 1024
_BUSY_MS = 5000  # another process (the CLI) may read or write for a moment
_PRAGMAS = (
    f"PRAGMA busy_timeout = {_BUSY_MS}",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 256",
    # Pages: as many as SQLite allocates in one piece when it opens a file (its PCACHE_INITSZ). A
    # larger cache fills page by page over hours and days, and looks like a leak.
    "PRAGMA cache_size = 20",
    f"PRAGMA journal_size_limit = {MIB}",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)
# Errors that say something about the machine, not about the content of the file.
_TROUBLE = frozenset(
    {
        *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM),
        *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_PROTOCOL),
    }
)
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_MISSING, _EMPTY = "it is gone", "it is empty"


def connect(path: Path) -> sqlite3.Connection:
    """Open a database as this module needs it: no transactions of the driver's own."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


class Storage(NamedTuple):
    """The way to the disk.

    Attributes:
        connect: opens a database.
        rewrite: makes what a file holds durable; raises OSError if it cannot.
    """

    connect: Callable[[Path], sqlite3.Connection]
    rewrite: Callable[[Path], None]


STORAGE = Storage(connect, rewrite)


class Schema(NamedTuple):
    """What makes an empty file ours.

    Attributes:
        version: kept in user_version.
        statements: make the tables.
        mistakes: yields what is wrong with the content; a file with mistakes is not used.
    """

    version: int
    statements: Sequence[str]
    mistakes: Callable[[sqlite3.Connection], Iterable[str]]


class _Unusable(sqlite3.OperationalError):
    """The file cannot be used, yet nothing says that its content is damaged."""


def nothing_more(_db: sqlite3.Connection, _lost: str) -> None:
    """A new file gets its tables only."""


class SqliteFile:
    """The file behind a lock.

    Args:
        path: the file; its folder is made if it is missing.
        schema: what it holds.
        max_bytes: quota of the file; beyond it a write fails.
        failed: makes the error to raise from a text; every error of SQLite becomes this one.
        born: writes into a new file, in one with its tables; is told what `lost` says.
        storage: the way to the disk; tests put one of their own under it.

    Attributes:
        created: the file was made by this start.
        lost: what became of the file before it, "" if there was none.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        max_bytes: int,
        failed: Callable[[str], Exception],
        born: Callable[[sqlite3.Connection, str], None] = nothing_more,
        storage: Storage = STORAGE,
    ) -> None:
        self.path = path
        self.created = False
        self.lost = ""
        self._schema = schema
        self._max_bytes = max_bytes
        self._failed = failed
        self._born = born
        self._storage = storage
        self._safe = False  # what is in the WAL is durable
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
            self._make_safe()
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
            self._safe = False
            self._drop()
            raise self._failed(f"{self.path.name}: {error}") from error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error, OSError):
                self._make_safe()  # closing moves the WAL into the file
            with suppress(sqlite3.Error):
                connection.close()

    def _make_safe(self) -> None:
        if not self._safe:
            self._storage.rewrite(self.path.with_name(f"{self.path.name}-wal"))
            self._safe = True

    def _start(self) -> None:
        """Open the file, or a new one in the place of one that is missing or damaged."""
        found = traces(self.path)
        damage = self._damage() if self.path.exists() else _MISSING
        if not damage:
            return
        self._drop()
        if damage not in {_MISSING, _EMPTY}:
            put_aside(self.path)
        self.created, self.lost = True, (damage if found else "")
        connection = self._connection = self._storage.connect(self.path)
        self._prepare(connection)
        self._create(connection)

    def _damage(self) -> str:
        """Return what is wrong with the content of the file, "" if nothing is."""
        try:
            connection = self._connection = self._storage.connect(self.path)
            self._prepare(connection)
            rows = connection.execute("PRAGMA integrity_check(1)").fetchall()
            if rows != [("ok",)]:
                return str(rows)
            return self._foreign(connection) or next(iter(self._schema.mistakes(connection)), "")
        except _Unusable:
            raise
        except UnicodeDecodeError as error:  # SQLite's message quotes what it found
            return f"not readable: {error.reason}"
        except sqlite3.OperationalError as error:
            if _is_trouble(error):
                raise
            return str(error)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in _DAMAGE:
                raise
            return str(error)

    def _foreign(self, connection: sqlite3.Connection) -> str:
        """Return why this is no file of ours, "" if it is."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == self._schema.version:
            return ""
        if version != 0:
            raise _Unusable(f"made by another version of the agent ({version})")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return "another program's database" if tables else _EMPTY

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self.path.exists():  # SQLite would make an empty one: all would be forgotten
                raise _Unusable("the file is gone")
            connection = self._connection = self._storage.connect(self.path)
            self._prepare(connection)
            if self._foreign(connection):
                raise _Unusable("the file was replaced")
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma).fetchall()
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise _Unusable(f"journal mode is {mode}, not wal")
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(16, self._max_bytes // page_size)}")

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement in self._schema.statements:
            connection.execute(statement)
        self._born(connection, self.lost)
        connection.execute(f"PRAGMA user_version = {self._schema.version}")
        connection.execute("COMMIT")


def _is_trouble(error: sqlite3.OperationalError) -> bool:
    """Tell whether the machine is to blame, not the content of the file.

    A text that is not UTF-8 is an OperationalError without a code.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in _TROUBLE and code != sqlite3.SQLITE_IOERR_SHORT_READ
