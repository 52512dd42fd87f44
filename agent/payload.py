"""The wire: JSON of the platform interface to values and back. Pure.

Strict on the way in: what is not exactly as agreed is refused, never guessed. A bad command is
refused alone; the others of the same answer live. Strict on the way out: NaN cannot be written,
unknown is null. Wire times are milliseconds or RFC 3339 UTC, values here are seconds or datetime.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from agent.errors import CloudNonsense
from agent.strict_json import read_json, rounded
from bms_can.commands import Command, CommandState, Reason, deadline_s
from bms_can.profile import CommandCode
from bms_can.status import BmsStatus

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_MAX_TEXT = 256
_MAX_MS = 86_400_000

TelemetryValue = float | int | None | Sequence[float | int | None]


class PendingCommand(NamedTuple):
    """A command as the platform hands it out.

    Attributes:
        expires_in_s: rest of its life when the platform answered [s].
        version: the platform's version, to be sent back with each result.
        cancel_requested: the platform wants it withdrawn if no frame went out.
    """

    id: str
    code: CommandCode
    expires_in_s: float
    issued_by: str
    version: int
    cancel_requested: bool

    def to_command(self, device_uid: str, asked_at_s: float, boot_id: str) -> Command:
        """Return the command with its deadline; `asked_at_s` is the start of the request [s]."""
        end_s = deadline_s(self.code, self.expires_in_s, asked_at_s)
        return Command(self.id, self.code, device_uid, self.issued_by, self.version, end_s, boot_id)


class RefusedItem(NamedTuple):
    """An item of the list that is no valid command. `id` is "" where not even that can be read."""

    id: str
    version: int | None
    why: str


class Pending(NamedTuple):
    """Answer of GET /bms-control/pending.

    Attributes:
        asked_at_s: when the request was started [s]; the life of its commands counts from here.
        poll_after_s: the next poll should come no earlier [s].
        sync_requested: an operator asks for a status now.
        commands: valid ones, in the platform's order.
        refused: the others.
    """

    asked_at_s: float
    poll_after_s: float
    sync_requested: bool
    commands: tuple[PendingCommand, ...]
    refused: tuple[RefusedItem, ...]


class Report(NamedTuple):
    """A kept state change or alarm edge, numbered for ever.

    Attributes:
        kind: what `body` is, such as "status" or "alarm".
        at: wall time of the event, RFC 3339.
    """

    sequence: int
    kind: str
    at: str
    body: Mapping[str, object]


def rfc3339(moment: datetime) -> str:
    """Return an aware time as UTC with milliseconds and Z."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone has no place on the wire")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Envelope(NamedTuple):
    """{"code", "message", "data"}; `code` None where the answer has none."""

    code: int | None
    message: str
    data: object


def read_envelope(body: bytes) -> Envelope:
    """Read the frame that every answer of the platform has.

    Raises:
        CloudNonsense: it is something else.
    """
    value = read_json(body)
    if not isinstance(value, dict) or type(value.get("message")) is not str:
        raise CloudNonsense("answer has no envelope")
    code = value.get("code")
    if code is not None and type(code) is not int:
        raise CloudNonsense("answer has a code that is no integer")
    return Envelope(code, value["message"], value.get("data"))


def read_pending(data: object, asked_at_s: float) -> Pending:
    """Read the `data` of GET /bms-control/pending; the request was started at `asked_at_s` [s].

    Raises:
        CloudNonsense: the answer as a whole is not as agreed. Bad items are in `refused` instead.
    """
    if not isinstance(data, dict) or not isinstance(data.get("commands"), list):
        raise CloudNonsense("pending: no list of commands")
    poll_after_ms = data.get("poll_after_ms", 0)
    sync_requested = data.get("sync_requested", False)
    if not _is_ms(poll_after_ms) or type(sync_requested) is not bool:
        raise CloudNonsense("pending: poll_after_ms or sync_requested is malformed")
    commands: dict[str, PendingCommand] = {}
    refused: list[RefusedItem] = []
    for item in data["commands"]:
        read = _read_command(item)
        if isinstance(read, PendingCommand) and read.id in commands:
            read = RefusedItem("", None, f"id {read.id} stands twice in one answer")
        if isinstance(read, PendingCommand):
            commands[read.id] = read
        else:
            refused.append(read)
    found = tuple(commands.values()), tuple(refused)
    return Pending(asked_at_s, poll_after_ms / 1000, sync_requested, *found)


