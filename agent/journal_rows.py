"""Rows of the journal: values, columns, the hash that chains them, and the smallest statements.

Each row's hash covers all of its columns and the hash of the row before it, so that a changed,
inserted or missing row breaks the chain. Head and base of the chain stand in `meta`: a row cut off
at the end shows too. Whoever can rewrite the whole file can rewrite the chain; the proof against
that is the copy that the platform has.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from agent.clock import Clock
from agent.payload import rfc3339
from agent.strict_json import canonical, rounded
from bms_can.commands import Command, CommandState, Reason
from bms_can.profile import CommandCode

COMMAND = "command"  # kind of the rows that are steps of a command

VERSION = 1
STATEMENTS = (
    """CREATE TABLE event (
            seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, device_uid TEXT NOT NULL,
            command_id TEXT, state TEXT, reason TEXT, detail TEXT NOT NULL, evidence TEXT NOT NULL,
            wall TEXT NOT NULL, monotonic_s REAL NOT NULL, boot_id TEXT NOT NULL,
            prev_hash TEXT NOT NULL, hash TEXT NOT NULL)""",
    "CREATE INDEX event_of_command ON event (command_id, seq)",
    """CREATE TABLE command (
            id TEXT PRIMARY KEY, device_uid TEXT NOT NULL, code INTEGER NOT NULL,
            issued_by TEXT NOT NULL, version INTEGER NOT NULL, deadline_s REAL NOT NULL,
            boot_id TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, detail TEXT NOT NULL,
            wall TEXT NOT NULL, seq INTEGER NOT NULL)""",
    "CREATE INDEX command_by_seq ON command (seq)",
    "CREATE TABLE unreported (seq INTEGER PRIMARY KEY, device_uid TEXT NOT NULL)",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event
            BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """CREATE TRIGGER event_is_only_pruned BEFORE DELETE ON event
            WHEN old.seq > CAST((SELECT value FROM meta WHERE key = 'base_seq') AS INTEGER)
            BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """INSERT INTO meta VALUES ('base_seq', '0'), ('base_hash', printf('%064d', 0)),
            ('head_seq', '0'), ('head_hash', printf('%064d', 0))""",
)

