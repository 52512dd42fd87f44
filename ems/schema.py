"""Tables of the platform's store. Times: `_ms` = wall clock UTC, `_mono_ms` = monotonic."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)

#: Raised with every change of the tables. A newer file is refused (database.py).
SCHEMA_VERSION = 1

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("code", Text),
    Column("license_code", Text),
    Column("location", Text),
    Column("affiliation", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("heartbeat_ms", BigInteger),  # last time the device itself called
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("all_devices", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)

api_key_devices = Table(
    "api_key_devices",
    metadata,
    Column("key_id", Text, ForeignKey("api_keys.id"), primary_key=True),
    Column("device_uid", Text, ForeignKey("devices.uid"), primary_key=True),
)

status = Table(
    "status",
    metadata,
    Column("device_uid", Text, ForeignKey("devices.uid"), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("operating_status", Integer),
    Column("alarm_status", BigInteger),
    Column("disconnected", Integer, nullable=False),
    Column("observed_ms", BigInteger),  # null: the device could not say how old it is
    Column("received_ms", BigInteger, nullable=False),
    Column("received_mono_ms", BigInteger, nullable=False),
    Column("age_ms", BigInteger),  # at the time of receipt
    Column("alarms", Text),
    Column("telemetry", Text),
    Column("box", Text),
)

commands = Table(
    "commands",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("device_uid", Text, ForeignKey("devices.uid"), nullable=False),
    Column("command", Integer, nullable=False),
    Column("issue_reason", Text),
    Column("issued_by", Text, nullable=False),
    Column("issued_key", Text, ForeignKey("api_keys.id"), nullable=False),
    Column("issued_from", Text),
    Column("issued_ms", BigInteger, nullable=False),
    Column("idempotency_key", Text),
    Column("request", Text, nullable=False),  # canonical JSON, compared on a repeat
    Column("life_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("deadline_mono_ms", BigInteger, nullable=False),
    Column("settle_mono_ms", BigInteger, nullable=False),  # no final word by then: timed_out
    Column("boot_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("provisional", Boolean, nullable=False, server_default=false()),
    Column("finished", Boolean, nullable=False, server_default=false()),
    Column("version", Integer, nullable=False),
    Column("delivered_version", Integer, nullable=False),  # 0: never handed out
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("updated_ms", BigInteger, nullable=False),
    UniqueConstraint("issued_key", "idempotency_key"),
    Index("commands_by_device", "device_uid", "number"),
    Index("commands_unfinished", "finished", "device_uid"),
)

command_events = Table(
    "command_events",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("command_id", Text, ForeignKey("commands.id"), nullable=False),
    Column("origin", Text, nullable=False),  # platform, operator or device
    Column("state", Text, nullable=False),
    Column("refused", Boolean, nullable=False),  # said too late to count, kept as evidence
    Column("version", Integer),
    Column("reason", Text),
    Column("detail", Text),
    Column("evidence", Text),
    Column("device_at", Text),
    Column("received_ms", BigInteger, nullable=False),
    Index("events_by_command", "command_id", "number"),
)

reports = Table(
    "reports",
    metadata,
    Column("device_uid", Text, ForeignKey("devices.uid"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("at", Text),
    Column("body", Text, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
)
