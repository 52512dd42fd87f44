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

#: Raised with every change of the tables. A newer file is refused, an older one is carried over
#: (database.py, migrations.py).
SCHEMA_VERSION = 2

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
    Column("two_step", Boolean, nullable=False, server_default=false()),  # close: arm, confirm
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

arms = Table(
    "arms",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("device_uid", Text, ForeignKey("devices.uid"), nullable=False),
    Column("key_id", Text, ForeignKey("api_keys.id"), nullable=False),
    Column("key_name", Text, nullable=False),
    Column("address", Text),
    Column("idempotency_key", Text),
    Column("request", Text, nullable=False),  # canonical JSON, compared with the confirmation
    Column("armed_ms", BigInteger, nullable=False),
    Column("deadline_mono_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),  # null: armed
    Column("end", Text),  # confirmed, cancelled or expired
    Column("end_detail", Text),
    Index("arms_open", "device_uid", "ended_ms"),
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

journal_heads = Table(
    "journal_heads",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("device_uid", Text, ForeignKey("devices.uid"), nullable=False),
    Column("seq", BigInteger, nullable=False),  # number of the newest row in the box's journal
    Column("hash", Text, nullable=False),  # hash of that row, which covers all rows before it
    Column("verdict", Text, nullable=False),  # first, grown, rewritten or shrunk
    Column("status_sequence", BigInteger, nullable=False),  # of the report that brought it
    Column("received_ms", BigInteger, nullable=False),
    Index("heads_by_device", "device_uid", "number"),
    Index("heads_by_seq", "device_uid", "seq"),
)
