"""Power cuts, the experiment: a box at work on a disk that remembers, and images of that disk.

Each image (tests/power.py) is opened by the product on the standard library's SQLite, and must hold
what the last acknowledged commit left, or the one under way.
"""

import hashlib
import sqlite3
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

from agent.clock import FakeClock
from agent.errors import JournalFailed, OutboxFailed
from agent.journal import Journal
from agent.journal_rows import Head, Stamp, knows
from agent.outbox import Outbox
from agent.quarantine import kept_aside
from agent.strict_json import canonical
from bms_can.commands import Command, CommandState
from bms_can.profile import CommandCode
from tests.box import UID, Box, Tape, box
from tests.disk import Disk, Faults, Op
from tests.power import Medium

WORKS = (
    60  # commands, each with alarms, reports and deliveries in between: the WAL starts anew often
)
NO_RTC = datetime(1970, 1, 1, tzinfo=UTC)  # the wall clock of a box after a power cut
# What is replaced in the product's SQL to see that the experiment finds it.
NORMAL = {"PRAGMA synchronous = FULL": "PRAGMA synchronous = NORMAL"}
OFF = {"PRAGMA synchronous = FULL": "PRAGMA synchronous = OFF"}
FILES = ("journal.db", "queue.db")
_TABLES = {
    "event": ("command", "unreported", "meta"),  # the head in meta stands for the events
    "report": ("report", "alarm", "number"),
}


class Content(NamedTuple):
    """What is in a database: a digest of all its rows; of the journal the head too."""

    digest: str
    seq: int = 0
    hash: str = ""


