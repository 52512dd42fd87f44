"""Two steps to a close: the first request arms (selects), the second one confirms (operates).

Rules (for devices with the option, command 2 only):
- Arming queues nothing. Only the same request by the same key, while it is armed, confirms.
- One arm per device. Any other control request for the device ends it: another command, another
  key, another parameter, a request to cancel, a refused request. Reading does not: one should look.
- A repeat under the Idempotency-Key of the arming request is a retry of it, never a confirmation.
- The time counts on the monotonic clock; a restart ends all arms.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from ems.clock import EmsClock, rfc3339
from ems.command_rules import CLOSE
from ems.command_views import Row
from ems.database import Database
from ems.errors import BadParameter
from ems.issue import Issue
from ems.schema import arms, devices


@dataclass(frozen=True, slots=True)
class Armed:
    """A close that waits for its confirmation. `left_ms`: how long it still does."""

    arm_id: str
    device_uid: str
    left_ms: int

    def data(self) -> dict[str, object]:
        """Return the answer's data."""
        return {
            "armed": True,
            "sent": False,
            "arm_id": self.arm_id,
            "device_uid": self.device_uid,
            "command": CLOSE,
            "confirm_within_ms": self.left_ms,
        }


class ArmStore:
    """Arms of all devices; also the record of those that were never confirmed.

    Args:
        database: the store.
        clock: wall and monotonic time.
        select_ms: how long an arm waits for its confirmation.
    """

    def __init__(self, database: Database, clock: EmsClock, select_ms: int) -> None:
        self._db = database
        self._clock = clock
        self._select_ms = select_ms

    def adopt(self) -> None:
        """End every arm of an earlier run."""
        with self._db.write() as connection:
            query = select(arms).where(arms.c.ended_ms.is_(None))
            for row in connection.execute(query).mappings().all():
                self._end(connection, row, "cancelled", "the platform was started again")

    def pass_or_arm(self, connection: Connection, issue: Issue) -> Armed | Row | None:
        """Judge a request for a command, inside its own transaction.

        Returns:
            None: the device or command needs no second step. A row: the arm that this request has
            confirmed. Armed: nothing may be queued.

        Raises:
            BadParameter: 409, it confirms an arm that is not there (any more); 422, the same
                Idempotency-Key with another body.
        """
        body = issue.body
        row = self._open(connection, body.device_uid)
        two_step = body.command == CLOSE and _is_two_step(connection, body.device_uid)
        if row is not None and two_step and _is_retry(row, issue):
            return self._armed(row)
        if row is not None and two_step and _confirms(row, issue):
            self._end(connection, row, "confirmed", issue.address or "")
            return row
        if body.arm_id is not None:
            raise BadParameter("arm_id: not armed, or not by this request; nothing was sent", 409)
        if row is not None:
            self._end(connection, row, "cancelled", f"another request, by {issue.who.name}")
        return self._arm(connection, issue) if two_step else None

    def disturb(self, connection: Connection, device_uid: str, why: str) -> None:
        """End a device's arm because of another request."""
        row = self._open(connection, device_uid)
        if row is not None:
            self._end(connection, row, "cancelled", why)

    def drop(self, device_uid: str, why: str) -> None:
        """End a device's arm in a transaction of its own: the request that did so was refused."""
        with self._db.write() as connection:
            self.disturb(connection, device_uid, why)

    def view(self, device_uid: str) -> dict[str, Any]:
        """Return whether a close needs two steps, and who has armed one."""
        now_ms = self._clock.monotonic_ms()
        with self._db.read() as connection:
            two_step = _is_two_step(connection, device_uid)
            row = _newest_open(connection, device_uid)
        if row is None or row["deadline_mono_ms"] <= now_ms:
            return {"two_step": two_step, "armed": None}
        left = {"confirm_within_ms": row["deadline_mono_ms"] - now_ms}
        armed = {"by": row["key_name"], "armed_at": rfc3339(row["armed_ms"])} | left
        return {"two_step": two_step, "armed": armed}

    def _open(self, connection: Connection, device_uid: str) -> Row | None:
        row = _newest_open(connection, device_uid)
        if row is not None and row["deadline_mono_ms"] <= self._clock.monotonic_ms():
            self._end(connection, row, "expired", "not confirmed in time")
            return None
        return row

    def _arm(self, connection: Connection, issue: Issue) -> Armed:
        deadline_ms = self._clock.monotonic_ms() + self._select_ms
        row = {
            "id": str(uuid.uuid4()),
            "device_uid": issue.body.device_uid,
            "key_id": issue.who.key_id,
            "key_name": issue.who.name,
            "address": issue.address,
            "idempotency_key": issue.idempotency_key,
            "request": issue.wish(),
            "armed_ms": self._clock.wall_ms(),
            "deadline_mono_ms": deadline_ms,
        }
        connection.execute(arms.insert().values(row))
        return self._armed(row)

    def _armed(self, row: Row) -> Armed:
        left_ms = row["deadline_mono_ms"] - self._clock.monotonic_ms()
        return Armed(row["id"], row["device_uid"], left_ms)

    def _end(self, connection: Connection, row: Row, end: str, detail: str) -> None:
        values = {"ended_ms": self._clock.wall_ms(), "end": end, "end_detail": detail}
        connection.execute(update(arms).where(arms.c.id == row["id"]).values(values))


def _newest_open(connection: Connection, device_uid: str) -> Row | None:
    query = select(arms).where(arms.c.device_uid == device_uid, arms.c.ended_ms.is_(None))
    return connection.execute(query).mappings().one_or_none()


def _is_two_step(connection: Connection, device_uid: str) -> bool:
    return bool(connection.scalar(select(devices.c.two_step).where(devices.c.uid == device_uid)))


def _is_retry(row: Row, issue: Issue) -> bool:
    mine = row["key_id"] == issue.who.key_id and issue.body.arm_id is None
    if not mine or issue.idempotency_key is None:
        return False
    if issue.idempotency_key != row["idempotency_key"]:
        return False
    if issue.wish() != row["request"]:
        raise BadParameter("Idempotency-Key: already used with another body", 422)
    return True


def _confirms(row: Row, issue: Issue) -> bool:
    same = row["key_id"] == issue.who.key_id and row["request"] == issue.wish()
    return same and issue.body.arm_id in {None, row["id"]}
