"""What the OpenAPI document says: shapes of answers, errors, and bodies that we read ourselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ems.answer_models import (
    ArmedAnswer,
    CommandAnswer,
    CommandLifeAnswer,
    CommandPageAnswer,
    DetailsAnswer,
    DevicePageAnswer,
    ErrorAnswer,
    IssueAnswer,
    PendingAnswer,
    ReportPageAnswer,
    ReportsAnswer,
    ResultAnswer,
    StatusAnswer,
    SyncAnswer,
    TestKeyAnswer,
)
from ems.fleet_models import FleetPageAnswer, HeadPageAnswer
from ems.payloads import IssueBody, ReportsBody, ResultBody, SyncBody

_REF = "#/components/schemas/{model}"
_WHY: dict[int, str] = {
    400: "100001 参数格式错误 (`data` names the field) · 100007 该记录未找到 · 140002 设备超时 · "
    "140003 不是设备的拥有者，操作权限不足 · 140008 该设备ID对应的ems设备未找到",
    401: "code 0: API Key未提供, or API Key无效",
    409: "100001: contradicts what is already known",
    422: "100001: Idempotency-Key already used with another body",
    428: "428: the device wants two steps for a close; this was the first, nothing was sent",
    429: "429: too many requests, see Retry-After · 100001: 100 commands are unfinished",
    503: "the store did not do it; nothing was done",
}


_MODELS: tuple[type[BaseModel], ...] = (
    IssueAnswer,
    StatusAnswer,
    SyncAnswer,
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
    ArmedAnswer,
    FleetPageAnswer,
    HeadPageAnswer,
    IssueBody,
    SyncBody,
    ResultBody,
    ReportsBody,
)


_SHAPES: dict[int, type[BaseModel]] = {428: ArmedAnswer}


def answers(success: type[BaseModel] | None, *errors: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a call: the success model and the error statuses (429: always)."""
    found: dict[int | str, dict[str, Any]] = {
        status: _described(_WHY[status], _SHAPES.get(status, ErrorAnswer))
        for status in {*errors, 429}
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
