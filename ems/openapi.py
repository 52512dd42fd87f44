"""What the OpenAPI document says: shapes of answers, errors, and bodies that we read ourselves."""

from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field, JsonValue
from pydantic.json_schema import models_json_schema

from ems.payloads import DeviceState, IssueBody, ReportsBody, ResultBody, SyncBody

_REF = "#/components/schemas/{model}"
_WHY: dict[int, str] = {
    400: "100001 参数格式错误 (`data` names the field) · 100007 该记录未找到 · 140002 设备超时 · "
    "140003 不是设备的拥有者，操作权限不足 · 140008 该设备ID对应的ems设备未找到",
    401: "code 0: API Key未提供, or API Key无效",
    409: "100001: contradicts what is already known",
    422: "100001: Idempotency-Key already used with another body",
    429: "100001: 100 commands are unfinished",
    503: "the store did not do it; nothing was done",
}


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


class DetailsData(StatusData):
    """The last report, whole."""

    stale: bool
    received_at: str | None
    sequence: int | None
    alarms: list[dict[str, JsonValue]] | None
    telemetry: dict[str, JsonValue] | None
    box: dict[str, JsonValue] | None


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

    state: Literal["queued", "delivered", "cancel_requested"] | DeviceState
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


class StatusAnswer(Success):
    """A status."""

    data: StatusData


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


_MODELS: tuple[type[BaseModel], ...] = (
    IssueAnswer,
    StatusAnswer,
    DetailsAnswer,
    CommandAnswer,
    CommandLifeAnswer,
    CommandPageAnswer,
    PendingAnswer,
    ResultAnswer,
    ReportsAnswer,
    ReportPageAnswer,
    DevicePageAnswer,
    TestKeyAnswer,
    ErrorAnswer,
    IssueBody,
    SyncBody,
    ResultBody,
    ReportsBody,
)


def answers(success: type[BaseModel] | None, *errors: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a call: the success model and the error statuses."""
    found: dict[int | str, dict[str, Any]] = {
        status: _described(_WHY[status], ErrorAnswer) for status in errors
    }
    return found if success is None else {200: _described("成功", success), **found}


def _described(text: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"description": text, "content": _content(model)}


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}


def body_of(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Describe a body that we read ourselves."""
    return {"requestBody": {"required": required, "content": _content(model)}}


def install(app: FastAPI) -> None:
    """Complete the application's OpenAPI document: our models in, the framework's 422 out."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=app.description,
                    routes=app.routes,
                )
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the framework's documented way


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    for path in document["paths"].values():
        for call in path.values():
            found = call.get("responses", {})
            if "HTTPValidationError" in str(found.get("422", "")):
                del found["422"]
    models = [(model, "validation") for model in _MODELS]
    _, schemas = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]  # a literal in a tuple
    components = document.setdefault("components", {})
    kept = components.setdefault("schemas", {})
    kept.pop("HTTPValidationError", None)
    kept.pop("ValidationError", None)
    kept.update(schemas["$defs"])
    return document
