"""Looks for alterations of the journal: the chain of hashes, and the states that rest on it.

Found: every change that does not rewrite the whole rest of the chain with new hashes and keep the
commands in step with it. Such a rewrite shows only against a head that somebody else keeps: the
platform (docs/safety.md).

Values of any type are expected everywhere: a flipped bit can make a number of a text.
"""

import json
import sqlite3
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

from agent.journal_rows import COMMAND, COMMANDS, EVENTS, entry_of, hash_of
from agent.strict_json import rounded
from bms_can.commands import NEXT

_TERMS = ("device_uid", "code", "issued_by", "version", "deadline_s", "boot_id")
_LEGAL = {(before.value, after.value) for before, following in NEXT.items() for after in following}
_ACCEPTED = "accepted"
RECENT = 20_000  # rows: some 3,000 commands; a second of work for a small box
_ORPHANS = """SELECT u.seq FROM unreported u LEFT JOIN event e ON e.seq = u.seq
    WHERE e.device_uid IS NOT u.device_uid OR e.kind IS NOT ?"""
# Other values of meta, by the beginning of their keys: what each must hold.
_LIST_KEYS = ("lost", "lockout", "latches:")
_NUMBER_KEY = "next:"

Steps = dict[str, list[tuple[Any, ...]]]  # seq, state, reason, detail, wall, evidence of each


def mistakes(db: sqlite3.Connection) -> Iterator[str]:
    """Yield everything that is wrong, illegal steps included."""
    yield from damage(db)
    yield from illegal_steps(db)


def damage(db: sqlite3.Connection, after: int = 0) -> Iterator[str]:
    """Yield what is not as it was written: then the journal cannot be trusted.

    Illegal steps are not in here: a later release may know other steps than the one that wrote.

    Args:
        db: the journal.
        after: rows up to this number are not looked at.
    """
    return chain(chain_mistakes(db, after), _command_damage(db, after), _small_damage(db))


def recent_damage(db: sqlite3.Connection) -> Iterator[str]:
    """Yield what is wrong with the newest rows: all that a start has time for.

    A command that is older than these cannot come back: its life is long over.
    """
    newest = _number(_meta(db).get("head_seq")) or 0
    return damage(db, max(0, newest - RECENT))


def chain_mistakes(db: sqlite3.Connection, after: int = 0) -> Iterator[str]:
    """Yield each break of the chain, from the base kept in meta to the head kept there."""
    meta = _meta(db)
    base, prev_hash = meta.get("base_seq"), meta.get("base_hash")
    if _number(base) is None:
        yield f"base: {base} is no number"
    expected, first = _number(base) or 0, -(2**63)
    if after > expected:
        found = db.execute("SELECT hash FROM event WHERE seq=?", (after,)).fetchone()
        expected, first, prev_hash = after, after + 1, found and found[0]
    for row in db.execute(EVENTS + "WHERE seq>=? ORDER BY seq", (first,)):
        expected += 1
        if row[0] != expected:
            yield f"row {expected}: is missing, {row[0]} follows"
            expected = row[0]
        if row[-2] != prev_hash:
            yield f"row {row[0]}: does not follow the row before it"
        if _hash(row[:-1]) != row[-1]:
            yield f"row {row[0]}: was altered"
        prev_hash = row[-1]
    if (str(expected), prev_hash) != (meta.get("head_seq"), meta.get("head_hash")):
        yield f"end: last row is {expected}, not the head {meta.get('head_seq')}"


def illegal_steps(db: sqlite3.Connection) -> Iterator[str]:
    """Yield each step that may not follow the one before it."""
    for rows in _steps(db, 0).values():
        for before, after in pairwise(rows):
            if (before[1], after[1]) not in _LEGAL:
                yield f"row {after[0]}: {after[1]} may not follow {before[1]}"


def _command_damage(db: sqlite3.Connection, after: int) -> Iterator[str]:
    """Yield each command whose kept state or terms are not what its rows say."""
    steps = _steps(db, after)
    kept = {row[0]: row for row in db.execute(COMMANDS)}
    pruned = max(after, _number(_meta(db).get("base_seq")) or 0)
    for command_id, rows in steps.items():
        yield from _kept_mistakes(command_id, rows, kept.get(command_id))
    for command_id, row in kept.items():
        if not _readable(row):
            yield f"command {command_id}: cannot be read"
        elif row[-1] > pruned and command_id not in steps:
            yield f"command {command_id}: has no rows"


def _kept_mistakes(
    command_id: str, rows: list[tuple[Any, ...]], kept: tuple[Any, ...] | None
) -> Iterator[str]:
    if kept is None:
        yield f"command {command_id}: is not kept"
        return
    if (kept[-1], *kept[7:11]) != rows[-1][:-1]:
        yield f"command {command_id}: kept state is not that of its last row"
    if rows[0][1] == _ACCEPTED and _terms(rows[0][-1]) != rounded(kept[1:7]):
        yield f"command {command_id}: kept terms are not those of its first row"


def _small_damage(db: sqlite3.Connection) -> Iterator[str]:
    for (seq,) in db.execute(_ORPHANS, (COMMAND,)):
        yield f"row {seq}: waits for the platform, but is no step of that device"
    for key, value in _meta(db).items():
        number = str(key).startswith(_NUMBER_KEY)
        if number and _number(value) is None:
            yield f"meta {key}: {value} is no number"
        if str(key).startswith(_LIST_KEYS) and not isinstance(_json(value), list):
            yield f"meta {key}: cannot be read"


def _steps(db: sqlite3.Connection, after: int) -> Steps:
    steps: Steps = {}
    query = """SELECT command_id, seq, state, reason, detail, wall, evidence FROM event
        WHERE kind=? AND seq>? ORDER BY seq"""
    for command_id, *step in db.execute(query, (COMMAND, after)):
        steps.setdefault(command_id, []).append(tuple(step))
    return steps


def _meta(db: sqlite3.Connection) -> dict[str, Any]:
    return dict(db.execute("SELECT key, value FROM meta").fetchall())


def _number(value: object) -> int | None:
    """Return a number as we write them into meta, None for anything else."""
    if not isinstance(value, str) or not value.isdecimal() or str(int(value)) != value:
        return None
    return int(value)


def _hash(row: tuple[Any, ...]) -> str:
    try:
        return hash_of(row)
    except (TypeError, ValueError):  # bytes or infinity in a row: never written by us
        return ""


def _readable(row: tuple[Any, ...]) -> bool:
    try:
        return isinstance(entry_of(row).seq, int)
    except (TypeError, ValueError):
        return False


def _terms(evidence: str) -> list[Any] | None:
    found = _json(evidence)
    return [found.get(key) for key in _TERMS] if isinstance(found, dict) else None


def _json(text: Any) -> object:  # noqa: ANN401 - whatever a damaged column holds
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