def content_of(db: sqlite3.Connection) -> Content:
    """Return what is in journal or queue."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master").fetchall()}
    digest = hashlib.sha256()
    for table in _TABLES["event" if "event" in tables else "report"]:
        rows = db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()  # noqa: S608 - a constant
        digest.update(repr(rows).encode())
    if "event" not in tables:
        return Content(digest.hexdigest())
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    return Content(digest.hexdigest(), int(meta["head_seq"]), meta["head_hash"])


@dataclass(slots=True)
class Recording:
    """A box at work.

    Attributes:
        log: all operations and marks.
        states: of each file the marks of its commits: (place in the log, content).
        frames: control frames: (place in the log, id of the command).
        numbers: numbers handed out: (place in the log, number).
        commands: what was offered: (place in the log, command).
    """

    log: list[Op]
    states: dict[str, list[tuple[int, Content]]]
    frames: list[tuple[int, str]]
    numbers: list[tuple[int, int]]
    commands: list[tuple[int, Command]]

    def cuts(self, images: int, random: Random) -> list[int]:
        """Return places for so many power cuts, in order, once both files are there."""
        first = max(self.states[name][0][0] for name in FILES)
        return sorted(random.randrange(first + 1, len(self.log) + 1) for _ in range(images))

    def acknowledged(self, name: str, cut: int) -> int:
        """Return the number of the last commit of a file that was acknowledged before a cut."""
        return bisect_left(self.states[name], cut, key=lambda each: each[0]) - 1


def record(
    folder: Path,
    seed: int = 1,
    instead: Mapping[str, str] | None = None,
    *,
    works: int = WORKS,
    failing: float = 0.0,
    rewriting: bool = True,
) -> Recording:
    """Let a box work on a disk that remembers.

    Args:
        folder: the state directory.
        seed: of everything that happens.
        instead: SQL statements to be replaced.
        works: how many commands.
        rewriting: whether the WAL is made durable before it is opened.
        failing: chance that a sync fails while the disk is bad, which it is half of the time.
    """
    random, clock = Random(seed), FakeClock()  # noqa: S311 - no secret
    disk = Disk(instead, content_of)
    disk.rewriting = rewriting
    faults = Faults(random, {"sync": failing})
    for _ in range(3):  # two restarts in between
        disk.faults = None
        with box(folder, clock, disk.storage, lambda: disk.mark("frame", _in_flight(made))) as made:
            made.run(1)
            for _ in range(works // 3):
                disk.faults = faults if failing and random.random() < 0.5 else None
                with suppress(JournalFailed, OutboxFailed):
                    _work(made, disk, random)
            disk.faults = None
    marks = [(place, op) for place, op in enumerate(disk.log) if op.kind == "mark"]
    states = {name: [(at, op.data) for at, op in marks if op.file == name] for name in FILES}
    rest = [
        [(at, op.data) for at, op in marks if op.file == name]
        for name in ("frame", "number", "command")
    ]
    return Recording(disk.log, states, *rest)


def _in_flight(made: Box) -> str:
    run = made.executor._current
    assert run is not None
    return run.command.id


def _work(made: Box, disk: Disk, random: Random) -> None:
    """Give one command and let everything else happen that writes."""
    pack = made.pack
    made.clock.advance(random.choice((0.0, 15.0, 1200.0)))
    made.run(0.5)
    code = random.choice(list(CommandCode))
    life_s = random.choice((0.01, 10.0, 10.0))
    command = made.offer(code, life_s=life_s)
    disk.mark("command", command)
    for _ in range(random.randrange(2, 7)):
        made.run(random.choice((0.1, 0.5, 2.0)))
        disk.mark("number", made.outbox.next_sequence())
        if random.random() < 0.3:
            pack.raise_alarm("soc_low_alarm", random.randrange(1, 4))
        if random.random() < 0.3:
            pack.clear_alarm("soc_low_alarm")
    if random.random() < 0.7:
        _deliver(made)
    if random.random() < 0.1:
        made.journal.set_lockout("work", "op", Stamp.of(made.clock))
        made.run(1)
        made.journal.clear_lockout("op", Stamp.of(made.clock))
    if random.random() < 0.1:
        made.journal.prune(made.clock.wall() - timedelta(seconds=60))


def _deliver(made: Box) -> None:
    """Take what waits for the platform off the books, as the deliverer does."""
    for event in made.journal.unreported(UID):
        made.journal.reported(event.seq)
    batch = made.outbox.batch(UID)
    if batch:
        made.outbox.done(UID, batch[-1].sequence)


class Image(NamedTuple):
    """The disk after a power cut."""

    cut: int
    files: Mapping[str, bytes]


Judge = Callable[[Recording, Image, Path], Counter[str]]


def judge_acknowledged(recording: Recording, image: Image, folder: Path) -> Counter[str]:
    """Open an image of a disk whose syncs failed; return what is wrong with its journal.

    There a commit that failed may be found nevertheless; what was acknowledged must be.
    """
    for name, data in image.files.items():
        (folder / name).write_bytes(data)
    last = recording.states["journal.db"][recording.acknowledged("journal.db", image.cut)][1]
    wrong: Counter[str] = Counter()
    with closing(Journal(folder / "journal.db", Stamp.of(FakeClock()))) as journal:
        wrong["corrupt"] += journal._file.created or bool(journal.verify())
        with journal._file.reading() as db:
            wrong["lost"] += not knows(db, Head(last.seq, last.hash))
    return +wrong


def images(recording: Recording, cuts: list[int], random: Random) -> Iterator[Image]:
    """Yield an image for each cut."""
    medium, done = Medium(), 0
    for cut in cuts:
        for op in recording.log[done:cut]:
            medium.apply(op)
        done = cut
        files = medium.cut(random)
        yield Image(cut, files | _head_file(recording, cut, random))


def _head_file(recording: Recording, cut: int, random: Random) -> dict[str, bytes]:
    """Return the file of the head, which is never synced: missing, empty, zeros, old or new."""
    last = recording.acknowledged("journal.db", cut)
    content = recording.states["journal.db"][random.randint(0, last)][1]
    text = canonical({"seq": content.seq, "hash": content.hash}).encode()
    found = random.choice((None, b"", bytes(128), text))
    return {} if found is None else {"journal.db.head": found}


def judge(recording: Recording, image: Image, folder: Path) -> Counter[str]:
    """Open an image with the product; return what is wrong with it, by kind.

    "corrupt": SQLite or the chain says so. "gone": there is no file. "lost": an acknowledged commit
    is missing; "lost commits" how many. "torn": neither what was acknowledged nor what was under
    way. "frame without row", "number again", "sent again".
    """
    for name, data in image.files.items():
        (folder / name).write_bytes(data)
    wrong: Counter[str] = Counter()
    wrong += _judge_files(recording, image, folder)
    if not wrong:
        wrong += _judge_restart(recording, image, folder)
    return wrong


def _judge_files(recording: Recording, image: Image, folder: Path) -> Counter[str]:
    clock = FakeClock(monotonic_s=20.0, wall=NO_RTC)
    wrong: Counter[str] = Counter()
    with closing(Journal(folder / "journal.db", Stamp.of(clock))) as journal:
        if journal._file.created or journal.verify():
            wrong["corrupt" if kept_aside(folder / "journal.db") else "gone"] += 1
        elif journal.journal_lost:  # it has seen so itself, by the file of its head
            wrong["lost"] += 1
        else:
            with journal._file.reading() as db:
                wrong += _compare(recording, "journal.db", image.cut, content_of(db))
            frames = [each for at, each in recording.frames if at < image.cut]
            missing = [each for each in frames[-5:] if not _was_sending(journal, each)]
            wrong["frame without row"] += len(missing)
        reserve = journal.reserve
        with closing(
            Outbox(folder / "queue.db", lambda n, least: reserve("report", n, least), NO_RTC)
        ) as outbox:
            if outbox._file.created:
                wrong["corrupt" if kept_aside(folder / "queue.db") else "gone"] += 1
            else:
                with outbox._file.reading() as db:
                    wrong += _compare(recording, "queue.db", image.cut, content_of(db))
            given = max((each for at, each in recording.numbers if at < image.cut), default=0)
            wrong["number again"] += outbox.next_sequence() <= given
    return +wrong


def _was_sending(journal: Journal, command_id: str) -> bool:
    """Tell whether the row `sending` is there, or was pruned with others."""
    if journal.entry(command_id) is None:
        return False
    states = [event.state for event in journal.events(command_id)]
    return CommandState.SENDING in states or CommandState.ACCEPTED not in states


def _compare(recording: Recording, name: str, cut: int, found: Content) -> Counter[str]:
    states, last = recording.states[name], recording.acknowledged(name, cut)
    if found in [content for _, content in states[last : last + 2]]:
        return Counter()
    older = [at for at, (_, content) in enumerate(states[:last]) if content == found]
    return Counter({"lost": 1, "lost commits": last - older[-1]} if older else {"torn": 1})


def _judge_restart(recording: Recording, image: Image, folder: Path) -> Counter[str]:
    """Start the box on the image and offer it again what it knew; nothing may go out."""
    clock = FakeClock(monotonic_s=20.0, wall=NO_RTC)
    clock.reboot(f"boot-{image.cut}", 20.0)
    with box(folder, clock, simulator=Tape()) as made:
        made.run(0.5)
        offered = [command for at, command in recording.commands if at < image.cut]
        for command in offered[-10:]:
            if made.journal.entry(command.id) is not None:
                made.offer(command.code, command.id)
        made.run(0.2)
        left = [
            each for each in made.journal.unfinished(UID) if each.state in {"accepted", "sending"}
        ]
        wrong = {"sent again": len(made.sent), "left open": len(left)}
        wrong["chain broken"] = len(made.journal.verify())
    return +Counter(wrong)
