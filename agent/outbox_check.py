"""Looks for damage in the queue. Values of any type are expected: a flipped bit can change one.

SQLite checks the structure of its pages, not what stands in them. So each row carries a checksum.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from itertools import chain

from agent.strict_json import canonical

# Whole numbers up to here are exact in every JSON reader.
MOST = 2**53
_NUMBERS = ("high", "dropped", "rows", "bytes")


def checksum(*columns: object) -> int:
    """Return the CRC-32 of columns."""
    return zlib.crc32(canonical(columns).encode())


def mistakes(db: sqlite3.Connection) -> Iterator[str]:
    """Yield what is not as it was written."""
    return chain(_report_mistakes(db), _alarm_mistakes(db), _number_mistakes(db))


def _report_mistakes(db: sqlite3.Connection) -> Iterator[str]:
    query = "SELECT sequence, device_uid, kind, at, body, bytes, crc FROM report"
    for *columns, crc in db.execute(query):
        if not _is_sum(columns, crc):
            yield f"report {columns[0]}: was altered"


def _alarm_mistakes(db: sqlite3.Connection) -> Iterator[str]:
    for *columns, crc in db.execute("SELECT device_uid, key, since, body, crc FROM alarm"):
        if not _is_sum(columns, crc):
            yield f"alarm {columns[1]}: was altered"


def _number_mistakes(db: sqlite3.Connection) -> Iterator[str]:
    kept = dict(db.execute("SELECT key, value FROM number").fetchall())
    for key in _NUMBERS:
        value = kept.get(key)
        if not isinstance(value, int) or not 0 <= value <= MOST:
            yield f"number {key}: is {value}"
            return
    query = "SELECT count(*), total(bytes), ifnull(max(sequence), 0) FROM report"
    rows, size, newest = db.execute(query).fetchone()
    if (rows, size) != (kept["rows"], kept["bytes"]):
        yield f"numbers: {rows} reports of {size} bytes, not {kept['rows']} of {kept['bytes']}"
    if newest > kept["high"]:
        yield f"numbers: report {newest} is above the highest number {kept['high']}"


def _is_sum(columns: list[object], crc: object) -> bool:
    try:
        return checksum(*columns) == crc
    except (TypeError, ValueError):  # bytes or infinity: never written by us
        return False
