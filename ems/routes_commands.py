"""Commands, for operators: issue, look, cancel."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path
from starlette.requests import Request
from starlette.responses import JSONResponse

from ems.answer_models import CommandAnswer, CommandLifeAnswer, CommandPageAnswer, IssueAnswer
from ems.answers import ok
from ems.deps import KIB, OperatorKey, OperatorsDevice, PageOf, check_device, json_body
from ems.errors import BadParameter
from ems.issue import Issue
from ems.openapi import answers, body_of
from ems.payloads import IssueBody
from ems.services import services

router = APIRouter(tags=["commands (operator key)"])

_IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="ours: 1 to 128 printable ASCII characters"),
]
_CommandId = Annotated[str, Path(max_length=64)]


@router.post(
    "/bms-control",
    summary="下发BMS控制",
    openapi_extra=body_of(IssueBody),
    responses=answers(IssueAnswer, 400, 401, 409, 422, 428, 429, 503),
)
def issue(
    request: Request,
    who: OperatorKey,
    body: Annotated[IssueBody, Depends(json_body(IssueBody, 16 * KIB))],
    idempotency_key: _IdempotencyKey = None,
) -> JSONResponse:
    """Queue a command. Success means queued, not done: follow it by its id (`data`).

    On a device with two steps a close is only armed by the first request (428, nothing is sent);
    the same request again confirms it.
    """
    app = services(request)
    check_device(request, who, body.device_uid)
    _check_idempotency_key(request, idempotency_key)
    address = request.client.host if request.client else None
    command_id, new = app.commands.issue(Issue(body, who, address, idempotency_key))
    if new:
        app.hub.wake(body.device_uid)
    return ok(command_id, "BMS控制下发成功")


def _check_idempotency_key(request: Request, text: str | None) -> None:
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise BadParameter("Idempotency-Key: given more than once")
    if text is not None and not (0 < len(text) <= 128 and text.isascii() and text.isprintable()):  # noqa: PLR2004  # documented
        raise BadParameter("Idempotency-Key: 1 to 128 printable ASCII characters")


@router.get(
    "/bms-control/commands",
    summary="Commands of a device, newest first (ours)",
    responses=answers(CommandPageAnswer, 400, 401, 503),
)
def list_commands(request: Request, device_uid: OperatorsDevice, page: PageOf) -> JSONResponse:
    """List what was asked of a device and how it ended."""
    total, found = services(request).commands.page(device_uid, page.offset, page.limit)
    return ok({"total": total, "list": found})


@router.get(
    "/bms-control/commands/{command_id}",
    summary="The whole life of a command (ours)",
    responses=answers(CommandLifeAnswer, 400, 401, 503),
)
def get_command(request: Request, who: OperatorKey, command_id: _CommandId) -> JSONResponse:
    """Show a command with every event, its reason and its evidence."""
    return ok(services(request).commands.get(command_id, who))


@router.post(
    "/bms-control/commands/{command_id}/cancel",
    summary="Cancel a command (ours)",
    responses=answers(CommandAnswer, 400, 401, 409, 503),
)
def cancel_command(request: Request, who: OperatorKey, command_id: _CommandId) -> JSONResponse:
    """Cancel at once what is still queued; ask the device to drop what it has not begun to send."""
    app = services(request)
    view = app.commands.cancel(command_id, who)
    app.hub.wake(view["device_uid"])
    return ok(view, "取消已受理")
