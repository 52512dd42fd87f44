"""Looks for alterations of the journal: the chain of hashes, and the states that rest on it."""

import json
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from agent.journal_rows import COMMAND, COMMANDS, EVENTS, get_meta, hash_of
from agent.strict_json import rounded
from bms_can.commands import NEXT

_TERMS = ("device_uid", "code", "issued_by", "version", "deadline_s", "boot_id")
_LEGAL = {(before.value, after.value) for before, following in NEXT.items() for after in following}


def chain_mistakes(db: sqlite3.Connection) -> Iterator[str]:
    """Yield each break of the chain, from the base kept in meta to the head kept there."""
    base, prev_hash = get_meta(db, "base_seq") or "", get_meta(db, "base_hash")
    expected = int(base) if base.isdigit() else 0
    for row in db.execute(EVENTS + "ORDER BY seq"):
        expected += 1
        if row[0] != expected:
            yield f"row {expected}: is missing, {row[0]} follows"
            expected = row[0]
        if row[-2] != prev_hash:
            yield f"row {row[0]}: does not follow the row before it"
        if hash_of(row[:-1]) != row[-1]:
            yield f"row {row[0]}: was altered"
        prev_hash = row[-1]
    head = get_meta(db, "head_seq")
    if (str(expected), prev_hash) != (head, get_meta(db, "head_hash")):
        yield f"end: last row is {expected}, not the head {head}"


def state_mistakes(db: sqlite3.Connection) -> Iterator[str]:
    """Yield each command whose kept state is not what its rows say, or came about illegally."""
    steps: dict[str, list[tuple[Any, ...]]] = {}
    query = "SELECT command_id, seq, state, evidence FROM event WHERE kind=? ORDER BY seq"
    for command_id, *step in db.execute(query, (COMMAND,)):
        steps.setdefault(command_id, []).append(tuple(step))
    kept = {row[0]: row for row in db.execute(COMMANDS)}
    for command_id, rows in steps.items():
        yield from _command_mistakes(command_id, rows, kept.get(command_id))
    base = int(get_meta(db, "base_seq") or 0)
    for command_id, row in kept.items():
        if row[-1] > base and command_id not in steps:
            yield f"command {command_id}: has no rows"


def _command_mistakes(
    command_id: str, rows: list[tuple[Any, ...]], kept: tuple[Any, ...] | None
) -> Iterator[str]:
    for (_, before, _), (seq, after, _) in pairwise(rows):
        if (before, after) not in _LEGAL:
            yield f"row {seq}: {after} may not follow {before}"
    if kept is None:
        yield f"command {command_id}: is not kept"
        return
    if (kept[-1], kept[7]) != rows[-1][:2]:
        yield f"command {command_id}: kept state is not that of its last row"
    if rows[0][1] == "accepted" and _terms(rows[0][2]) != rounded(kept[1:7]):
        yield f"command {command_id}: kept terms are not those of its first row"


def _terms(evidence: str) -> list[Any] | None:
    try:
        return [json.loads(evidence).get(key) for key in _TERMS]
    except (ValueError, AttributeError):
        return None
