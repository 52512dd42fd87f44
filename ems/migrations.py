"""How a store of an older schema becomes the present one. Steps are only ever added.

New tables need no step: they are created as they are. A step runs in the transaction that opens the
store, whole or not at all.
"""

from sqlalchemy import Connection, update

from ems.schema import SCHEMA_VERSION, meta, metadata

#: What turns a store of this version into one of the next.
STEPS: dict[int, tuple[str, ...]] = {
    1: ("ALTER TABLE devices ADD COLUMN two_step BOOLEAN DEFAULT 0 NOT NULL",),
}


def migrate(connection: Connection, version: int) -> None:
    """Bring a store of an older version to `SCHEMA_VERSION`."""
    for step in range(version, SCHEMA_VERSION):
        for statement in STEPS[step]:
            connection.exec_driver_sql(statement)
    metadata.create_all(connection)
    where = meta.c.key == "schema_version"
    connection.execute(update(meta).where(where).values(value=str(SCHEMA_VERSION)))
