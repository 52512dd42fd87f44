"""Events of all commands in the order of the store, for the event stream and the counters."""

from typing import Any, NamedTuple

from sqlalchemy import func, select

from ems.command_views import event_view
from ems.database import Database
from ems.schema import command_events, commands

#: Events read at once.
BATCH = 500


class FedEvent(NamedTuple):
    """One event: its place in the store, the device, the command number, and how it looks."""

    number: int
    device_uid: str
    command: int
    view: dict[str, Any]


def last_number(database: Database) -> int:
    """Return the place of the newest event, 0 if there is none."""
    with database.read() as connection:
        return connection.scalar(select(func.max(command_events.c.number))) or 0


def events_after(database: Database, number: int) -> list[FedEvent]:
    """Return the events behind a place in the store, oldest first, `BATCH` at most."""
    query = (
        select(command_events, commands.c.device_uid, commands.c.command)
        .join_from(command_events, commands)
        .where(command_events.c.number > number)
        .order_by(command_events.c.number)
        .limit(BATCH)
    )
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [
        FedEvent(
            row["number"],
            row["device_uid"],
            row["command"],
            {"id": row["command_id"], "device_uid": row["device_uid"], "command": row["command"]}
            | event_view(row),
        )
        for row in rows
    ]
