"""The outbox: state changes and alarm edges that the platform shall get, in order, none twice.

Numbers. Every report and every sync body carries a sequence; the platform takes only a larger one.
Numbers come in blocks of 1000, each reserved durably in the journal before its first use, so that
one number costs no fsync and none comes twice after a crash; the rest of a block is skipped. The
floor is the high mark kept here too, should the journal be lost, and the milliseconds of the wall
clock at the start (more than any box ever used up), should both be lost; and should that clock be
wrong, `raise_above` takes what the platform says that it has.

Bounds. When rows or bytes are over the limit the oldest reports go, and are counted: the platform
learns how many it will never see. Results of commands are not here; they live in the journal.
"""

import json
import sqlite3
import threading
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from agent.errors import OutboxFailed
from agent.outbox_check import MOST, checksum, mistakes
from agent.payload import Report, rfc3339
from agent.sqlite_file import MIB, STORAGE, Schema, SqliteFile, Storage
from agent.strict_json import canonical, rounded

BLOCK = 1000
MAX_ROWS = 50_000
MAX_BYTES = 16 * MIB
MAX_REPORT_BYTES = 8 * 1024
ALARM = "alarm"

_SCHEMA = Schema(
    2,
    (
        """CREATE TABLE report (
            sequence INTEGER PRIMARY KEY, device_uid TEXT NOT NULL, kind TEXT NOT NULL,
            at TEXT NOT NULL, body TEXT NOT NULL, bytes INTEGER NOT NULL,
            crc INTEGER NOT NULL)""",
        "CREATE INDEX report_of_device ON report (device_uid, sequence)",
        """CREATE TABLE alarm (
            device_uid TEXT NOT NULL, key TEXT NOT NULL, since TEXT NOT NULL, body TEXT NOT NULL,
            crc INTEGER NOT NULL, PRIMARY KEY (device_uid, key))""",
        "CREATE TABLE number (key TEXT PRIMARY KEY, value INTEGER NOT NULL)",
        "INSERT INTO number VALUES ('high', 0), ('dropped', 0), ('rows', 0), ('bytes', 0)",
    ),
    mistakes,
)


class Reserve(Protocol):
    """Reserves numbers durably, somewhere else than here; see Journal.reserve."""

    def __call__(self, count: int, at_least: int) -> int:
        """Return the first of `count` numbers that nobody gets again, at least `at_least`."""


class Backlog(NamedTuple):
    """What waits, and how many reports were dropped since the file was made."""

    rows: int
    bytes: int
    dropped: int


class AlarmEdges(NamedTuple):
    """Outcome of `alarm_edges`: active keys with their time, and what changed."""

    since: Mapping[str, datetime]
    raised: tuple[str, ...]
    cleared: tuple[str, ...]


