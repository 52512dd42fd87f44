"""Bodies that the platform accepts. Strict: no coercion, no unknown fields, all sizes limited."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from ems.errors import BadParameter, BodyError
from ems.strictjson import dump, parse

#: Largest integer that the store can keep.
MAX_INT = 2**63 - 1
#: Largest age that is still a number: 100 years [ms].
MAX_AGE_MS = 100 * 366 * 86_400_000
#: Largest `box` object, as JSON [characters].
MAX_BOX_CHARS = 8192

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _is_rfc3339(text: str) -> str:
    if not _RFC3339.fullmatch(text):
        raise ValueError("not an RFC 3339 time with a zone")
    datetime.fromisoformat(text.upper())
    return text


Uid = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="设备唯一ID")]
Time = Annotated[str, AfterValidator(_is_rfc3339), Field(max_length=40, description="RFC 3339")]
Count = Annotated[int, Field(ge=0, le=MAX_INT)]
Number = int | float


class Body(BaseModel):
    """Base of all bodies: strict types, no unknown fields, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Model = TypeVar("Model", bound=Body)


class IssueBody(Body):
    """POST /bms-control. The last three fields are ours."""

    device_uid: Uid
    command: Annotated[int, Field(ge=1, le=3, description="1-故障复位 2-接触器闭合 3-接触器断开")]
    expires_in_ms: Annotated[int, Field(gt=0, le=MAX_INT)] | None = None
    reason: Annotated[str, Field(max_length=200)] | None = None
    arm_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class Alarm(Body):
    """One active alarm."""

    key: Annotated[str, Field(min_length=1, max_length=128)]
    level: Annotated[int, Field(ge=1, le=3)]
    label_zh: Annotated[str, Field(max_length=200)]
    label_en: Annotated[str, Field(max_length=200)]
    since: Time | None = None


Telemetry = dict[
    Annotated[str, Field(min_length=1, max_length=128)],
    Number | str | list[Number | None] | None,
]


class JournalHead(Body):
    """`box.journal_head`: number and hash of the newest row of the box's journal."""

    seq: Count
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{0,128}$")]


class SyncBody(Body):
    """PUT /bms-control/sync of a device: what it sees now."""

    operating_status: Annotated[int, Field(ge=1, le=4)] | None = None
    alarm_status: Count | None
    disconnected: Annotated[int, Field(ge=0, le=1)]
    sequence: Count
    age_ms: Annotated[int, Field(ge=0, le=MAX_AGE_MS)] | None
    alarms: Annotated[list[Alarm], Field(max_length=1000)] | None = None
    telemetry: Annotated[Telemetry, Field(max_length=1000)] | None = None
    box: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _silence_is_not_a_status(self) -> Self:
        if self.disconnected == 1 and self.operating_status is not None:
            raise ValueError("operating_status: must be null while disconnected is 1")
        if self.box is not None and len(dump(self.box)) > MAX_BOX_CHARS:
            raise ValueError(f"box: more than {MAX_BOX_CHARS} characters")
        self.journal_head()
        return self

    def journal_head(self) -> JournalHead | None:
        """Return `box.journal_head`, None if the box does not send one."""
        given = (self.box or {}).get("journal_head")
        try:
            return None if given is None else JournalHead.model_validate(given)
        except ValidationError:
            raise ValueError("box.journal_head: not {seq, hash in hex}") from None


DeviceState = Literal[
    "accepted",
    "gated",
    "sending",
    "sent",
    "acknowledged",
    "succeeded",
    "held",
    "reverted",
    "rejected",
    "expired",
    "failed",
    "timed_out",
    "cancelled",
    "unknown",
]


class ResultBody(Body):
    """POST /bms-control/result: one step in the life of a command, told by the device."""

    device_uid: Uid
    id: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[int, Field(ge=0, le=MAX_INT)]
    state: DeviceState
    reason: Annotated[str, Field(max_length=200)] | None = None
    detail: Annotated[str, Field(max_length=4000)] | None = None
    evidence: dict[str, JsonValue] | None = None
    at: Time | None = None


class Report(Body):
    """One kept state change or alarm edge."""

    sequence: Count
    kind: Annotated[str, Field(min_length=1, max_length=64)]
    at: Time | None = None
    body: JsonValue = None


class ReportsBody(Body):
    """POST /bms-control/reports: a batch of kept reports."""

    device_uid: Uid
    reports: Annotated[list[Report], Field(max_length=200)]


def read_model(model: type[Model], raw: bytes) -> Model:
    """Parse and check a body.

    Raises:
        BadParameter: `data` names the fields, or says what is wrong with the body.
    """
    try:
        value = parse(raw)
    except BodyError as error:
        raise BadParameter(str(error)) from error
    if not isinstance(value, dict):
        raise BadParameter("body: not a JSON object")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise BadParameter(problems(error.errors(include_url=False, include_input=False))) from None


def problems(errors: object) -> str:
    """Write pydantic's findings as ``field: what``, at most five of them."""
    found: list[str] = []
    for item in errors if isinstance(errors, list) else []:
        where = ".".join(str(part) for part in item["loc"] if part not in {"query", "path", "body"})
        what = str(item["msg"]).removeprefix("Value error, ")
        text = f"{where[:100]}: {what}" if where else what
        found.append(text[:200].encode("utf-8", "replace").decode())
    return "; ".join(dict.fromkeys(found[:5]))
