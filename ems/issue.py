"""A command as asked for: how long it lives, whether it is a repeat, whether there is room."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, select

from ems.command_rules import LIVES, MAX_UNFINISHED
from ems.errors import BadParameter
from ems.payloads import IssueBody
from ems.schema import commands
from ems.security import Principal
from ems.strictjson import dump


@dataclass(frozen=True, slots=True)
class Issue:
    """A command as asked for, and by whom."""

    body: IssueBody
    who: Principal
    address: str | None
    idempotency_key: str | None

    def canonical(self) -> str:
        """Return the request in one form, to compare repeats."""
        # Without the field where it is not given, as in rows of schema 1.
        return self.wish() if self.body.arm_id is None else dump(self.body.model_dump())

    def wish(self) -> str:
        """Return what is asked for in one form: what an arm and its confirmation have in common."""
        return dump(self.body.model_dump(exclude={"arm_id"}))


def life_ms(body: IssueBody) -> int:
    """Return the life of a command [ms]; a life above the cap is an error of the caller."""
    life = LIVES[body.command]
    if body.expires_in_ms is None:
        return life.default_ms
    if body.expires_in_ms > life.cap_ms:
        raise BadParameter(f"expires_in_ms: at most {life.cap_ms} for command {body.command}")
    return body.expires_in_ms


def repeat_of(connection: Connection, issue: Issue) -> str | None:
    """Return the id of the command that the same Idempotency-Key made, or None."""
    if issue.idempotency_key is None:
        return None
    query = select(commands.c.id, commands.c.request).where(
        commands.c.issued_key == issue.who.key_id,
        commands.c.idempotency_key == issue.idempotency_key,
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row.request != issue.canonical():
        raise BadParameter("Idempotency-Key: already used with another body", 422)
    return str(row.id)


def check_room(connection: Connection, device_uid: str) -> None:
    """Refuse (429) when too many commands of the device are unfinished."""
    if is_full(connection, device_uid):
        text = f"device_uid: {MAX_UNFINISHED} commands are unfinished, no more are taken"
        raise BadParameter(text, 429)


def is_full(connection: Connection, device_uid: str) -> bool:
    """Say whether as many commands of the device are unfinished as it may have."""
    mine = and_(commands.c.device_uid == device_uid, ~commands.c.finished)
    count = connection.scalar(select(func.count()).select_from(commands).where(mine)) or 0
    return count >= MAX_UNFINISHED
