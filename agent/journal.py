"""The journal: every command and its life, durable before anything reaches the bus.

One id is accepted once and for ever; its steps follow bms_can.commands.NEXT; what is final stays.
Each method commits before it returns, or raises JournalFailed and nothing counts as done: then no
command may go out. Rows are hash-chained, see journal_rows.py.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from agent.errors import IllegalTransition, JournalFailed, UnknownCommand
from agent.journal_beside import HeadFile, LockoutFile
from agent.journal_check import mistakes, recent_damage
from agent.journal_rows import (
    COMMAND,
    COMMANDS,
    EVENTS,
    STATEMENTS,
    TALLY,
    VERSION,
    Draft,
    Entry,
    Event,
    Head,
    Lockout,
    Stamp,
    append,
    compare,
    entry_of,
    event_of,
    find_entry,
    get_meta,
    head_of,
    insert_entry,
    knows,
    note_loss,
    prune_rows,
    set_meta,
)
from agent.payload import rfc3339
from agent.sqlite_file import MIB, STORAGE, Schema, SqliteFile, Storage
from agent.strict_json import canonical
from bms_can.commands import FINAL, LONGEST_LIFE_S, Command, CommandState, Reason, may_follow
from bms_can.profile import CommandCode

MAX_BYTES = 64 * MIB
_UNFINISHED = "state NOT IN ({})".format(",".join(f"'{state}'" for state in sorted(FINAL)))
_SENDINGS = """WHERE state='sending' AND command_id IN (SELECT id FROM command WHERE device_uid=?
    AND code=? AND state NOT IN ('rejected','expired','cancelled')) """


class Journal:
    """The journal of one box. Thread-safe.

    Args:
        path: the file, journal.db.
        stamp: the moment of opening.
        max_bytes: quota of the file; at it writing fails and no command goes out.
        storage: the way to the disk.

    Attributes:
        journal_lost: earlier rows are missing: the file was damaged, deleted, cut off, or old.

    Raises:
        JournalFailed: the file cannot be opened.
    """

    def __init__(
        self, path: Path, stamp: Stamp, max_bytes: int = MAX_BYTES, storage: Storage = STORAGE
    ) -> None:
        def born(db: sqlite3.Connection, lost: str) -> None:
            if lost:
                note_loss(db, stamp, f"the journal before this one: {lost}")

        schema = Schema(VERSION, STATEMENTS, recent_damage)
        self._file = SqliteFile(path, schema, max_bytes, JournalFailed, born, storage)
        self._head = HeadFile(path)
        self._lockout = LockoutFile(path)
        self.journal_lost = bool(self._file.lost) or self._miss_rows(stamp)
        self._head.keep(self.head(), anew=True)

    def _miss_rows(self, stamp: Stamp) -> bool:
        """Tell whether rows are missing that had been committed; then take note of it."""
        if (kept := self._head.read()) is None:
            return False
        with self._file.transaction() as db:
            if knows(db, kept):
                return False
            note_loss(db, stamp, f"row {kept.seq} had been written and is missing")
        return True

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Write, and keep the new head beside the journal once it is durable."""
        with self._file.transaction() as db:
            yield db
            head = head_of(db)
        self._head.keep(head)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def forgetful(self, now_s: float, boot_id: str) -> bool:
        """Tell whether a command may come back that a lost journal knew: then refuse all.

        True for the longest life of a command after the loss, also across a restart.
        """
        if (value := self.meta("lost")) is None:
            return False
        lost_boot, lost_s = json.loads(value)
        # After another boot at least the time since that boot has passed.
        passed_s = now_s - lost_s if lost_boot == boot_id else now_s
        if passed_s < LONGEST_LIFE_S:
            return True
        with self._writing() as db:
            db.execute("DELETE FROM meta WHERE key = 'lost'")
        return False

    def accept(self, command: Command, stamp: Stamp) -> Entry:
        """Write a command down, once.

        Returns:
            The new entry; or the stored one if the id is known, with `conflict` (which is
            recorded) if that has another code or device.
        """
        with self._writing() as db:
            known = find_entry(db, command.id)
            if known is not None:
                return compare(db, known, command, stamp)
            terms = {key: value for key, value in asdict(command).items() if key != "id"}
            state = CommandState.ACCEPTED
            draft = Draft(COMMAND, command.device_uid, command.id, state, evidence=terms)
            seq = append(db, draft, stamp)
            entry = Entry(command, state, None, "", rfc3339(stamp.wall), seq, new=True)
            insert_entry(db, entry)
            return entry

    def advance(
        self,
        command_id: str,
        state: CommandState,
        stamp: Stamp,
        *,
        reason: Reason | None = None,
        detail: str = "",
        evidence: Mapping[str, object] | None = None,
    ) -> Entry:
        """Write the next step of a command.

        Raises:
            IllegalTransition: `state` may not follow; nothing is written.
            UnknownCommand: there is no such command.
        """
        with self._writing() as db:
            entry = find_entry(db, command_id)
            if entry is None:
                raise UnknownCommand(command_id)
            if not may_follow(entry.state, state):
                raise IllegalTransition(f"{command_id}: {entry.state} -> {state}")
            uid = entry.command.device_uid
            seq = append(
                db, Draft(COMMAND, uid, command_id, state, reason, detail, evidence), stamp
            )
            wall = rfc3339(stamp.wall)
            db.execute(
                "UPDATE command SET state=?, reason=?, detail=?, wall=?, seq=? WHERE id=?",
                (state.value, reason and reason.value, detail, wall, seq, command_id),
            )
            return Entry(entry.command, state, reason, detail, wall, seq)

    def note(
        self, kind: str, stamp: Stamp, body: Mapping[str, object], uid: str = "", about: str = ""
    ) -> int:
        """Write an audit row, at most `about` a command, never a step of it; return its number."""
        with self._writing() as db:
            return append(db, Draft(kind, uid, about or None, evidence=body), stamp)

    def entry(self, command_id: str) -> Entry | None:
        """Return a command, None if the id is unknown."""
        with self._file.reading() as db:
            return find_entry(db, command_id)

    def unfinished(self, device_uid: str) -> list[Entry]:
        """Return the commands whose state is not final, oldest step first."""
        query = COMMANDS + f"WHERE device_uid=? AND {_UNFINISHED} ORDER BY seq"
        with self._file.reading() as db:
            return [entry_of(row) for row in db.execute(query, (device_uid,))]

    def recent(self, limit: int) -> list[Entry]:
        """Return the commands with the newest steps, newest first."""
        with self._file.reading() as db:
            rows = db.execute(COMMANDS + "ORDER BY seq DESC LIMIT ?", (limit,))
            return [entry_of(row) for row in rows]

    def sendings(self, device_uid: str, code: CommandCode, limit: int) -> list[Event]:
        """Return the rows `sending` of commands that may have gone out, newest first."""
        query = EVENTS + _SENDINGS + "ORDER BY seq DESC LIMIT ?"
        with self._file.reading() as db:
            rows = db.execute(query, (device_uid, int(code), limit))
            return [event_of(row) for row in rows]

    def events(self, command_id: str) -> list[Event]:
        """Return all rows about a command, oldest first."""
        query = EVENTS + "WHERE command_id=? ORDER BY seq"
        with self._file.reading() as db:
            return [event_of(row) for row in db.execute(query, (command_id,))]

    def log(self, after_seq: int = 0, limit: int = 1000) -> list[Event]:
        """Return all rows with a number above `after_seq`, notes included, oldest first."""
        query = EVENTS + "WHERE seq>? ORDER BY seq LIMIT ?"
        with self._file.reading() as db:
            return [event_of(row) for row in db.execute(query, (after_seq, limit))]

    def tally(self) -> list[tuple[str, str, str, int]]:
        """Return how many commands there are: device, state, reason ("" for none), count."""
        with self._file.reading() as db:
            return db.execute(TALLY).fetchall()

    def unreported(self, device_uid: str, limit: int = 100) -> list[Event]:
        """Return the steps that the platform does not have yet, oldest first."""
        mine = "WHERE seq IN (SELECT seq FROM unreported WHERE device_uid=?) ORDER BY seq LIMIT ?"
        with self._file.reading() as db:
            return [event_of(row) for row in db.execute(EVENTS + mine, (device_uid, limit))]

    def reported(self, seq: int) -> None:
        """Keep in mind that the platform has this step, or will never take it."""
        with self._writing() as db:
            db.execute("DELETE FROM unreported WHERE seq=?", (seq,))

    def verify(self) -> list[str]:
        """Return what is wrong with the chain or the states; empty if all is as written."""
        kept = self._head.read()
        with self._file.reading() as db:
            cut_off = [] if kept is None or knows(db, kept) else [f"row {kept.seq}: is missing"]
            return [*mistakes(db), *cut_off]

    def head(self) -> Head:
        """Return number and hash of the newest row, to be kept elsewhere as a proof."""
        with self._file.reading() as db:
            return head_of(db)

    def prune(self, before: datetime) -> int:
        """Delete the oldest rows written before `before`; return how many.

        Stops at the first row that is younger, unreported, or of an unfinished command. The
        commands themselves stay for ever, so that no id goes out twice.
        """
        with self._writing() as db:
            return prune_rows(db, rfc3339(before), _UNFINISHED)

    def lockout(self) -> Lockout | None:
        """Return the local lock-out, None if there is none."""
        value = self.meta("lockout")
        return self._lockout.read() if value is None else Lockout(*json.loads(value))

    def set_lockout(self, reason: str, who: str, stamp: Stamp) -> Lockout:
        """Keep remote closes off until a person clears it; survives restarts and the journal."""
        lockout = Lockout(reason, who, rfc3339(stamp.wall))
        self._lockout.keep(lockout)
        with self._writing() as db:
            append(db, Draft("lockout-set", "", evidence=lockout._asdict()), stamp)
            set_meta(db, "lockout", canonical(lockout))
        return lockout

    def clear_lockout(self, who: str, stamp: Stamp) -> None:
        """End the local lock-out."""
        with self._writing() as db:
            append(db, Draft("lockout-cleared", "", evidence={"who": who}), stamp)
            db.execute("DELETE FROM meta WHERE key = 'lockout'")
        self._lockout.drop()

    def meta(self, key: str) -> str | None:
        """Return a kept small value, None if there is none."""
        with self._file.reading() as db:
            return get_meta(db, key)

    def set_meta(self, key: str, value: str) -> None:
        """Keep a small value durably."""
        with self._writing() as db:
            set_meta(db, key, value)

    def reserve(self, name: str, count: int, at_least: int = 1) -> int:
        """Reserve `count` numbers that nobody ever gets again; return the first.

        Args:
            name: the series.
            count: how many.
            at_least: the first is not below this.
        """
        key = f"next:{name}"
        with self._writing() as db:
            first = max(int(get_meta(db, key) or 1), at_least)
            set_meta(db, key, str(first + count))
            return first
