"""T33 to T35: the disk fails or is full. No frame without a durable row, no acknowledged row lost.

SQLite's own operations are made to fail (tests/disk.py), so that no tool of the machine is needed.
Only the full disk is a real one: a small file system in memory, in name spaces of its own. That
test needs `unshare -Urm`; where the machine forbids it, it fails and says so.
"""

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from agent.clock import FakeClock
from agent.errors import JournalFailed, OutboxFailed
from agent.journal_rows import Head, knows
from bms_can.commands import Reason
from bms_can.profile import CommandCode, OperatingStatus
from tests.box import Box, box
from tests.disk import Disk, Faults
from tests.scratch import scratch

ROOT = Path(__file__).parents[2]
CLOSE, OPEN = CommandCode.CLOSE_CONTACTOR, CommandCode.OPEN_CONTACTOR
PERIOD_S = 0.1  # a control thread without work looks as often as this
COMMANDS = 8


@dataclass(slots=True)
class Acknowledged:
    """What SQLite said is durable, and what went out.

    Attributes:
        heads: of the journal, after each commit.
        sending: commands with a row `sending`.
        frames: control frames by command.
        early: commands whose frame went out before their row was durable.
    """

    heads: list[Head] = field(default_factory=list)
    sending: set[str] = field(default_factory=set)
    frames: Counter[str] = field(default_factory=Counter)
    early: list[str] = field(default_factory=list)

    def commit(self, db: sqlite3.Connection) -> None:
        """Look at what a successful commit left."""
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name='event'").fetchall():
            return
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        self.heads.append(Head(int(meta["head_seq"]), meta["head_hash"]))
        rows = db.execute("SELECT command_id FROM event WHERE state='sending'").fetchall()
        self.sending.update(command_id for (command_id,) in rows)

    def frame(self, made: Box) -> None:
        """Look at what is durable at the moment a frame goes out."""
        run = made.executor._current
        assert run is not None
        self.frames[run.command.id] += 1
        if run.command.id not in self.sending:
            self.early.append(run.command.id)


@contextmanager
def box_on_disk() -> Iterator[tuple[Box, Disk, Acknowledged]]:
    """Build a box on a disk that can fail."""
    known = Acknowledged()
    disk = Disk(content=known.commit)
    disk.keep_log = False
    with (
        scratch() as folder,
        box(folder, FakeClock(), disk.storage, lambda: known.frame(made)) as made,
    ):
        made.run(1)
        yield made, disk, known


