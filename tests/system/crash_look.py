"""What a box that was killed many times left behind: wire and files held against each other."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bms_can.commands import FINAL

ROWS = """SELECT command_id, state, monotonic_s, boot_id FROM event WHERE kind='command'
    ORDER BY seq"""


class Sent(NamedTuple):
    """A frame on the wire, with the command that the executor had in flight."""

    command_id: str
    at_s: float
    data: bytes


@dataclass(slots=True, eq=False)
class Life:
    """One start of the agent: its time, and what it put on the wire.

    Attributes:
        span_s: fake time that it may use up at the most.
        killed: it was; `done`: it reached its end; `failure`: it raised this.
    """

    boot_id: str
    start_s: float
    span_s: float
    frames: list[Sent] = field(default_factory=list)
    killed: bool = False
    done: bool = False
    failure: str = ""

    def covers(self, boot_id: str, at_s: float) -> bool:
        """Tell whether something was written in this life."""
        return boot_id == self.boot_id and self.start_s <= at_s < self.start_s + self.span_s


class Row(NamedTuple):
    """A step of a command as the file has it."""

    command_id: str
    state: str
    at_s: float
    boot_id: str


class Remains:
    """What is left of one box.

    Args:
        journal: its file; nobody has it open.
        lives: all its lives, in order.
    """

    def __init__(self, journal: Path, lives: Sequence[Life]) -> None:
        self.lives = lives
        with closing(sqlite3.connect(journal)) as db:
            self.rows = [Row(*row) for row in db.execute(ROWS)]
            (self.unreported,) = db.execute("SELECT count(*) FROM unreported").fetchone()
        self._by_state: Mapping[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in self.rows:
            self._by_state[row.state][row.command_id].append(row)

    def life_of(self, row: Row) -> Life | None:
        """Return the life that wrote a row."""
        return next((life for life in self.lives if life.covers(row.boot_id, row.at_s)), None)

    def sessions(self) -> dict[str, list[Life]]:
        """Return the lives in which frames of each command went out."""
        found: dict[str, list[Life]] = defaultdict(list)
        for life in self.lives:
            for identity in {sent.command_id for sent in life.frames}:
                found[identity].append(life)
        return found

    def unknown(self) -> set[str]:
        """Return the commands of which nobody knew for a while whether they had gone out."""
        return set(self._by_state["unknown"])

    def last_rows(self) -> Counter[str]:
        """Count the kills by the last row that was written before them, "none" for none."""
        last = {life: "none" for life in self.lives if life.killed}
        for row in self.rows:
            life = self.life_of(row)
            if life in last:
                last[life] = row.state
        return Counter(last.values())

    # --- what must not be

    def mistakes(self, repeat: int, offered_last: Sequence[str]) -> Iterator[str]:
        """Yield everything that is not as it must be.

        Args:
            repeat: frames of one session at the most.
            offered_last: commands that the last life was offered.
        """
        yield from (f"a life failed: {life.failure}" for life in self.lives if life.failure)
        if self.unreported != len(self.rows):
            yield f"{len(self.rows)} rows, but {self.unreported} wait for the platform"
        for life in self.lives:
            yield from self._bare_frames(life)
            yield from self._long_sessions(life, repeat)
        yield from self._double_sessions()
        yield from self._sent_without_frame()
        yield from self._lost_ends(offered_last)

    def _bare_frames(self, life: Life) -> Iterator[str]:
        """Every frame has a row from before it, and its command came into this very life."""
        for sent in life.frames:
            before = self._by_state["sending"][sent.command_id]
            if not any(self.life_of(row) is life and row.at_s <= sent.at_s for row in before):
                yield f"{sent.command_id}: a frame without a durable row before it"
            accepted = self._by_state["accepted"][sent.command_id]
            if not any(self.life_of(row) is life for row in accepted):
                yield f"{sent.command_id}: a frame after a restart"

    def _long_sessions(self, life: Life, repeat: int) -> Iterator[str]:
        """A session has so many frames at the most, each with its own counter."""
        payloads: dict[str, list[bytes]] = defaultdict(list)
        for sent in life.frames:
            payloads[sent.command_id].append(sent.data)
        for identity, found in payloads.items():
            if len(found) > repeat or len(set(found)) < len(found):
                yield f"{identity}: {len(found)} frames in one session"

    def _double_sessions(self) -> Iterator[str]:
        for identity, lives in self.sessions().items():
            if len(lives) > 1:
                yield f"{identity}: sessions in {len(lives)} lives"
        for identity, rows in self._by_state["sending"].items():
            if len(rows) > 1:
                yield f"{identity}: {len(rows)} rows `sending`"

    def _sent_without_frame(self) -> Iterator[str]:
        for identity in self._by_state["sent"].keys() - self.sessions().keys():
            yield f"{identity}: a row `sent` without a frame"

    def _lost_ends(self, offered_last: Sequence[str]) -> Iterator[str]:
        """Every command that is known has come to its end, and none is forgotten."""
        newest = {row.command_id: row.state for row in self.rows}
        for identity, state in newest.items():
            if state not in FINAL:
                yield f"{identity}: ended in {state}"
        for identity in offered_last:
            if identity not in newest:
                yield f"{identity}: was offered to the end, and is not there"
