"""The database file: one writer, many readers. SQLAlchemy's errors become ours here.

Rules:
- SQLite in WAL with synchronous=FULL: an acknowledged row survives a power cut (traps.md 27).
- One connection writes, in BEGIN IMMEDIATE, behind one lock (traps.md 27 and 28).
- Readers are query_only; a read transaction is short, so that checkpoints come through.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ems.errors import ConfigError, StoreError
from ems.migrations import migrate
from ems.schema import SCHEMA_VERSION, meta, metadata

#: How long a writer waits for the other process (the CLI beside the server) [ms].
BUSY_TIMEOUT_MS = 5000
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA wal_autocheckpoint=256",
    "PRAGMA journal_size_limit=1048576",
)


class Database:
    """One SQLite file, open. Use `open_database`.

    Args:
        path: the file.
        writer: engine of one connection whose transactions are BEGIN IMMEDIATE.
        reader: engine of query-only connections.
    """

    def __init__(self, path: Path, writer: Engine, reader: Engine) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._lock = threading.Lock()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run one write transaction; it is on disk when the block ends.

        Raises:
            StoreError: nothing was written.
        """
        with self._lock, _translated(self.path), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run one read transaction on a consistent snapshot.

        Raises:
            StoreError: the file could not be read.
        """
        with _translated(self.path), self._reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._reader.dispose()
        self._writer.dispose()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreError(f"{path}: {type(error).__name__}: {_cause(error)}") from error


def _cause(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).split("\n", 1)[0]


def _engine(path: Path, *, begin: str, size: int, extra: str | None = None) -> Engine:
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=30,
        connect_args={"check_same_thread": False},
        hide_parameters=True,
    )

    def on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's own object
        connection.isolation_level = None  # the driver must not begin by itself
        for pragma in (*_PRAGMAS, extra) if extra else _PRAGMAS:
            connection.execute(pragma)

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine


def open_database(path: Path) -> Database:
    """Open the store, creating the file (mode 0600) and its tables when there is none.

    Raises:
        ConfigError: the file cannot be used: no database, not ours, or of a newer version.
    """
    _prepare_file(path)
    writer = _engine(path, begin="BEGIN IMMEDIATE", size=1)
    reader = _engine(path, begin="BEGIN", size=8, extra="PRAGMA query_only=ON")
    database = Database(path, writer, reader)
    try:
        with database.write() as connection:
            _check_schema(connection, path)
    except StoreError as error:
        database.close()
        raise ConfigError(f"cannot use the database {error}") from error
    except ConfigError:
        database.close()
        raise
    return database


def _prepare_file(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(f"cannot open the database {path}: {error.strerror}") from error


def _check_schema(connection: Connection, path: Path) -> None:
    tables = set(inspect(connection).get_table_names())
    if not tables:
        metadata.create_all(connection)
        connection.execute(meta.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))
        return
    if "meta" not in tables:
        raise ConfigError(f"{path} is a database of another program")
    text = connection.scalar(select(meta.c.value).where(meta.c.key == "schema_version"))
    if text is None or not text.isdecimal():
        raise ConfigError(f"{path} has no schema version: it is damaged or not ours")
    if int(text) > SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has schema version {text}, this program knows {SCHEMA_VERSION}: "
            "it was written by a newer ems-server; use that one or a backup"
        )
    if int(text) < SCHEMA_VERSION:
        migrate(connection, int(text))
