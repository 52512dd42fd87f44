"""The records as an outsider reads them, by plain SQL: journal, queue, platform's database."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_STEPS = """SELECT seq, command_id, state, coalesce(reason, ''), evidence FROM event
    WHERE seq > ? AND kind = 'command' ORDER BY seq"""


class Step(NamedTuple):
    """One durable step of a command on the box."""

    seq: int
    command_id: str
    state: str
    reason: str
    evidence: Mapping[str, object]


class Life(NamedTuple):
    """A command as the platform holds it."""

    command_id: str
    state: str
    provisional: bool
    finished: bool


class _File:
    """A SQLite file that another connection writes; cheap to ask whether it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._version = -1

    def changed(self) -> bool:
        """Tell whether a commit came since the last call."""
        if self._db is None:
            if not self._path.exists():
                return False
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        (found,) = self._db.execute("PRAGMA data_version").fetchone()
        version = int(found)
        changed = version != self._version
        self._version = version
        return changed

    def rows(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]  # rows of any query
        """Return all rows of a query."""
        return [] if self._db is None else self._db.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the connection."""
        if self._db is not None:
            self._db.close()


class Ledger:
    """What is on the disks of box and platform.

    Attributes:
        steps: durable steps of each command, oldest first.
        last_sending: the command whose `sending` is the newest one, "" before the first.
        reports: numbers of reports that the queue ever held durably.
        lives: commands as the platform holds them.
    """

    def __init__(self, journal: Path, queue: Path, platform: Path) -> None:
        self._journal, self._queue = _File(journal), _File(queue)
        self._platform = _File(platform)
        self._seq = 0
        self.steps: dict[str, list[Step]] = {}
        self.last_sending = ""
        self.reports: set[int] = set()
        self.lives: dict[str, Life] = {}

    def new_steps(self) -> Iterator[Step]:
        """Yield the steps that became durable since the last call."""
        if not self._journal.changed():
            return
        for seq, command_id, state, reason, evidence in self._journal.rows(_STEPS, self._seq):
            step = Step(seq, command_id, state, reason, json.loads(evidence))
            self._seq = seq
            self.steps.setdefault(command_id, []).append(step)
            if state == "sending":
                self.last_sending = command_id
            yield step

    def look_at_queue(self) -> None:
        """Note the reports that are durable now."""
        if self._queue.changed():
            self.reports |= {row[0] for row in self._queue.rows("SELECT sequence FROM report")}

    def new_lives(self) -> list[tuple[Life | None, Life]]:
        """Return the commands that the platform changed, before and after."""
        if not self._platform.changed():
            return []
        found = []
        for row in self._platform.rows("SELECT id, state, provisional, finished FROM commands"):
            life = Life(row[0], row[1], bool(row[2]), bool(row[3]))
            before = self.lives.get(life.command_id)
            if before != life:
                found.append((before, life))
                self.lives[life.command_id] = life
        return found

    def told(self) -> list[tuple[str, str, bool]]:
        """Return (id, state, refused) of every step that a device told the platform."""
        query = "SELECT command_id, state, refused FROM command_events WHERE origin = 'device'"
        return [(row[0], row[1], bool(row[2])) for row in self._platform.rows(query)]

    def reported(self) -> list[int]:
        """Return the numbers of the reports that the platform has."""
        return [row[0] for row in self._platform.rows("SELECT sequence FROM reports")]

    def unreported(self) -> int:
        """Return how many steps and reports the box still has to deliver."""
        waiting = self._journal.rows("SELECT count(*) FROM unreported")
        queued = self._queue.rows("SELECT count(*) FROM report")
        return sum(row[0] for row in (*waiting, *queued))

    def lockout(self) -> bool:
        """Tell whether the local lock-out is set."""
        return bool(self._journal.rows("SELECT 1 FROM meta WHERE key = 'lockout'"))

    def close(self) -> None:
        """Close the connections."""
        for file in (self._journal, self._queue, self._platform):
            file.close()