def give_commands(made: Box) -> None:
    """Close and open in turn, whatever becomes of it."""
    for code in (CLOSE, OPEN) * (COMMANDS // 2):
        made.offer(code)
        made.run(3)
        made.clock.advance(400)  # no rate limit stands in the way of the next
        made.run(1)


def missing(made: Box, known: Acknowledged) -> list[Head]:
    """Return acknowledged rows that the journal lacks."""
    with made.journal._file.reading() as db:
        return [head for head in known.heads if not knows(db, head)]


# What fails: operation, and whether the error is "disk full".
KINDS = {
    "fsync": ("sync", False),
    "eio": ("write", False),
    "enospc": ("write", True),
    "truncate": ("truncate", False),
}


def faults(kind: str, chance: float) -> Faults:
    """Return a fault of KINDS."""
    operation, full = KINDS[kind]
    return Faults(Random(5), {operation: chance}, full=full)  # noqa: S311 - no secret


@pytest.mark.parametrize("chance", [0.01, 0.1, 0.4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fails_now_and_then(kind: str, chance: float) -> None:
    """Frames follow durable rows only; acknowledged rows stay; the end of the fault is the end."""
    with box_on_disk() as (made, disk, known):
        disk.faults = faults(kind, chance)
        with suppress(JournalFailed, OutboxFailed):
            give_commands(made)
        disk.faults = None
        made.run(PERIOD_S)
        made.clock.advance(400)
        made.run(1)
        status = made.observer.status
        assert status is not None
        last = made.offer(CLOSE if status.operating is OperatingStatus.POWERED_DOWN else OPEN)
        made.run(1)
        assert known.frames[last.id], made.journal.entry(last.id)
        assert known.early == []
        assert missing(made, known) == []
        assert made.journal.verify() == []


@pytest.mark.parametrize("kind", ["fsync", "eio", "enospc"])
def test_a_disk_that_always_fails(kind: str) -> None:
    """Nothing goes out, the interlock says why, and one step after the end all is as before."""
    with box_on_disk() as (made, disk, known):
        disk.faults = faults(kind, 1.0)
        rows = known.heads[-1].seq
        for code in (CLOSE, OPEN, CommandCode.FAULT_RESET):
            made.offer(code)
            made.run(1)
        assert made.sent == []
        assert known.heads[-1].seq == rows
        checks = made.gate.checks(CLOSE, made.gate.situation(made.clock.monotonic_s()))
        refused = [check for check in checks if not check.passed]
        assert [check.reason for check in refused] == [Reason.JOURNAL_FAILED], refused
        disk.faults = None
        made.step()
        assert made.gate.journal_fault == ""
        command = made.offer(CLOSE)
        made.run(0.2)
        assert known.frames[command.id]
        assert known.early == []
        assert made.journal.verify() == []


def test_the_disk_fails_in_the_midst_of_a_command() -> None:
    """A command whose frame is out becomes unknown when the disk works again, and not repeated."""
    with box_on_disk() as (made, disk, known):
        command = made.offer(CLOSE)
        made.run_until(lambda: bool(known.frames))
        disk.faults = faults("fsync", 1.0)
        made.run(1)
        frames = known.frames[command.id]
        disk.faults = None
        made.run(10)
        assert known.frames[command.id] == frames
        states = [event.state for event in made.journal.events(command.id)]
        assert "unknown" in states
        assert made.state_of(command) == "held"


def work_on_full_disk(folder: Path) -> dict[str, object]:
    """Fill the disk of `folder`, give commands, free it; return what happened. For a child."""
    found: dict[str, object] = {}
    made = Box(folder, FakeClock())
    made.run(1)
    with suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(512)):
            pass
    found["free_bytes"] = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    for _ in range(200):  # what is left inside the files may hold some rows
        made.offer(CLOSE, life_s=0.0)
        made.step()
        if made.gate.journal_fault:
            break
    found["fault"] = made.gate.journal_fault
    before = len(made.sent)
    made.offer(CLOSE)
    made.run(1)
    found["sent_while_full"] = len(made.sent) - before
    (folder / "ballast").unlink()
    made.run(PERIOD_S)
    found["fault_after"] = made.gate.journal_fault
    made.offer(CLOSE)
    made.run(0.2)
    found["sent_after"] = len(made.sent)
    found["mistakes"] = made.journal.verify()
    made.close()
    return found


def test_a_full_disk(tmp_path: Path) -> None:
    """On a disk of 1 MiB that is full commands fail closed; once there is room, all is well."""
    mount = (
        f'mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}'
    )
    script = (
        "import json, sys; from pathlib import Path;"
        "from tests.system.test_disk_faults import work_on_full_disk;"
        "print(json.dumps(work_on_full_disk(Path(sys.argv[1]))))"
    )
    child = subprocess.run(  # noqa: S603 - our own words
        ["unshare", "-Urm", "sh", "-c", mount, script],  # noqa: S607 - from util-linux
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert child.returncode == 0, f"needs unshare -Urm and tmpfs inside it: {child.stderr}"
    found = json.loads(child.stdout.splitlines()[-1])
    assert found["free_bytes"] == 0
    assert "full" in found["fault"]
    assert found["sent_while_full"] == 0
    assert found["fault_after"] == ""
    assert found["sent_after"] > 0
    assert found["mistakes"] == []
