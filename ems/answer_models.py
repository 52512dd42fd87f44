"""Shapes of the answers for the OpenAPI document. Tests hold real answers against them."""

from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from ems.payloads import DeviceState


class Success(BaseModel):
    """The envelope of success."""

    code: Literal[0]
    message: str


class StatusData(BaseModel):
    """Status of a device. The last two fields are ours."""

    device_uid: str
    alarm_status: int | None = Field(description="number of active alarms; null: unknown")
    operating_status: Literal[1, 2, 3, 4] | None = Field(
        description="1-下电 2-静置 3-充电 4-放电; null: unknown"
    )
    disconnected: Literal[0, 1]
    observed_at: str | None = Field(description="RFC 3339 UTC")


class SyncData(StatusData):
    """Status after a sync; the device also gets the largest sequence that is held."""

    sequence: int = Field(default=0, description="in answers to a device only")


class DetailsData(StatusData):
    """The last report, whole."""

    stale: bool
    age_ms: int | None = Field(description="age of the newest observation; null: none, or no age")
    received_at: str | None
    sequence: int | None
    alarms: list[dict[str, JsonValue]] | None
    telemetry: dict[str, JsonValue] | None
    box: dict[str, JsonValue] | None
    two_step: bool = Field(description="a close must be armed, then confirmed")
    journal_contradictions: int
    armed: "ArmView | None" = Field(description="the close that waits for its confirmation")


class ArmView(BaseModel):
    """Who has armed a close."""

    by: str
    armed_at: str
    confirm_within_ms: int


class CommandData(BaseModel):
    """A command."""

    id: str
    device_uid: str
    command: Literal[1, 2, 3]
    state: Literal["queued", "delivered"] | DeviceState
    provisional: bool = Field(description="the platform's guess for want of news")
    finished: bool
    version: int
    cancel_requested: bool
    issued_by: str
    issued_key: str
    issued_from: str | None
    issued_at: str
    expires_at: str
    reason: str | None
    updated_at: str


class EventData(BaseModel):
    """One event in a command's life."""

    state: Literal["armed", "queued", "delivered", "cancel_requested"] | DeviceState
    origin: Literal["operator", "platform", "device"]
    refused: bool
    version: int | None
    reason: str | None
    detail: str | None
    evidence: dict[str, JsonValue] | None
    at: str | None = Field(description="the device's time")
    received_at: str


class CommandLifeData(CommandData):
    """A command with its life."""

    events: list[EventData]


class PendingCommand(BaseModel):
    """A command as the device gets it."""

    id: str
    command: Literal[1, 2, 3]
    expires_in_ms: int = Field(ge=0, description="counted from the moment of the answer")
    issued_by: str
    version: int
    cancel_requested: bool


class PendingData(BaseModel):
    """Answer to a poll."""

    poll_after_ms: int
    sync_requested: bool
    commands: list[PendingCommand]


class ResultData(BaseModel):
    """What the platform holds after a result."""

    id: str
    state: DeviceState
    version: int
    cancel_requested: bool
    repeat: bool


class ReportsData(BaseModel):
    """Outcome of a batch."""

    stored: int
    duplicates: int
    accepted_through: int | None = Field(description="largest sequence held for the device")


class ReportData(BaseModel):
    """One kept report."""

    sequence: int
    kind: str
    at: str | None
    body: JsonValue
    received_at: str


class DeviceData(BaseModel):
    """A device, in the vendor's shape."""

    uid: str
    license_code: str | None
    name: str
    code: str | None
    location: str | None
    affiliation: str | None
    heartbeat_time: str | None


class CommandPage(BaseModel):
    """A page of commands."""

    total: int
    list: list[CommandData]


class ReportPage(BaseModel):
    """A page of reports."""

    total: int
    list: list[ReportData]


class DevicePage(BaseModel):
    """A page of devices."""

    total: int
    list: list[DeviceData]


class IssueAnswer(Success):
    """`data` is the command's id."""

    data: str


class ArmedData(BaseModel):
    """The first of two steps is done; nothing was queued or sent."""

    armed: Literal[True]
    sent: Literal[False]
    arm_id: str
    device_uid: str
    command: Literal[2]
    confirm_within_ms: int


class ArmedAnswer(BaseModel):
    """A close that waits for its confirmation: no success, HTTP 428."""

    code: Literal[428]
    message: str
    data: ArmedData


class StatusAnswer(Success):
    """A status."""

    data: StatusData


class SyncAnswer(Success):
    """A status after a sync."""

    data: SyncData


class DetailsAnswer(Success):
    """A whole report."""

    data: DetailsData


class CommandAnswer(Success):
    """A command."""

    data: CommandData


class CommandLifeAnswer(Success):
    """A command and its life."""

    data: CommandLifeData


class CommandPageAnswer(Success):
    """Commands."""

    data: CommandPage


class PendingAnswer(Success):
    """What the device must know."""

    data: PendingData


class ResultAnswer(Success):
    """A result is kept."""

    data: ResultData


class ReportsAnswer(Success):
    """A batch is kept."""

    data: ReportsData


class ReportPageAnswer(Success):
    """Reports."""

    data: ReportPage


class DevicePageAnswer(Success):
    """Devices."""

    data: DevicePage


class TestKeyAnswer(BaseModel):
    """The vendor's answer, without the envelope."""

    __test__ = False  # not a test, whatever pytest thinks of the name
    message: Literal["ok"]


class ErrorAnswer(BaseModel):
    """Any answer but success. 401 has no `data`."""

    code: int
    message: str
    data: str | None = None