TALLY = """SELECT device_uid, state, coalesce(reason, ''), count(*) FROM command
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
EVENTS = """SELECT seq, kind, device_uid, command_id, state, reason, detail, evidence, wall,
    monotonic_s, boot_id, prev_hash, hash FROM event """
COMMANDS = """SELECT id, device_uid, code, issued_by, version, deadline_s, boot_id, state, reason,
    detail, wall, seq FROM command """


class Stamp(NamedTuple):
    """When something happened: wall time for people, monotonic [s] with boot id for order."""

    wall: datetime
    monotonic_s: float
    boot_id: str

    @classmethod
    def of(cls, clock: Clock) -> "Stamp":
        """Return the present moment."""
        return cls(clock.wall(), clock.monotonic_s(), clock.boot_id())


class Event(NamedTuple):
    """One row of the journal.

    Attributes:
        kind: "command", or what a note is about.
        command_id, state: None for a note that belongs to no command.
        wall: RFC 3339 UTC.
    """

    seq: int
    kind: str
    device_uid: str
    command_id: str | None
    state: CommandState | None
    reason: Reason | None
    detail: str
    evidence: Mapping[str, object]
    wall: str
    monotonic_s: float
    boot_id: str
    prev_hash: str
    hash: str


class Entry(NamedTuple):
    """A command and where it stands.

    Attributes:
        wall: time of its newest step, RFC 3339 UTC.
        seq: number of its newest step.
        new: `accept` wrote it just now; False for one that was known.
        conflict: `accept` was given the same id for another code or device; this is the stored one.
    """

    command: Command
    state: CommandState
    reason: Reason | None
    detail: str
    wall: str
    seq: int
    new: bool = False
    conflict: bool = False


class Head(NamedTuple):
    """The newest row of the journal: its number and hash."""

    seq: int
    hash: str


class Lockout(NamedTuple):
    """A person on site keeps remote closes off. `since` is RFC 3339 UTC."""

    reason: str
    who: str
    since: str


class Draft(NamedTuple):
    """An event that has no number yet."""

    kind: str
    device_uid: str
    command_id: str | None = None
    state: CommandState | None = None
    reason: Reason | None = None
    detail: str = ""
    evidence: Mapping[str, object] | None = None


def row_of(draft: Draft, stamp: Stamp, seq: int, prev_hash: str) -> tuple[Any, ...]:
    """Return the columns of a new event, its hash last."""
    row = (
        seq,
        draft.kind,
        draft.device_uid,
        draft.command_id,
        None if draft.state is None else draft.state.value,
        None if draft.reason is None else draft.reason.value,
        draft.detail,
        canonical(rounded(draft.evidence or {})),
        rfc3339(stamp.wall),
        float(stamp.monotonic_s),
        stamp.boot_id,
        prev_hash,
    )
    return (*row, hash_of(row))


def hash_of(row: tuple[Any, ...]) -> str:
    """Return the SHA-256 of a row without its own hash."""
    return hashlib.sha256(canonical(row).encode()).hexdigest()


def event_of(row: tuple[Any, ...]) -> Event:
    """Return the value of a row as `EVENTS` selects it."""
    seq, kind, uid, command_id, state, reason, detail, evidence, *rest = row
    return Event(  # in one piece: see agent/memory.py on `_replace`
        seq,
        kind,
        uid,
        command_id,
        None if state is None else CommandState(state),
        None if reason is None else Reason(reason),
        detail,
        json.loads(evidence),
        *rest,
    )


def entry_of(row: tuple[Any, ...]) -> Entry:
    """Return the value of a row as `COMMANDS` selects it."""
    identity, device_uid, code, *rest = row
    issued_by, version, deadline_s, boot_id, state, reason, detail, wall, seq = rest
    command = Command(
        identity, CommandCode(code), device_uid, issued_by, version, deadline_s, boot_id
    )
    word = None if reason is None else Reason(reason)
    return Entry(command, CommandState(state), word, detail, wall, seq)


def get_meta(db: sqlite3.Connection, key: str) -> str | None:
    """Return a kept small value, None if there is none."""
    row = db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
    return None if row is None else str(row[0])


def set_meta(db: sqlite3.Connection, key: str, value: str) -> None:
    """Keep a small value."""
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def append(db: sqlite3.Connection, draft: Draft, stamp: Stamp) -> int:
    """Add an event at the end of the chain; return its number."""
    seq = int(get_meta(db, "head_seq") or 0) + 1
    row = row_of(draft, stamp, seq, get_meta(db, "head_hash") or "")
    db.execute("INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", row)
    if draft.kind == COMMAND:
        db.execute("INSERT INTO unreported VALUES (?, ?)", (seq, draft.device_uid))
    set_meta(db, "head_seq", str(seq))
    set_meta(db, "head_hash", row[-1])
    return seq


def find_entry(db: sqlite3.Connection, command_id: str) -> Entry | None:
    """Return a command, None if the id is unknown."""
    row = db.execute(COMMANDS + "WHERE id=?", (command_id,)).fetchone()
    return None if row is None else entry_of(row)


def insert_entry(db: sqlite3.Connection, entry: Entry) -> None:
    """Add a command."""
    command = entry.command
    values = (
        *(command.id, command.device_uid, int(command.code), command.issued_by, command.version),
        *(command.deadline_s, command.boot_id, entry.state.value, None, "", entry.wall, entry.seq),
    )
    db.execute("INSERT INTO command VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", values)


def head_of(db: sqlite3.Connection) -> Head:
    """Return the end of the chain."""
    return Head(int(get_meta(db, "head_seq") or 0), get_meta(db, "head_hash") or "")


def knows(db: sqlite3.Connection, head: Head) -> bool:
    """Tell whether a row that was once the head is in the chain, or was pruned."""
    row = db.execute("SELECT hash FROM event WHERE seq=?", (head.seq,)).fetchone()
    return head.seq <= int(get_meta(db, "base_seq") or 0) or row == (head.hash,)


def note_loss(db: sqlite3.Connection, stamp: Stamp, detail: str) -> None:
    """Take note that rows of earlier are missing, and of when that was found."""
    append(db, Draft("journal-lost", "", detail=detail), stamp)
    set_meta(db, "lost", canonical([stamp.boot_id, stamp.monotonic_s]))


def compare(db: sqlite3.Connection, known: Entry, command: Command, stamp: Stamp) -> Entry:
    """Return the known command; a conflict, recorded once, if this one is another."""
    same = (known.command.code, known.command.device_uid) == (command.code, command.device_uid)
    if same:
        return known
    detail = f"id came again as command {int(command.code)} for {command.device_uid}"
    query = "SELECT 1 FROM event WHERE command_id=? AND kind='conflict' AND detail=?"
    if db.execute(query, (command.id, detail)).fetchone() is None:  # once is enough for the record
        draft = Draft("conflict", known.command.device_uid, command.id, detail=detail)
        append(db, draft, stamp)
    return known._replace(conflict=True)


def prune_rows(db: sqlite3.Connection, before: str, unfinished: str) -> int:
    """Move the base of the chain on and delete what is before it; return how many rows.

    Args:
        db: inside a transaction.
        before: rows written from this wall time on stay, RFC 3339.
        unfinished: condition on a command that is not at its end; its rows stay.
    """
    first_kept = f"""SELECT min(seq) FROM event WHERE wall >= ? OR seq IN
        (SELECT seq FROM unreported) OR command_id IN
        (SELECT id FROM command WHERE {unfinished})"""  # noqa: S608 - a constant of journal.py
    (first,) = db.execute(first_kept, (before,)).fetchone()
    last = int(get_meta(db, "head_seq") or 0) if first is None else first - 1
    row = db.execute("SELECT hash FROM event WHERE seq=?", (last,)).fetchone()
    if row is None:
        return 0
    set_meta(db, "base_seq", str(last))
    set_meta(db, "base_hash", row[0])
    return db.execute("DELETE FROM event WHERE seq<=?", (last,)).rowcount