class Outbox:
    """The queue of one box. Thread-safe.

    Args:
        path: the file, queue.db.
        reserve: where blocks of numbers come from.
        wall: wall time of opening, the floor of the numbers.
        max_rows, max_bytes: bounds of what waits.
        storage: the way to the disk.

    Raises:
        OutboxFailed: the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        reserve: Reserve,
        wall: datetime,
        *,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
        storage: Storage = STORAGE,
    ) -> None:
        # Twice the bound: pages hold free space too. The bound itself is kept by dropping rows.
        bytes_kept = 2 * max_bytes + MIB
        self._file = SqliteFile(path, _SCHEMA, bytes_kept, OutboxFailed, storage=storage)
        self._reserve = reserve
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._next = 0
        self._end = 0  # first number beyond the reserved block
        # Also for a file that is there: its last rows may be lost, and the journal's with them.
        self._floor = max(1, min(int(wall.timestamp() * 1000), MOST))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def next_sequence(self) -> int:
        """Return a number larger than any before it, also those of earlier processes.

        Raises:
            JournalFailed, OutboxFailed: no block could be reserved.
        """
        with self._lock:
            if self._next >= self._end:
                self._reserve_block()
            self._next += 1
            return self._next - 1

    def raise_above(self, sequence: int) -> None:
        """Take note of a number that the platform has; ours go on above it."""
        with self._lock:
            if sequence >= self._next:
                self._floor = max(self._floor, sequence + 1)
                self._end = self._next

    def _reserve_block(self) -> None:
        with self._file.reading() as db:
            floor = max(self._floor, _number(db, "high") + 1)
        first = self._reserve(BLOCK, floor)
        with self._file.transaction() as db:
            _set_number(db, "high", first + BLOCK - 1)
        self._next, self._end = first, first + BLOCK

    def put(self, device_uid: str, kind: str, at: datetime, body: Mapping[str, object]) -> int:
        """Keep a report durably; return its number.

        Raises:
            OutboxFailed: it is too large, or the file cannot be written.
        """
        with self._lock:  # rows appear in the order of their numbers, or `done` would lose one
            sequence = self.next_sequence()
            with self._file.transaction() as db:
                self._insert(db, device_uid, Report(sequence, kind, rfc3339(at), body))
        return sequence

    def _insert(self, db: sqlite3.Connection, device_uid: str, report: Report) -> None:
        body = canonical(rounded(report.body))
        size = len(body.encode())
        if size > MAX_REPORT_BYTES:
            raise OutboxFailed(f"report of {size} bytes is over the limit of {MAX_REPORT_BYTES}")
        row = (report.sequence, device_uid, report.kind, report.at, body, size)
        db.execute("INSERT INTO report VALUES (?,?,?,?,?,?,?)", (*row, checksum(*row)))
        _add(db, rows=1, size=size)
        while _number(db, "rows") > self._max_rows or _number(db, "bytes") > self._max_bytes:
            oldest = "SELECT sequence, bytes FROM report ORDER BY sequence LIMIT 1"
            first, first_size = db.execute(oldest).fetchone()
            db.execute("DELETE FROM report WHERE sequence=?", (first,))
            _add(db, rows=-1, size=-first_size, dropped=1)

    def batch(
        self, device_uid: str, limit: int = 100, max_bytes: int = 12_000
    ) -> tuple[Report, ...]:
        """Return the oldest reports of a device, not more than fit into one body."""
        query = """SELECT sequence, kind, at, body, bytes FROM report WHERE device_uid=?
            ORDER BY sequence LIMIT ?"""
        found: list[Report] = []
        with self._file.reading() as db:
            for sequence, kind, at, body, size in db.execute(query, (device_uid, limit)).fetchall():
                max_bytes -= size
                if found and max_bytes < 0:
                    break
                found.append(Report(sequence, kind, at, json.loads(body)))
        return tuple(found)

    def done(self, device_uid: str, through: int) -> None:
        """Forget the reports of a device up to and with this number: the platform has them."""
        mine = "FROM report WHERE device_uid=? AND sequence<=?"
        with self._file.transaction() as db:
            count = f"SELECT count(*), total(bytes) {mine}"
            rows, size = db.execute(count, (device_uid, through)).fetchone()
            db.execute(f"DELETE {mine}", (device_uid, through))
            _add(db, rows=-rows, size=-int(size))

    def backlog(self) -> Backlog:
        """Return how much waits."""
        with self._file.reading() as db:
            return Backlog(_number(db, "rows"), _number(db, "bytes"), _number(db, "dropped"))

    def alarms_since(self, device_uid: str) -> dict[str, datetime]:
        """Return since when each known alarm is on, as kept over restarts."""
        query = "SELECT key, since FROM alarm WHERE device_uid=?"
        with self._file.reading() as db:
            rows = db.execute(query, (device_uid,)).fetchall()
        return {key: datetime.fromisoformat(since) for key, since in rows}

    def alarm_edges(
        self,
        device_uid: str,
        active: Mapping[str, Mapping[str, object]],
        now: datetime,
        unknown: Collection[str] | None = (),
    ) -> AlarmEdges:
        """Compare the alarms with those kept; keep and report each change, all or nothing.

        Args:
            device_uid: the device.
            active: key to body of each alarm that is on.
            now: wall time.
            unknown: keys that cannot be judged now and so are not cleared; None: no key can.
        """
        known = self.alarms_since(device_uid)
        raised = tuple(key for key in active if key not in known)
        gone = [key for key in known if key not in active]
        cleared = tuple(key for key in gone if unknown is not None and key not in unknown)
        if raised or cleared:
            with self._lock:
                numbers = [self.next_sequence() for _ in (*raised, *cleared)]
                with self._file.transaction() as db:
                    for key, number in zip((*raised, *cleared), numbers, strict=True):
                        body = _turn(db, device_uid, key, active.get(key), rfc3339(now))
                        self._insert(db, device_uid, Report(number, ALARM, rfc3339(now), body))
        return AlarmEdges(self.alarms_since(device_uid), raised, cleared)


def _turn(
    db: sqlite3.Connection, device_uid: str, key: str, body: Mapping[str, object] | None, at: str
) -> Mapping[str, object]:
    """Keep (with a body) or forget (without) an alarm; return the report about it."""
    if body is not None:
        row = (device_uid, key, at, canonical(rounded(body)))
        db.execute("INSERT INTO alarm VALUES (?,?,?,?,?)", (*row, checksum(*row)))
        return {**body, "key": key, "active": True, "since": at}
    mine = (device_uid, key)
    query = "SELECT since, body FROM alarm WHERE device_uid=? AND key=?"
    since, kept = db.execute(query, mine).fetchone()
    db.execute("DELETE FROM alarm WHERE device_uid=? AND key=?", mine)
    return {**json.loads(kept), "key": key, "active": False, "since": since}


def _number(db: sqlite3.Connection, key: str) -> int:
    row = db.execute("SELECT value FROM number WHERE key=?", (key,)).fetchone()
    return int(row[0])


def _set_number(db: sqlite3.Connection, key: str, value: int) -> None:
    db.execute("UPDATE number SET value=? WHERE key=?", (value, key))


def _add(db: sqlite3.Connection, *, rows: int, size: int, dropped: int = 0) -> None:
    for key, change in (("rows", rows), ("bytes", size), ("dropped", dropped)):
        db.execute("UPDATE number SET value=value+? WHERE key=?", (change, key))
