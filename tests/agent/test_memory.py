"""What runs for years keeps no more than it needs: nothing stays of a call, a command, a look."""

import gc
import importlib.metadata
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from agent.clock import FakeClock, SystemClock
from agent.cloud import Cloud
from agent.facts import own_version
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.keys import Secret
from agent.memory import one_arena, set_apart
from agent.sqlite_file import MIB, Schema, SqliteFile
from bms_can.profile import CommandCode
from bms_can.rawcan import FrameReader, Moment
from tests.agent.scripted_server import ScriptedServer, answer, says
from tests.box import box

CALLS = 5
HEARD_S, PASSED_S = 10.0, 15.0
MANY = 1000
LESS_THAN_A_COMMAND = 20  # objects; what changes between two equal moments anyway
BLOCK_AT_OPENING = 20  # pages that SQLite allocates in one piece


@contextmanager
def no_collector() -> Iterator[None]:
    """Leave cycles lie."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_a_call_leaves_nothing_to_collect() -> None:
    """Request and response go when the call ends; the collector may come hours later."""
    scripts = [says(answer())] * CALLS
    with ScriptedServer(*scripts) as server, closing(cloud(server)) as platform, no_collector():
        for _ in range(CALLS):
            platform.post_result({"id": "1"})
        left = [
            each for each in gc.get_objects() if isinstance(each, httpx.Response | httpx.Request)
        ]
        assert left == []


def cloud(server: ScriptedServer) -> Cloud:
    """Return a client of this server."""
    return Cloud(server.url, Secret("emsk_test_0123456789"), SystemClock(), 1.0)


def test_commands_leave_no_object(tmp_path: Path) -> None:
    """After a third close and open as many objects are there as after the second."""
    with box(tmp_path, FakeClock()) as made:
        made.run(HEARD_S)
        counts = []
        for _ in range(3):
            for code in (CommandCode.CLOSE_CONTACTOR, CommandCode.OPEN_CONTACTOR):
                command = made.offer(code)
                made.run(PASSED_S)
                assert made.state_of(command) == "held"
            gc.collect()
            counts.append(len(gc.get_objects()))
    assert counts[2] - counts[1] < LESS_THAN_A_COMMAND


def test_the_version_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes out with each report; a look into all folders each time would keep more and more."""
    known = own_version()
    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", None)  # how it is looked up
    assert own_version() == known


def kept_by(what: Callable[[], object]) -> int:
    """Return how many blocks of memory more are in use after many calls."""
    what()
    with no_collector():
        before = sys.getallocatedblocks()
        for _ in range(MANY):
            what()
        return sys.getallocatedblocks() - before


def test_reading_rows_of_the_journal_keeps_none(tmp_path: Path) -> None:
    """Not in CPython's lists of free tuples either, which grow to 2,000 of each length."""
    clock = FakeClock()
    with closing(Journal(tmp_path / "journal.db", Stamp.of(clock))) as journal:
        journal.note("start", Stamp.of(clock), {})
        assert kept_by(journal.log) < MANY / 2


def test_receiving_keeps_nothing() -> None:
    """One frame a call, a thousand calls."""
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.settimeout(0)
        reader = FrameReader(receiver.fileno())

        def one() -> None:
            sender.send(bytes(16))
            assert reader.read(Moment(1.0, 1.0, 0.0)) is not None

        assert kept_by(one) < MANY / 2


def test_pages_of_a_file_are_there_from_the_start(tmp_path: Path) -> None:
    """A cache larger than what SQLite allocates at once would fill over hours."""

    def sound(_db: sqlite3.Connection) -> list[str]:
        return []

    file = SqliteFile(tmp_path / "x.db", Schema(1, ("CREATE TABLE t (a)",), sound), MIB, OSError)
    with file.reading() as db:
        assert db.execute("PRAGMA cache_size").fetchone() == (BLOCK_AT_OPENING,)
    file.close()


def test_what_the_start_built_is_set_apart() -> None:
    """The collector no longer looks at it, so it looks at the rest often."""
    try:
        set_apart()
        assert gc.get_freeze_count() > 0
        assert len(gc.get_objects(generation=2)) == 0
    finally:
        gc.unfreeze()


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_one_arena_is_no_error() -> None:
    """The C library takes the wish, or knows no arenas."""
    one_arena()
