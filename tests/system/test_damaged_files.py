"""T37: what people and file systems do to the files of a box: delete, empty, replace, lock.

What is damaged is put aside and a new file begins. What is whole but not ours to use keeps the
agent from starting, with a word about why.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agent.clock import FakeClock
from agent.errors import JournalFailed, OutboxFailed
from agent.journal_rows import Stamp
from agent.quarantine import kept_aside
from bms_can.commands import LONGEST_LIFE_S, Reason
from tests.box import Tape, box
from tests.killed import (
    CLOSE,
    LONG_AFTER_S,
    Killed,
    check_box,
    check_recovery,
    kill_at_work,
    sends_close,
    started,
)
from tests.scratch import scratch


@pytest.fixture(scope="module")
def killed() -> Killed:
    """Return a box killed at work."""
    return kill_at_work()


@pytest.fixture(scope="module")
def locked_out() -> Killed:
    """Return a box killed at work with a local lock-out."""
    return kill_at_work(lockout=True)


def _delete(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("this is no database\n" * 500)


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _another_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE photos (name TEXT)")
        db.execute("INSERT INTO photos VALUES ('cat')")


def _same_version_other_tables(path: Path) -> None:
    _another_database(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "PRAGMA user_version = 1" if "journal" in path.name else "PRAGMA user_version = 2"
        )


DEEDS = (_delete, _empty, _text, _zeros, _another_database, _same_version_other_tables)


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("tails", ["with its WAL", "without"])
def test_a_journal_that_is_no_more(
    killed: Killed, deed: Callable[[Path], None], tails: str
) -> None:
    """Whatever is in its place: a new one begins, which is forgetful for a while."""
    with scratch() as folder:
        killed.lay(folder)
        if tails == "without":
            (folder / "journal.db-wal").unlink()
        deed(folder / "journal.db")
        with started(folder) as made:
            check_box(made, killed)
            if tails == "with its WAL" and not made.journal.journal_lost:
                return  # every page of the file stood in the WAL too
            assert made.journal.log()[0].kind == "journal-lost"
            check_recovery(made)
        with started(folder) as made:
            assert not made.journal.journal_lost


@pytest.mark.parametrize("deed", DEEDS)
def test_a_queue_that_is_no_more(killed: Killed, deed: Callable[[Path], None]) -> None:
    """A new queue begins; its numbers go on above, and commands are as safe as before."""
    with scratch() as folder:
        killed.lay(folder)
        deed(folder / "queue.db")
        with started(folder) as made:
            assert not made.journal.journal_lost
            check_box(made, killed)


def test_every_file_is_gone_but_the_head(killed: Killed) -> None:
    """The smallest trace of an earlier journal makes a new one forgetful."""
    with scratch() as folder:
        (folder / "journal.db.head").write_bytes(killed.files["journal.db.head"])
        with started(folder) as made:
            assert made.journal.journal_lost


def test_the_wal_is_gone(killed: Killed) -> None:
    """Rows that stood only in the WAL are missed, though the file itself is whole."""
    with scratch() as folder:
        killed.lay(folder)
        (folder / "journal.db-wal").unlink()
        with started(folder) as made:
            assert made.journal.journal_lost
            assert not kept_aside(folder / "journal.db")
            check_box(made, killed)
            check_recovery(made)


def test_both_wals_are_gone(killed: Killed) -> None:
    """Then neither file knows the last numbers; a wall clock that is right still does."""
    with scratch() as folder:
        killed.lay(folder)
        for name in ("journal.db-wal", "queue.db-wal"):
            (folder / name).unlink()
        with box(folder, FakeClock(monotonic_s=LONG_AFTER_S), simulator=Tape()) as made:
            made.clock.advance(10_000)
        with box(folder, made.clock, simulator=Tape()) as made:
            assert made.outbox.next_sequence() > killed.number


def test_an_old_copy_in_the_place_of_the_journal() -> None:
    """A backup from before the last commands is missed rows too."""
    with scratch() as folder:
        with box(folder, FakeClock()) as made:
            made.run(1)
        old = (folder / "journal.db").read_bytes()
        with box(folder, FakeClock(monotonic_s=LONG_AFTER_S)) as made:
            made.run(1)
            command = made.offer(CLOSE)
            made.run(1)
            assert made.sent
        (folder / "journal.db").write_bytes(old)
        with started(folder) as made:
            assert made.journal.journal_lost
            made.offer(CLOSE, command.id)
            made.run(0.2)
            assert made.sent == []


@pytest.mark.parametrize("deed", [*DEEDS, lambda _path: None])
def test_a_lock_out_outlives_the_journal(locked_out: Killed, deed: Callable[[Path], None]) -> None:
    """A contactor that somebody works on is not set free by a bad disk."""
    with scratch() as folder:
        locked_out.lay(folder)
        deed(folder / "journal.db")
        with started(folder) as made:
            made.clock.advance(LONGEST_LIFE_S)
            made.run(0.5)
            assert not sends_close(made)
            assert made.journal.recent(1)[0].reason is Reason.LOCAL_LOCKOUT
            made.journal.clear_lockout("zhang", Stamp.of(made.clock))
            assert sends_close(made)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"reason": 1}', None])
def test_a_lock_out_file_that_cannot_be_read(content: bytes | None) -> None:
    """It locks: somebody put it there. A directory of that name does, too."""
    with scratch() as folder:
        if content is None:
            (folder / "lockout.json").mkdir()
        else:
            (folder / "lockout.json").write_bytes(content)
        with started(folder) as made:
            assert not sends_close(made)
            assert made.journal.recent(1)[0].reason is Reason.LOCAL_LOCKOUT


@pytest.mark.parametrize("name", ["journal.db", "queue.db"])
def test_a_schema_that_is_no_text(name: str) -> None:
    """SQLite quotes what it found; that this cannot be read is damage, not a traceback."""
    before = kill_at_work(closed=True)
    with scratch() as folder:
        before.lay(folder)
        path = folder / name
        path.write_bytes(path.read_bytes().replace(b"CREATE TABLE ", b"CREATE \xd7\xd7BLE "))
        with started(folder) as made:
            check_box(made, before)
        assert kept_aside(path)


def test_only_three_are_kept(killed: Killed) -> None:
    """A disk that is damaged again and again does not fill up with damaged files."""
    with scratch() as folder:
        killed.lay(folder)
        (folder / "journal.db-wal").unlink()
        for _ in range(5):
            _text(folder / "journal.db")
            with started(folder):
                pass
        names = [path.name for path in kept_aside(folder / "journal.db")]
        assert names == [f"journal.db.corrupt-{number}" for number in (3, 4, 5)]


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 99")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _is_kept_out(folder: Path, wanted: str) -> None:
    with pytest.raises((JournalFailed, OutboxFailed), match=wanted), started(folder):
        pytest.fail("started")


@pytest.mark.parametrize("name", ["journal.db", "queue.db"])
@pytest.mark.parametrize(("deed", "wanted"), [(_newer, "another version"), (_directory, "open")])
def test_not_ours_to_use(
    killed: Killed, name: str, deed: Callable[[Path], None], wanted: str
) -> None:
    """A newer agent's file and a directory are left as they are; the error names the file."""
    with scratch() as folder:
        killed.lay(folder)
        deed(folder / name)
        _is_kept_out(folder, f"{name}: .*{wanted}")
        assert (folder / name).exists()
        assert not kept_aside(folder / name)


@contextmanager
def somebody_else(folder: Path) -> Iterator[None]:
    """Be a user who may enter the folder and read what everybody may; no root, who may all."""
    folder.chmod(0o755)
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_files_of_another_owner(killed: Killed, mode: int) -> None:
    """Files that may only be read, or not even that: no start, and the error says so."""
    with scratch() as folder:
        killed.lay(folder)
        for path in folder.iterdir():
            path.chmod(mode)
        with somebody_else(folder):
            _is_kept_out(folder, "journal.db: .*(readonly|unable to open|ermission denied)")
        assert (folder / "journal.db").exists()
