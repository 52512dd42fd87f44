"""The database file: durable settings, one schema, clear refusals."""

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ems.database import Database, open_database
from ems.errors import ConfigError, StoreError
from ems.schema import SCHEMA_VERSION, arms, devices, meta

SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO meta VALUES ('schema_version', '1');
CREATE TABLE devices (uid TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, code TEXT,
  license_code TEXT, location TEXT, affiliation TEXT, created_ms BIGINT NOT NULL,
  heartbeat_ms BIGINT);
INSERT INTO devices (uid, name, created_ms) VALUES ('A', 'a', 1);
"""


def test_both_sides_use_the_durable_settings(database: Database) -> None:
    """WAL, synchronous FULL, foreign keys and a busy time-out hold on every connection."""
    for side in (database.write, database.read):
        with side() as connection:
            got = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            ]
        assert got == ["wal", 2, 1, 5000]


def test_the_file_is_private(database: Database) -> None:
    """Only the owner can read the store."""
    assert database.path.stat().st_mode & 0o777 == 0o600


def test_a_reader_cannot_write(database: Database) -> None:
    """The reading side refuses to change anything."""
    with pytest.raises(StoreError, match="readonly"), database.read() as connection:
        connection.execute(meta.insert().values(key="x", value="y"))


def test_an_error_inside_a_write_undoes_it(database: Database) -> None:
    """A write happens whole or not at all."""

    def half_done() -> None:
        with database.write() as connection:
            connection.execute(meta.insert().values(key="x", value="y"))
            raise KeyError

    with pytest.raises(KeyError):
        half_done()
    with database.read() as connection:
        assert connection.scalar(select(meta.c.value).where(meta.c.key == "x")) is None


def test_writers_take_turns(database: Database) -> None:
    """Many threads that read and then write lose no update."""

    def add_ten(name: str) -> None:
        for number in range(10):
            with database.write() as connection:
                count = connection.scalar(select(func.count()).select_from(meta))
                row = {"key": f"{name}-{number}", "value": str(count)}
                connection.execute(meta.insert().values(row))

    threads = [threading.Thread(target=add_ten, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        rows = connection.execute(select(meta).where(meta.c.key != "schema_version")).all()
    assert sorted(int(row.value) for row in rows) == list(range(1, 41))


def test_reopening_keeps_the_content(tmp_path: Path) -> None:
    """A second start finds what the first one wrote."""
    path = tmp_path / "x.db"
    first = open_database(path)
    with first.write() as connection:
        connection.execute(devices.insert().values(uid="A", name="a", created_ms=1))
    first.close()
    second = open_database(path)
    with second.read() as connection:
        assert connection.scalar(select(devices.c.uid)) == "A"
    second.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file of a newer program is left alone, and the error names it."""
    path = tmp_path / "x.db"
    open_database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value='99' WHERE key='schema_version'")
    connection.close()
    with pytest.raises(ConfigError, match=r"x\.db has schema version 99.*newer"):
        open_database(path)


def test_an_older_schema_is_carried_over(tmp_path: Path) -> None:
    """A store of schema 1 opens, keeps what it has, and knows the new columns and tables."""
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA_1)
    connection.close()
    for _ in range(2):
        database = open_database(path)
        with database.read() as reader:
            assert reader.execute(select(devices.c.uid, devices.c.two_step)).all() == [("A", False)]
            version = reader.scalar(select(meta.c.value).where(meta.c.key == "schema_version"))
            assert version == str(SCHEMA_VERSION)
            assert reader.execute(select(arms)).all() == []
        database.close()


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    """Another program's database, a text file and a missing folder are refused by name."""
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    text = tmp_path / "text.db"
    text.write_text("this is not a database, it is a letter " * 50)
    bare = tmp_path / "bare.db"
    with sqlite3.connect(bare) as connection:
        connection.execute("CREATE TABLE meta (key, value)")
    connection.close()
    for path in (other, text, bare, tmp_path / "missing" / "x.db"):
        with pytest.raises(ConfigError, match=path.name):
            open_database(path)
