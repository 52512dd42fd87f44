"""Commands in the store: issue, hand out, cancel, settle. Results are in results_store.py.

Deadlines count on the monotonic clock. `adopt` runs once at start, so that afterwards no wall clock
decides.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from ems.arms_store import Armed, ArmStore
from ems.clock import EmsClock
from ems.command_rules import (
    ARMED,
    CANCELLABLE,
    DELIVERED,
    QUEUED,
    SETTLE_MS,
    Persisted,
    remaining_ms,
)
from ems.command_views import command_view, event_view
from ems.database import Database
from ems.errors import ApiError, BadParameter, NoRecord, OnlyArmed
from ems.issue import Issue, check_room, is_full, life_ms, repeat_of
from ems.schema import command_events, commands, meta
from ems.security import Principal

Row = Mapping[Any, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a poll finds: commands in progress first, then those handed out now."""

    is_new: bool
    rows: Sequence[Row]


class CommandStore:
    """Commands and their lives."""

    def __init__(self, database: Database, clock: EmsClock, arms: ArmStore) -> None:
        self._db = database
        self._clock = clock
        self._arms = arms

    def adopt(self) -> None:
        """Carry deadlines over a restart: a life can only get shorter."""
        wall_ms, mono_ms, boot = (
            self._clock.wall_ms(),
            self._clock.monotonic_ms(),
            self._clock.boot_id(),
        )
        with self._db.write() as connection:
            seen = connection.scalar(select(meta.c.value).where(meta.c.key == "wall_seen_ms"))
            query = select(commands).where(~commands.c.finished)
            for row in connection.execute(query).mappings().all():
                before = Persisted(
                    row["life_ms"],
                    row["deadline_ms"],
                    row["deadline_mono_ms"],
                    row["boot_id"],
                    max(int(seen or 0), row["updated_ms"]),
                )
                deadline_ms = mono_ms + remaining_ms(before, wall_ms, mono_ms, boot)
                values = {"deadline_mono_ms": deadline_ms, "boot_id": boot}
                values |= {"settle_mono_ms": deadline_ms + SETTLE_MS}
                where = commands.c.id == row["id"]
                connection.execute(update(commands).where(where).values(values))

    def issue(self, issue: Issue) -> tuple[str, bool]:
        """Queue a command; return its id and whether it is new (False: a repeat with the same key).

        Raises:
            BadParameter: life above the cap, other body under the same key, too many unfinished.
            OnlyArmed: the device wants two steps, and this was the first: nothing is queued.
        """
        device_uid = issue.body.device_uid
        try:
            with self._db.write() as connection:
                made = self._issue(connection, issue)
        except ApiError:
            self._arms.drop(device_uid, f"a refused request, by {issue.who.name}")
            raise
        if isinstance(made, Armed):
            raise OnlyArmed(made.data())
        return made

    def _issue(self, connection: Connection, issue: Issue) -> tuple[str, bool] | Armed:
        device_uid, life = issue.body.device_uid, life_ms(issue.body)
        known = repeat_of(connection, issue)
        if known is not None:
            self._arms.disturb(connection, device_uid, f"another request, by {issue.who.name}")
            return known, False
        if is_full(connection, device_uid):
            self._settle(connection, device_uid)
            check_room(connection, device_uid)
        arm = self._arms.pass_or_arm(connection, issue)
        if isinstance(arm, Armed):
            return arm
        command_id = str(uuid.uuid4())
        connection.execute(commands.insert().values(self._new_row(command_id, issue, life)))
        who = f"{issue.who.name} ({issue.who.key_id})"
        if arm is not None:
            armed = {"detail": f"{who}, arm {arm['id']}", "received_ms": arm["armed_ms"]}
            self.note(connection, command_id, "operator", ARMED, **armed)
        note = {"reason": issue.body.reason, "detail": who}
        self.note(connection, command_id, "operator", QUEUED, **note)
        return command_id, True

    def take(self, device_uid: str) -> Taken:
        """Return what the device must know; what is new is marked as handed out, durably, first."""
        if not self._has_news(device_uid):
            with self._db.read() as connection:
                return Taken(is_new=False, rows=_unfinished(connection, device_uid))
        with self._db.write() as connection:
            rows = _unfinished(connection, device_uid)
            if any(row["deadline_mono_ms"] <= self._clock.monotonic_ms() for row in rows):
                self._settle(connection, device_uid)
                rows = _unfinished(connection, device_uid)
            news = [row for row in rows if row["delivered_version"] < row["version"]]
            for row in news:
                self._hand_out(connection, row)
        return Taken(is_new=bool(news), rows=rows)

    def cancel(self, command_id: str, who: Principal) -> dict[str, Any]:
        """Cancel a queued command, or ask the device to drop one that it has.

        Raises:
            NoRecord: unknown, or outside the caller's scope.
            BadParameter: 409, it is being sent or finished.
        """
        with self._db.write() as connection:
            row = self._find(connection, command_id, who)
            self._arms.disturb(connection, row["device_uid"], f"a cancel, by {who.name}")
            self._settle(connection, row["device_uid"])
            row = self._find(connection, command_id, who)
            late = row["state"] not in {QUEUED, *CANCELLABLE}
            if row["state"] == QUEUED:
                values = {"state": "cancelled", "finished": True, "cancel_requested": True}
                self._change(connection, row, values)
                self.note(connection, command_id, "operator", "cancelled", detail=who.name)
            elif row["state"] in CANCELLABLE and not row["cancel_requested"]:
                values = {"cancel_requested": True, "version": row["version"] + 1}
                self._change(connection, row, values)
                self.note(connection, command_id, "operator", "cancel_requested", detail=who.name)
            view = command_view(self._find(connection, command_id, who))
        if late:
            raise BadParameter(f"id: the command is {view['state']}, too late to cancel", 409)
        return view

    def get(self, command_id: str, who: Principal) -> dict[str, Any]:
        """Return a command with every event of its life.

        Raises:
            NoRecord: unknown, or outside the caller's scope.
        """
        with self._db.read() as connection:
            device_uid = self._find(connection, command_id, who)["device_uid"]
        self.settle(device_uid)
        with self._db.read() as connection:
            row = self._find(connection, command_id, who)
            query = select(command_events).where(command_events.c.command_id == command_id)
            events = connection.execute(query.order_by(command_events.c.number)).mappings().all()
        return command_view(row) | {"events": [event_view(item) for item in events]}

    def page(self, device_uid: str, offset: int, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of a device's commands and one page of them, newest first."""
        self.settle(device_uid)
        mine = commands.c.device_uid == device_uid
        with self._db.read() as connection:
            total = connection.scalar(select(func.count()).select_from(commands).where(mine)) or 0
            query = select(commands).where(mine).order_by(commands.c.number.desc())
            rows = connection.execute(query.offset(offset).limit(limit)).mappings().all()
        return total, [command_view(row) for row in rows]

    def settle(self, device_uid: str | None = None) -> None:
        """End what is overdue, for one device or all."""
        with self._db.read() as connection:
            if not self._overdue(connection, device_uid):
                return
        with self._db.write() as connection:
            self._settle(connection, device_uid)
            self.remember_wall(connection)

    def tick_wall(self) -> None:
        """Write the wall time down while a command is unfinished: the next start compares."""
        with self._db.read() as connection:
            if (
                connection.scalar(select(commands.c.id).where(~commands.c.finished).limit(1))
                is None
            ):
                return
        with self._db.write() as connection:
            self.remember_wall(connection)

    def remember_wall(self, connection: Connection) -> None:
        """Keep the latest wall time of a running platform."""
        row = {"key": "wall_seen_ms", "value": str(self._clock.wall_ms())}
        query = insert(meta).values(row)
        connection.execute(
            query.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": row["value"]})
        )

    def note(
        self, connection: Connection, command_id: str, origin: str, state: str, **more: object
    ) -> None:
        """Add an event to a command's life."""
        row = {"command_id": command_id, "origin": origin, "state": state, "refused": False}
        row |= {"received_ms": self._clock.wall_ms()} | more
        connection.execute(command_events.insert().values(row))

    def _new_row(self, command_id: str, issue: Issue, life_ms: int) -> dict[str, Any]:
        wall_ms, mono_ms = self._clock.wall_ms(), self._clock.monotonic_ms()
        return {
            "id": command_id,
            "device_uid": issue.body.device_uid,
            "command": issue.body.command,
            "issue_reason": issue.body.reason,
            "issued_by": issue.who.name,
            "issued_key": issue.who.key_id,
            "issued_from": issue.address,
            "issued_ms": wall_ms,
            "idempotency_key": issue.idempotency_key,
            "request": issue.canonical(),
            "life_ms": life_ms,
            "deadline_ms": wall_ms + life_ms,
            "deadline_mono_ms": mono_ms + life_ms,
            "settle_mono_ms": mono_ms + life_ms + SETTLE_MS,
            "boot_id": self._clock.boot_id(),
            "state": QUEUED,
            "version": 1,
            "delivered_version": 0,
            "updated_ms": wall_ms,
        }

    def _find(self, connection: Connection, command_id: str, who: Principal) -> Row:
        query = select(commands).where(commands.c.id == command_id)
        row = connection.execute(query).mappings().one_or_none()
        if row is None or not who.covers(row["device_uid"]):
            raise NoRecord("id: no such command")
        return row

    def _change(self, connection: Connection, row: Row, values: dict[str, Any]) -> None:
        stamped = values | {"updated_ms": self._clock.wall_ms()}
        connection.execute(update(commands).where(commands.c.id == row["id"]).values(stamped))

    def _hand_out(self, connection: Connection, row: Row) -> None:
        values: dict[str, Any] = {"delivered_version": row["version"]}
        if row["state"] == QUEUED:
            values |= {"state": DELIVERED}
            self.note(connection, row["id"], "platform", DELIVERED, version=row["version"])
        self._change(connection, row, values)

    def _has_news(self, device_uid: str) -> bool:
        news = and_(~commands.c.finished, commands.c.delivered_version < commands.c.version)
        query = select(commands.c.id).where(commands.c.device_uid == device_uid, news).limit(1)
        with self._db.read() as connection:
            return connection.scalar(query) is not None

    def _overdue(self, connection: Connection, device_uid: str | None) -> Sequence[Row]:
        now_ms = self._clock.monotonic_ms()
        never_sent = and_(commands.c.state == QUEUED, commands.c.deadline_mono_ms <= now_ms)
        no_word = and_(commands.c.state != QUEUED, commands.c.settle_mono_ms <= now_ms)
        query = select(commands).where(~commands.c.finished, or_(never_sent, no_word))
        if device_uid is not None:
            query = query.where(commands.c.device_uid == device_uid)
        return connection.execute(query).mappings().all()

    def _settle(self, connection: Connection, device_uid: str | None) -> None:
        for row in self._overdue(connection, device_uid):
            state = "expired" if row["state"] == QUEUED else "timed_out"
            self._change(connection, row, {"state": state, "finished": True, "provisional": True})
            self.note(connection, row["id"], "platform", state, reason="time-limit-over")


def _unfinished(connection: Connection, device_uid: str) -> Sequence[Row]:
    query = select(commands).where(commands.c.device_uid == device_uid, ~commands.c.finished)
    order = (commands.c.state == QUEUED, commands.c.number)
    return connection.execute(query.order_by(*order)).mappings().all()
