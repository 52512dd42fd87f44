"""Heads of the boxes' journals: kept here, they show whether a box rewrote its own history.

The journal on a box is hash-chained: the hash of its newest row covers all rows before it. Who
rewrites the file can make the chain fit again, but not the heads that the platform was told before.

Verdicts: `first`, `grown` (a larger number), `rewritten` (a known number with another hash),
`shrunk` (a number below the largest one known). The last two are contradictions; a box that lost
its journal and began a new one shows them as well, and that is right: its history is gone.
"""

from typing import Any

from sqlalchemy import Connection, func, select

from ems.clock import rfc3339
from ems.command_views import Row
from ems.database import Database
from ems.payloads import JournalHead
from ems.schema import journal_heads

CONTRADICTIONS = ("rewritten", "shrunk")


def keep_head(
    connection: Connection, device_uid: str, head: JournalHead, sequence: int, wall_ms: int
) -> str | None:
    """Keep a head if it is not the newest one already; return its verdict, None for no news.

    Args:
        connection: of the transaction that keeps the report.
        device_uid: whose journal.
        head: number and hash of its newest row.
        sequence: of the status report that brought it.
        wall_ms: now.
    """
    mine = journal_heads.c.device_uid == device_uid
    newest = select(journal_heads).where(mine).order_by(journal_heads.c.number.desc()).limit(1)
    last = connection.execute(newest).mappings().one_or_none()
    if last is not None and (last["seq"], last["hash"]) == (head.seq, head.hash):
        return None
    largest = connection.scalar(select(func.max(journal_heads.c.seq)).where(mine))
    at_seq = select(journal_heads.c.hash).where(mine, journal_heads.c.seq == head.seq)
    others = set(connection.scalars(at_seq)) - {head.hash}
    verdict = _verdict(head.seq, largest, rewritten=bool(others))
    row = {"device_uid": device_uid, "seq": head.seq, "hash": head.hash, "verdict": verdict}
    row |= {"status_sequence": sequence, "received_ms": wall_ms}
    connection.execute(journal_heads.insert().values(row))
    return verdict


def _verdict(seq: int, largest: int | None, *, rewritten: bool) -> str:
    if largest is None:
        return "first"
    if rewritten:
        return "rewritten"
    return "shrunk" if seq < largest else "grown"


class JournalHeads:
    """The history of the heads."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def page(self, device_uid: str, offset: int, limit: int) -> dict[str, Any]:
        """Return the number of heads, of contradictions, and one page of heads, newest first."""
        mine = journal_heads.c.device_uid == device_uid
        against = self.contradictions(device_uid)
        with self._db.read() as connection:
            count = select(func.count()).select_from(journal_heads).where(mine)
            total = connection.scalar(count) or 0
            query = select(journal_heads).where(mine).order_by(journal_heads.c.number.desc())
            rows = connection.execute(query.offset(offset).limit(limit)).mappings().all()
        return {
            "total": total,
            "contradictions": against,
            "list": [_head_view(row) for row in rows],
        }

    def contradictions(self, device_uid: str) -> int:
        """Return how often a device's journal contradicted what was known of it."""
        query = select(func.count()).select_from(journal_heads)
        mine = journal_heads.c.device_uid == device_uid
        against = journal_heads.c.verdict.in_(CONTRADICTIONS)
        with self._db.read() as connection:
            return connection.scalar(query.where(mine, against)) or 0


def _head_view(row: Row) -> dict[str, Any]:
    names = ("seq", "hash", "verdict", "status_sequence")
    return {name: row[name] for name in names} | {"received_at": rfc3339(row["received_ms"])}
