"""What devices say: steps in the life of their commands, and kept reports."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.sqlite import insert

from ems.clock import EmsClock, rfc3339
from ems.command_rules import FINISHED, SETTLE_MS, may_follow
from ems.command_views import Row, command_view
from ems.commands_store import CommandStore
from ems.database import Database
from ems.errors import BadParameter, NoRecord
from ems.payloads import ReportsBody, ResultBody
from ems.schema import command_events, commands, reports
from ems.strictjson import dump


@dataclass(frozen=True, slots=True)
class Told:
    """Outcome of a result: the command now, and whether the device had said it before."""

    command: dict[str, Any]
    repeat: bool


class ResultStore:
    """Results and reports of devices."""

    def __init__(self, database: Database, clock: EmsClock, issued: CommandStore) -> None:
        self._db = database
        self._clock = clock
        self._issued = issued

    def tell(self, result: ResultBody) -> Told:
        """Keep a step. Idempotent by (id, state).

        Raises:
            NoRecord: not a command of this device.
            BadParameter: 409, it contradicts what is known; it is kept as refused.
        """
        with self._db.write() as connection:
            row = _command_of(connection, result)
            if _was_told(connection, result):
                return Told(command_view(row), repeat=True)
            provisional = bool(row["provisional"])
            fits = may_follow(row["state"], provisional=provisional, new=result.state)
            self._keep(connection, result, refused=not fits)
            if fits:
                self._move(connection, row, result)
            view = command_view(_command_of(connection, result))
        if not fits:
            raise BadParameter(f"state: {result.state} cannot follow {view['state']}", 409)
        return Told(view, repeat=False)

    def _move(self, connection: Connection, row: Row, result: ResultBody) -> None:
        now_ms = self._clock.monotonic_ms()
        values = {
            "state": result.state,
            "finished": result.state in FINISHED,
            "provisional": False,
            "settle_mono_ms": max(row["settle_mono_ms"], now_ms + SETTLE_MS),
            "delivered_version": max(row["delivered_version"], 1),
            "updated_ms": self._clock.wall_ms(),
        }
        connection.execute(update(commands).where(commands.c.id == row["id"]).values(values))

    def _keep(self, connection: Connection, result: ResultBody, *, refused: bool) -> None:
        if refused and _was_told(connection, result, refused=True):
            return
        evidence = None if result.evidence is None else dump(result.evidence)
        more = {"reason": result.reason, "detail": result.detail, "evidence": evidence}
        more |= {"device_at": result.at}
        self._issued.note(
            connection,
            result.id,
            "device",
            result.state,
            refused=refused,
            version=result.version,
            **more,
        )

    def add_reports(self, batch: ReportsBody) -> dict[str, int | None]:
        """Keep reports, each sequence once; the first one told stays."""
        received_ms = self._clock.wall_ms()
        stored = 0
        with self._db.write() as connection:
            for item in batch.reports:
                row = {"device_uid": batch.device_uid, "sequence": item.sequence, "kind": item.kind}
                row |= {"at": item.at, "body": dump(item.body), "received_ms": received_ms}
                query = insert(reports).values(row).on_conflict_do_nothing()
                stored += connection.execute(query).rowcount
            mine = reports.c.device_uid == batch.device_uid
            through = connection.scalar(select(func.max(reports.c.sequence)).where(mine))
        duplicates = len(batch.reports) - stored
        return {"stored": stored, "duplicates": duplicates, "accepted_through": through}

    def page(self, device_uid: str, offset: int, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of a device's reports and one page of them, newest first."""
        mine = reports.c.device_uid == device_uid
        with self._db.read() as connection:
            total = connection.scalar(select(func.count()).select_from(reports).where(mine)) or 0
            query = select(reports).where(mine).order_by(reports.c.sequence.desc())
            rows = connection.execute(query.offset(offset).limit(limit)).mappings().all()
        return total, [_report_view(row) for row in rows]


def _command_of(connection: Connection, result: ResultBody) -> Row:
    mine = (commands.c.id == result.id, commands.c.device_uid == result.device_uid)
    row = connection.execute(select(commands).where(*mine)).mappings().one_or_none()
    if row is None:
        raise NoRecord("id: no such command of this device")
    return row


def _was_told(connection: Connection, result: ResultBody, *, refused: bool = False) -> bool:
    query = select(command_events.c.number).where(
        command_events.c.command_id == result.id,
        command_events.c.origin == "device",
        command_events.c.state == result.state,
        command_events.c.refused == refused,
    )
    return connection.scalar(query.limit(1)) is not None


def _report_view(row: Row) -> dict[str, Any]:
    return {
        "sequence": row["sequence"],
        "kind": row["kind"],
        "at": row["at"],
        "body": json.loads(row["body"]),
        "received_at": rfc3339(row["received_ms"]),
    }
