"""T63: somebody alters the journal with a database tool, its triggers dropped; the verifier tells.

Found is every change that does not rewrite the whole rest of the chain. Such a rewrite is found by
the head that the platform was told before; the last test shows both.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from random import Random

import pytest

from agent.journal_check import damage, mistakes, recent_damage
from agent.journal_rows import EVENTS, Head, hash_of, head_of, knows
from tests.killed import kill_at_work
from tests.scratch import scratch

Forgery = Callable[[sqlite3.Connection, Random], str]


@pytest.fixture(scope="module")
def history() -> Iterator[sqlite3.Connection]:
    """Return the tables of a journal with some history, in memory and without its triggers."""
    with scratch() as folder:
        before = kill_at_work(lockout=True, closed=True)
        before.lay(folder)
        with closing(sqlite3.connect(folder / "journal.db")) as file:
            memory = sqlite3.connect(":memory:", isolation_level=None)
            file.backup(memory)
    memory.execute("DROP TRIGGER event_is_never_changed")
    memory.execute("DROP TRIGGER event_is_only_pruned")
    assert list(mistakes(memory)) == []
    with closing(memory):
        yield memory


def _all(db: sqlite3.Connection) -> list[object]:
    """Return everything that is in the tables."""
    tables = ("event", "command", "meta")
    return [db.execute(f"SELECT * FROM {table}").fetchall() for table in tables]  # noqa: S608 - constants


def _some(random: Random, db: sqlite3.Connection, query: str) -> tuple[object, ...]:
    found: tuple[object, ...] = random.choice(db.execute(query).fetchall())
    return found


def _another(value: object, random: Random) -> object:
    """Return another value, of the same kind or of any."""
    if isinstance(value, str) and value and random.random() < 0.7:
        at = random.randrange(len(value))
        return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
    if isinstance(value, int | float) and random.random() < 0.7:
        return value + random.choice((-1, 1, 1000))
    return random.choice(["", "x", 0, 7, 1.5, b"\xff", None])


def _alter(db: sqlite3.Connection, random: Random) -> str:
    table = random.choice(("event", "command"))
    names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    key = "seq" if table == "event" else "id"
    (row,) = _some(random, db, f"SELECT {key} FROM {table}")  # noqa: S608 - constants
    column = random.choice(names)
    (old,) = db.execute(f"SELECT {column} FROM {table} WHERE {key}=?", (row,)).fetchone()  # noqa: S608 - constants
    new = _another(old, random)
    db.execute(f"UPDATE {table} SET {column}=? WHERE {key}=?", (new, row))  # noqa: S608 - constants
    return f"{table}.{column} of {row}: {old!r} -> {new!r}"


def _remove(db: sqlite3.Connection, random: Random) -> str:
    (seq,) = _some(random, db, "SELECT seq FROM event")
    db.execute("DELETE FROM event WHERE seq=?", (seq,))
    return f"delete {seq}"


def _remove_command(db: sqlite3.Connection, random: Random) -> str:
    (identity,) = _some(random, db, "SELECT id FROM command")
    db.execute("DELETE FROM command WHERE id=?", (identity,))
    return f"delete command {identity}"


def _insert(db: sqlite3.Connection, random: Random) -> str:
    """Put a row with a right hash of its own somewhere; the rows behind it move on."""
    row = list(_some(random, db, EVENTS))
    seq, (last,) = int(str(row[0])), db.execute("SELECT max(seq) FROM event").fetchone()
    for moved in range(last, seq, -1):
        db.execute("UPDATE event SET seq=? WHERE seq=?", (moved + 1, moved))
    row[0], row[6], row[11] = seq + 1, "forged", row[12]
    row[12] = hash_of(tuple(row[:-1]))
    db.execute("INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", row)
    if random.random() < 0.5:
        db.execute("UPDATE meta SET value=? WHERE key='head_seq'", (str(last + 1),))
    return f"insert behind {seq}"


def _swap(db: sqlite3.Connection, random: Random) -> str:
    (last,) = db.execute("SELECT max(seq) FROM event").fetchone()
    one, other = random.sample(range(1, last + 1), 2)
    for before, after in ((one, -1), (other, one), (-1, other)):
        db.execute("UPDATE event SET seq=? WHERE seq=?", (after, before))
    return f"swap {one} and {other}"


def _cut_the_end(db: sqlite3.Connection, random: Random) -> str:
    (last,) = db.execute("SELECT max(seq) FROM event").fetchone()
    left = random.randrange(last)
    db.execute("DELETE FROM event WHERE seq>?", (left,))
    if random.random() < 0.5:
        db.execute("UPDATE meta SET value=? WHERE key='head_seq'", (str(left),))
    return f"cut off behind {left}"


def _cut_the_beginning(db: sqlite3.Connection, random: Random) -> str:
    (last,) = db.execute("SELECT max(seq) FROM event").fetchone()
    first = random.randrange(1, last)
    db.execute("DELETE FROM event WHERE seq<=?", (first,))
    if random.random() < 0.5:
        db.execute("UPDATE meta SET value=? WHERE key='base_seq'", (str(first),))
    return f"cut off up to {first}"


def _meta(db: sqlite3.Connection, random: Random) -> str:
    key = random.choice(("head_seq", "head_hash", "base_seq", "base_hash"))
    (old,) = db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
    new = str(_another(old, random)) + random.choice(("", "0"))
    new = new if new != old else new + "1"
    db.execute("UPDATE meta SET value=? WHERE key=?", (new, key))
    return f"{key}: {old} -> {new}"


FORGERIES: tuple[Forgery, ...] = (
    *(_alter, _remove, _remove_command, _insert, _swap),
    *(_cut_the_end, _cut_the_beginning, _meta),
)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_every_forgery_is_found(history: sqlite3.Connection, forgery: Forgery) -> None:
    """Each random change of rows, commands or ends of the chain is told; 300 of each kind."""
    random, done = Random(11), 0  # noqa: S311 - no secret
    while done < 300:
        history.execute("BEGIN")
        try:
            before = _all(history)
            words = forgery(history, random)
        except sqlite3.IntegrityError:  # the table itself forbids it
            history.execute("ROLLBACK")
            continue
        changed = _all(history) != before
        found = list(mistakes(history))
        history.execute("ROLLBACK")
        assert bool(found) is changed, words
        done += changed


def test_a_whole_rewrite_is_found_by_the_platform_only(history: sqlite3.Connection) -> None:
    """Whoever can compute hashes can forge a chain that fits; not the head that others know."""
    told: Head = head_of(history)
    history.execute("BEGIN")
    history.execute("UPDATE event SET evidence='{\"forged\":1}' WHERE seq=3")
    last = history.execute("SELECT hash FROM event WHERE seq=2").fetchone()[0]
    for row in history.execute(EVENTS + "WHERE seq>2 ORDER BY seq").fetchall():
        forged = (*row[:11], last)
        last = hash_of(forged)
        change = "UPDATE event SET prev_hash=?, hash=? WHERE seq=?"
        history.execute(change, (forged[11], last, row[0]))
    history.execute("UPDATE meta SET value=? WHERE key='head_hash'", (last,))
    assert list(mistakes(history)) == []
    assert not knows(history, told)
    history.execute("ROLLBACK")
    assert knows(history, told)


def test_a_start_looks_at_the_newest_rows(history: sqlite3.Connection) -> None:
    """Rows up to a number are left out, the one at that number holds the chain."""
    for seq, wanted in ((2, False), (5, True), (8, True)):
        history.execute("BEGIN")
        history.execute("UPDATE event SET detail='forged', hash='x' WHERE seq=?", (seq,))
        assert bool(list(damage(history, after=5))) is wanted, seq
        history.execute("ROLLBACK")
    assert list(recent_damage(history)) == []
