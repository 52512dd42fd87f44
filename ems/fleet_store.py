"""One line for each device: what the fleet page shows at a glance."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from ems.clock import rfc3339
from ems.command_views import Row
from ems.database import Database
from ems.journal_heads import CONTRADICTIONS
from ems.schema import commands, devices, journal_heads, status
from ems.status_store import StatusStore

#: What of the box's own facts stands in the line.
BOX_FACTS = (
    *("version", "battery", "lockout", "read_only", "tx_unsafe", "foreign_master", "bus_trouble"),
)


class FleetStore:
    """Devices with status, alarms, box facts and commands in progress."""

    def __init__(self, database: Database, statuses: StatusStore) -> None:
        self._db = database
        self._statuses = statuses

    def page(
        self, scope: frozenset[str] | None, offset: int, limit: int
    ) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of devices in scope and one page of lines, by uid."""
        mine = devices.c.uid.in_(scope) if scope is not None else devices.c.uid.is_not(None)
        names = (devices.c.uid, devices.c.name, devices.c.location, devices.c.two_step)
        line = select(*names, devices.c.heartbeat_ms, status).join_from(
            devices, status, isouter=True
        )
        with self._db.read() as connection:
            total = connection.scalar(select(func.count()).select_from(devices).where(mine)) or 0
            query = line.where(mine).order_by(devices.c.uid).offset(offset).limit(limit)
            rows = connection.execute(query).mappings().all()
            uids = [row["uid"] for row in rows]
            busy = _counts(connection, commands.c.device_uid, uids, ~commands.c.finished)
            doubtful = journal_heads.c.verdict.in_(CONTRADICTIONS)
            doubts = _counts(connection, journal_heads.c.device_uid, uids, doubtful)
        return total, [self._line(row, busy, doubts) for row in rows]

    def _line(self, row: Row, busy: Mapping[str, int], doubts: Mapping[str, int]) -> dict[str, Any]:
        uid, told = row["uid"], row if row["device_uid"] else None
        view = self._statuses.judge(uid, told)
        box = json.loads(told["box"] or "{}") if told else {}
        return view.data() | {
            "name": row["name"],
            "location": row["location"],
            "stale": view.stale,
            "age_ms": self._statuses.age_ms(told),
            "alarm_level": None if view.stale else _highest(told),
            "box": {name: box.get(name) for name in BOX_FACTS},
            "two_step": bool(row["two_step"]),
            "unfinished": busy.get(uid, 0),
            "journal_contradictions": doubts.get(uid, 0),
            "heartbeat_time": rfc3339(row["heartbeat_ms"]),
        }


def _highest(told: Row | None) -> int | None:
    alarms = json.loads(told["alarms"] or "[]") if told else []
    return max((alarm["level"] for alarm in alarms), default=None)


def _counts(
    connection: Connection,
    device_uid: ColumnElement[str],
    uids: Sequence[str],
    where: ColumnElement[bool],
) -> dict[str, int]:
    query = select(device_uid, func.count()).where(device_uid.in_(uids), where)
    return {row[0]: row[1] for row in connection.execute(query.group_by(device_uid))}
