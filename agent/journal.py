"""The journal: every command and its life, durable before anything reaches the bus.

One id is accepted once and for ever; its steps follow bms_can.commands.NEXT; what is final stays.
Each method commits before it returns, or raises JournalFailed and nothing counts as done: then no
command may go out. Rows are hash-chained, see journal_rows.py.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from agent.errors import IllegalTransition, JournalFailed, UnknownCommand
from agent.journal_check import chain_mistakes, state_mistakes
from agent.journal_rows import (
    COMMAND,
    COMMANDS,
    EVENTS,
    SCHEMA,
    Draft,
    Entry,
    Event,
    Lockout,
    Stamp,
    append,
    entry_of,
    event_of,
    find_entry,
    get_meta,
    insert_entry,
    set_meta,
)
from agent.payload import rfc3339
from agent.sqlite_file import MIB, SqliteFile
from agent.strict_json import canonical
from bms_can.commands import FINAL, LONGEST_LIFE_S, Command, CommandState, Reason, may_follow
from bms_can.profile import CommandCode

MAX_BYTES = 64 * MIB
_UNFINISHED = "state NOT IN ({})".format(",".join(f"'{state}'" for state in sorted(FINAL)))
_SENDINGS = """WHERE state='sending' AND command_id IN (SELECT id FROM command WHERE device_uid=?
    AND code=? AND state NOT IN ('rejected','expired','cancelled')) """
_FIRST_KEPT = f"""SELECT min(seq) FROM event WHERE wall >= ? OR seq IN (SELECT seq FROM unreported)
    OR command_id IN (SELECT id FROM command WHERE {_UNFINISHED})"""  # noqa: S608 - constants only


class Journal:
    """The journal of one box. Thread-safe.

    Args:
        path: the file, journal.db.
        stamp: the moment of opening.
        max_bytes: quota; when it is reached, writing fails and no command goes out.

    Attributes:
        journal_lost: the file before this one was corrupt and has been put aside.

    Raises:
        JournalFailed: the file cannot be opened.
    """

    def __init__(self, path: Path, stamp: Stamp, max_bytes: int = MAX_BYTES) -> None:
        self._file = SqliteFile(path, SCHEMA, max_bytes, JournalFailed)
        self.journal_lost = self._file.lost
        if self.journal_lost:
            with self._file.transaction() as db:
                append(db, Draft("journal-lost", "", detail="predecessor was corrupt"), stamp)
                set_meta(db, "lost", canonical([stamp.boot_id, stamp.monotonic_s]))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def forgetful(self, now_s: float, boot_id: str) -> bool:
        """Tell whether a command may come back that a lost journal knew: then refuse all.

        True for the longest life of a command after the loss, also across a restart.
        """
        value = self.meta("lost")
        if value is None:
            return False
        lost_boot, lost_s = json.loads(value)
        # After another boot at least the time since that boot has passed.
        passed_s = now_s - lost_s if lost_boot == boot_id else now_s
        if passed_s < LONGEST_LIFE_S:
            return True
        with self._file.transaction() as db:
            db.execute("DELETE FROM meta WHERE key = 'lost'")
        return False

    def accept(self, command: Command, stamp: Stamp) -> Entry:
        """Write a command down, once.

        Returns:
            The new entry; or the stored one if the id is known, with `conflict` if the stored one
            has another code or device (the attempt is recorded).
        """
        with self._file.transaction() as db:
            known = find_entry(db, command.id)
            if known is not None:
                return _compare(db, known, command, stamp)
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
        with self._file.transaction() as db:
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
        self, kind: str, stamp: Stamp, body: Mapping[str, object], device_uid: str = ""
    ) -> int:
        """Write an audit row that is no step of a command; return its number."""
        with self._file.transaction() as db:
            return append(db, Draft(kind, device_uid, evidence=body), stamp)

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
        query = COMMANDS + "ORDER BY seq DESC LIMIT ?"
        with self._file.reading() as db:
            return [entry_of(row) for row in db.execute(query, (limit,))]

    def sendings(self, device_uid: str, code: CommandCode, limit: int) -> list[Event]:
        """Return the rows `sending` of commands of this kind that may have gone out, newest first.

        Args:
            device_uid: their device.
            code: their kind.
            limit: at most so many.
        """
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

    def unreported(self, device_uid: str, limit: int = 100) -> list[Event]:
        """Return the steps that the platform does not have yet, oldest first."""
        mine = "WHERE seq IN (SELECT seq FROM unreported WHERE device_uid=?)"
        query = EVENTS + mine + " ORDER BY seq LIMIT ?"
        with self._file.reading() as db:
            return [event_of(row) for row in db.execute(query, (device_uid, limit))]

    def reported(self, seq: int) -> None:
        """Keep in mind that the platform has this step, or will never take it."""
        with self._file.transaction() as db:
            db.execute("DELETE FROM unreported WHERE seq=?", (seq,))

    def verify(self) -> list[str]:
        """Return what is wrong with the chain or the states; empty if all is as written."""
        with self._file.reading() as db:
            return [*chain_mistakes(db), *state_mistakes(db)]

    def head(self) -> tuple[int, str]:
        """Return number and hash of the newest row, to be kept elsewhere as a proof."""
        with self._file.reading() as db:
            return int(get_meta(db, "head_seq") or 0), get_meta(db, "head_hash") or ""

    def prune(self, before: datetime) -> int:
        """Delete the oldest rows written before `before`; return how many.

        Stops at the first row that is younger, unreported, or of an unfinished command. The
        commands themselves stay for ever, so that no id goes out twice.
        """
        with self._file.transaction() as db:
            (first,) = db.execute(_FIRST_KEPT, (rfc3339(before),)).fetchone()
            last = int(get_meta(db, "head_seq") or 0) if first is None else first - 1
            row = db.execute("SELECT hash FROM event WHERE seq=?", (last,)).fetchone()
            if row is None:
                return 0
            set_meta(db, "base_seq", str(last))
            set_meta(db, "base_hash", row[0])
            return db.execute("DELETE FROM event WHERE seq<=?", (last,)).rowcount

    def lockout(self) -> Lockout | None:
        """Return the local lock-out, None if there is none."""
        value = self.meta("lockout")
        return None if value is None else Lockout(*json.loads(value))

    def set_lockout(self, reason: str, who: str, stamp: Stamp) -> Lockout:
        """Keep remote closes off until a person clears it; survives restarts."""
        lockout = Lockout(reason, who, rfc3339(stamp.wall))
        with self._file.transaction() as db:
            append(db, Draft("lockout-set", "", evidence=lockout._asdict()), stamp)
            set_meta(db, "lockout", canonical(lockout))
        return lockout

    def clear_lockout(self, who: str, stamp: Stamp) -> None:
        """End the local lock-out."""
        with self._file.transaction() as db:
            append(db, Draft("lockout-cleared", "", evidence={"who": who}), stamp)
            db.execute("DELETE FROM meta WHERE key = 'lockout'")

    def meta(self, key: str) -> str | None:
        """Return a kept small value, None if there is none."""
        with self._file.reading() as db:
            return get_meta(db, key)

    def set_meta(self, key: str, value: str) -> None:
        """Keep a small value durably."""
        with self._file.transaction() as db:
            set_meta(db, key, value)

    def reserve(self, name: str, count: int, at_least: int = 1) -> int:
        """Reserve `count` numbers that nobody ever gets again; return the first.

        Args:
            name: the series.
            count: how many.
            at_least: the first is not below this.
        """
        key = f"next:{name}"
        with self._file.transaction() as db:
            first = max(int(get_meta(db, key) or 1), at_least)
            set_meta(db, key, str(first + count))
            return first


def _compare(db: sqlite3.Connection, known: Entry, command: Command, stamp: Stamp) -> Entry:
    same = (known.command.code, known.command.device_uid) == (command.code, command.device_uid)
    if same:
        return known
    detail = f"id came again as command {int(command.code)} for {command.device_uid}"
    query = "SELECT 1 FROM event WHERE command_id=? AND kind='conflict' AND detail=?"
    if db.execute(query, (command.id, detail)).fetchone() is None:  # once is enough for the record
        draft = Draft("conflict", known.command.device_uid, command.id, detail=detail)
        append(db, draft, stamp)
    return known._replace(conflict=True)