def _is_ms(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MAX_MS


def _read_command(item: object) -> PendingCommand | RefusedItem:
    if not isinstance(item, dict):
        return RefusedItem("", None, "is no object")
    identity, version = item.get("id"), item.get("version")
    if type(identity) is not str or not _ID.fullmatch(identity):
        return RefusedItem("", None, "id is missing or malformed")
    if type(version) is not int or version < 0:
        return RefusedItem(identity, None, "version is missing or malformed")
    why = _why_not(item)
    if why:
        return RefusedItem(identity, version, why)
    return PendingCommand(
        id=identity,
        code=CommandCode(item["command"]),
        expires_in_s=item["expires_in_ms"] / 1000,
        issued_by=item.get("issued_by") or "",
        version=version,
        cancel_requested=item.get("cancel_requested", False),
    )


def _why_not(item: Mapping[str, Any]) -> str:
    """Return what is wrong with a command that has an id and a version; "" if nothing."""
    code, issued_by = item.get("command"), item.get("issued_by") or ""
    if type(code) is not int or code not in list(CommandCode):
        return "command is not 1, 2 or 3"
    if not _is_ms(item.get("expires_in_ms")):
        return "expires_in_ms is missing or malformed"
    if type(issued_by) is not str or len(issued_by) > _MAX_TEXT:
        return "issued_by is malformed"
    if type(item.get("cancel_requested", False)) is not bool:
        return "cancel_requested is malformed"
    return ""


class SyncAck(NamedTuple):
    """Answer of PUT /bms-control/sync.

    Attributes:
        sequence: the newest number that the platform has; None where it does not say.
    """

    sequence: int | None


def read_sync(data: object, device_uid: str) -> SyncAck:
    """Read the `data` of PUT /bms-control/sync.

    Raises:
        CloudNonsense: it is not about this device.
    """
    if not isinstance(data, dict) or data.get("device_uid") != device_uid:
        raise CloudNonsense("sync: the answer is not about this device")
    sequence = data.get("sequence")
    return SyncAck(sequence if type(sequence) is int else None)


def read_accepted_through(data: object) -> int | None:
    """Return the newest number among the reports that the platform has; None if it does not say."""
    value = data.get("accepted_through") if isinstance(data, dict) else None
    return value if type(value) is int else None


def sync_body(
    status: BmsStatus,
    sequence: int,
    *,
    since: Mapping[str, datetime | None],
    telemetry: Mapping[str, TelemetryValue],
    box: Mapping[str, object],
) -> dict[str, object]:
    """Return the body of PUT /bms-control/sync.

    Args:
        status: what is known of the battery; disconnected means no operating_status at all.
        sequence: number of this report; the platform never lets an older one win.
        since: since when each active alarm is on, None where the time is unknown.
        telemetry: platform field name to value; None while unknown.
        box: facts about the box itself (version, temperature, counters).
    """
    known = status.operating is not None and not status.disconnected
    return {
        "operating_status": int(status.operating) if known and status.operating else None,
        "alarm_status": status.alarm_count,
        "disconnected": int(status.disconnected),
        "sequence": sequence,
        "age_ms": None if status.age_s is None else round(status.age_s * 1000),
        "alarms": [
            {
                "key": alarm.key,
                "level": alarm.level,
                "label_zh": alarm.label_zh,
                "label_en": alarm.label_en,
                "since": None if (moment := since.get(alarm.key)) is None else rfc3339(moment),
            }
            for alarm in status.alarms
        ],
        "telemetry": {name: rounded(value) for name, value in telemetry.items()},
        "box": rounded(box),
    }


def result_body(  # noqa: PLR0913 - the parts of one wire object, all by name
    *,
    device_uid: str,
    command_id: str,
    version: int,
    state: CommandState,
    reason: Reason | None,
    detail: str,
    evidence: Mapping[str, object],
    at: str,
) -> dict[str, object]:
    """Return the body of POST /bms-control/result; `at` is RFC 3339 wall time."""
    return {
        "device_uid": device_uid,
        "id": command_id,
        "version": version,
        "state": state.value,
        "reason": None if reason is None else reason.value,
        "detail": detail,
        "evidence": rounded(evidence),
        "at": at,
    }


def reports_body(device_uid: str, reports: Sequence[Report]) -> dict[str, object]:
    """Return the body of POST /bms-control/reports."""
    return {"device_uid": device_uid, "reports": [report._asdict() for report in reports]}
