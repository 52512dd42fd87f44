"""The newest status of each device, and what the platform says about it.

Rules:
- Unknown is null, never 0 or 1. A status older than `stale_after_ms` is unknown.
- Only a larger sequence replaces a stored status.
- Age counts on the monotonic clock, from the observation (or the receipt if no age was given).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert

from ems.clock import EmsClock, rfc3339
from ems.database import Database
from ems.journal_heads import keep_head
from ems.payloads import SyncBody
from ems.schema import devices, status
from ems.strictjson import dump


@dataclass(frozen=True, slots=True)
class StatusView:
    """What the platform says about a device now; `data` is the answer's data."""

    device_uid: str
    operating_status: int | None
    alarm_status: int | None
    disconnected: int
    observed_at: str | None
    stale: bool

    def data(self) -> dict[str, Any]:
        """Return the five fields of GET and PUT."""
        return {
            "device_uid": self.device_uid,
            "alarm_status": self.alarm_status,
            "operating_status": self.operating_status,
            "disconnected": self.disconnected,
            "observed_at": self.observed_at,
        }


@dataclass(frozen=True, slots=True)
class Stored:
    """Outcome of a report: whether it was newer, the largest sequence, and the state now."""

    accepted: bool
    sequence: int
    view: StatusView

    def data(self) -> dict[str, Any]:
        """Return the answer to the device: the sequence lets one that lost its count go on."""
        return self.view.data() | {"sequence": self.sequence}


class StatusStore:
    """Statuses, newest only.

    Args:
        database: the store.
        clock: wall and monotonic time.
        stale_after_ms: an older status is shown as unknown.
    """

    def __init__(self, database: Database, clock: EmsClock, stale_after_ms: int) -> None:
        self._db = database
        self._clock = clock
        self._stale_after_ms = stale_after_ms

    def adopt(self) -> None:
        """Carry ages over a restart by the wall clock; if that went backwards, nothing is fresh."""
        wall_ms, mono_ms = self._clock.wall_ms(), self._clock.monotonic_ms()
        with self._db.write() as connection:
            for row in connection.execute(select(status)).all():
                gone_ms = wall_ms - row.received_ms
                since_ms = gone_ms if gone_ms >= 0 else self._stale_after_ms + 1
                where = status.c.device_uid == row.device_uid
                values = {"received_mono_ms": mono_ms - since_ms}
                connection.execute(update(status).where(where).values(values))

    def put(self, device_uid: str, report: SyncBody) -> Stored:
        """Keep a report if its sequence is larger than the stored one."""
        row = self._row(device_uid, report)
        query = insert(status).values(row)
        newer = query.on_conflict_do_update(
            index_elements=[status.c.device_uid],
            set_=row,
            where=status.c.sequence < query.excluded.sequence,
        )
        with self._db.write() as connection:
            accepted = connection.execute(newer).rowcount == 1
            head = report.journal_head()
            if accepted and head is not None:
                wall_ms = self._clock.wall_ms()
                keep_head(connection, device_uid, head, report.sequence, wall_ms)
            where = status.c.device_uid == device_uid
            sequence = connection.scalar(select(status.c.sequence).where(where))
            return Stored(accepted, int(sequence or 0), self._view(connection, device_uid))

    def get(self, device_uid: str) -> StatusView:
        """Return what is known about a device now."""
        with self._db.read() as connection:
            return self._view(connection, device_uid)

    def all(self, scope: frozenset[str] | None) -> list[StatusView]:
        """Return the status of every device in scope, also of those that never reported."""
        query = select(devices.c.uid, status).join_from(devices, status, isouter=True)
        with self._db.read() as connection:
            rows = connection.execute(query).mappings().all()
        kept = [row for row in rows if scope is None or row["uid"] in scope]
        return [self.judge(row["uid"], row if row["device_uid"] else None) for row in kept]

    def details(self, device_uid: str) -> dict[str, Any]:
        """Return the status with alarms, telemetry and box as last reported; `stale` judges it."""
        with self._db.read() as connection:
            row = _row_of(connection, device_uid)
            view = self.judge(device_uid, row)
        names = ("alarms", "telemetry", "box")
        extra = {name: json.loads(row[name]) if row and row[name] else None for name in names}
        received = {"received_at": rfc3339(row["received_ms"]) if row else None}
        sequence = {"sequence": row["sequence"] if row else None}
        age = {"stale": view.stale, "age_ms": self.age_ms(row)}
        return view.data() | age | received | sequence | extra

    def age_ms(self, row: Mapping[Any, Any] | None) -> int | None:
        """Return the age of the newest observation [ms]; None: there is none, or it has no age."""
        if row is None or row["age_ms"] is None:
            return None
        silent_ms = self._clock.monotonic_ms() - int(row["received_mono_ms"])
        return max(0, silent_ms) + int(row["age_ms"])

    def answers(self, device_uid: str, asked_mono_ms: int) -> StatusView | None:
        """Return the status if it is newer than a request to sync, else None.

        A device that says "no link to the BMS" answers too: that is new, if no observation is.
        """
        with self._db.read() as connection:
            row = _row_of(connection, device_uid)
            if row is None or row["received_mono_ms"] < asked_mono_ms:
                return None
            newer = row["age_ms"] is not None and (
                row["received_mono_ms"] - row["age_ms"] >= asked_mono_ms
            )
            return self.judge(device_uid, row) if newer or row["disconnected"] else None

    def _row(self, device_uid: str, report: SyncBody) -> dict[str, Any]:
        wall_ms = self._clock.wall_ms()
        return {
            "device_uid": device_uid,
            "sequence": report.sequence,
            "operating_status": report.operating_status,
            "alarm_status": report.alarm_status,
            "disconnected": report.disconnected,
            "observed_ms": None if report.age_ms is None else max(0, wall_ms - report.age_ms),
            "received_ms": wall_ms,
            "received_mono_ms": self._clock.monotonic_ms(),
            "age_ms": report.age_ms,
            "alarms": dump([alarm.model_dump() for alarm in report.alarms or []]),
            "telemetry": dump(report.telemetry or {}),
            "box": dump(report.box or {}),
        }

    def _view(self, connection: Connection, device_uid: str) -> StatusView:
        return self.judge(device_uid, _row_of(connection, device_uid))

    def judge(self, device_uid: str, row: Mapping[Any, Any] | None) -> StatusView:
        """Return what a row of the table means now; None is a device that never reported."""
        if row is None:
            return StatusView(device_uid, None, None, 1, None, stale=True)
        observed_at = rfc3339(row["observed_ms"])
        silent_ms = self._clock.monotonic_ms() - row["received_mono_ms"]
        age_ms = silent_ms if row["disconnected"] else silent_ms + (row["age_ms"] or 0)
        if age_ms > self._stale_after_ms:
            return StatusView(device_uid, None, None, 1, observed_at, stale=True)
        known = None if row["disconnected"] else row["operating_status"]
        return StatusView(
            device_uid, known, row["alarm_status"], row["disconnected"], observed_at, stale=False
        )


def _row_of(connection: Connection, device_uid: str) -> Mapping[Any, Any] | None:
    query = select(status).where(status.c.device_uid == device_uid)
    return connection.execute(query).mappings().one_or_none()
