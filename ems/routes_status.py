"""Status: read it, report it (device), ask for it now (operator)."""

import asyncio
from contextlib import suppress

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from ems.answer_models import DetailsAnswer, StatusAnswer, SyncAnswer
from ems.answers import ok
from ems.deps import KIB, AnyDevice, AnyKey, OperatorsDevice, PageOf, parse_body, read_body
from ems.errors import DeviceTimeout, NotOwner
from ems.fleet_models import HeadPageAnswer
from ems.hub import REASK_S, Channel, pause, until_gone
from ems.openapi import answers, body_of
from ems.payloads import SyncBody
from ems.services import Services, services
from ems.status_store import StatusView, Stored

router = APIRouter(tags=["status"])

_SYNCED = "BMS状态同步成功"


@router.get("/bms-control", summary="获取BMS状态", responses=answers(StatusAnswer, 400, 401, 503))
def get_status(request: Request, device_uid: OperatorsDevice) -> JSONResponse:
    """Answer what is known. Unknown is null with `disconnected` 1: never "powered down"."""
    return ok(services(request).statuses.get(device_uid).data(), "BMS状态获取成功")


@router.get(
    "/bms-control/details",
    summary="Status with alarms, telemetry and box as last reported (ours)",
    responses=answers(DetailsAnswer, 400, 401, 503),
)
def get_details(request: Request, device_uid: OperatorsDevice) -> JSONResponse:
    """Answer the whole last report; `stale` says whether it still counts."""
    app = services(request)
    doubts = {"journal_contradictions": app.heads.contradictions(device_uid)}
    data = app.statuses.details(device_uid) | app.arms.view(device_uid) | doubts
    return ok(data, "BMS状态获取成功")


@router.get(
    "/bms-control/journal-heads",
    summary="Heads of the box's journal as they were reported, newest first (ours)",
    responses=answers(HeadPageAnswer, 400, 401, 503),
)
def list_heads(request: Request, device_uid: OperatorsDevice, page: PageOf) -> JSONResponse:
    """List what the box said of its journal. A contradiction means that its history was changed."""
    return ok(services(request).heads.page(device_uid, page.offset, page.limit))


@router.put(
    "/bms-control/sync",
    summary="同步BMS状态",
    openapi_extra=body_of(SyncBody, required=False),
    responses=answers(SyncAnswer, 400, 401, 503),
)
async def sync(request: Request, who: AnyKey, device_uid: AnyDevice) -> JSONResponse:
    """Report a status (device key, body), or ask the device for a new one (operator key, no body).

    The operator's call waits for a status newer than the request; without one the answer is 140002.
    """
    raw = await read_body(request, 64 * KIB)
    app = services(request)
    app.hub.bind()
    if who.role == "device":
        if not raw:
            raise NotOwner("a device reports its status: a body is needed")
        stored = await _report(app, device_uid, await parse_body(request, SyncBody, raw))
        return ok(stored.data(), _SYNCED)
    if raw:
        raise NotOwner("only the device itself may report: send no body")
    view = await _ask(request, app, device_uid)
    return ok(view.data(), _SYNCED)


async def _report(app: Services, device_uid: str, body: SyncBody) -> Stored:
    stored = await run_in_threadpool(app.statuses.put, device_uid, body)
    app.metrics.statuses.labels("accepted" if stored.accepted else "older").inc()
    app.hub.publish_status(stored.view.data())
    channel = app.hub.channel(device_uid)
    channel.wake()
    if channel.sync_wanted:  # perhaps not new enough: ask again until the operator has an answer
        asyncio.get_running_loop().call_later(REASK_S, _ask_again, channel)
    return stored


def _ask_again(channel: Channel) -> None:
    if channel.sync_wanted:
        channel.ask_sync_again()


async def _ask(request: Request, app: Services, device_uid: str) -> StatusView:
    asked_ms = app.clock.monotonic_ms()
    channel = app.hub.channel(device_uid)
    with channel.listen() as event, channel.sync_request(), suppress(TimeoutError):
        async with until_gone(request) as gone, asyncio.timeout(app.settings.sync_wait_s):
            while not gone.done() and not app.hub.closing:
                event.clear()
                view = await run_in_threadpool(app.statuses.answers, device_uid, asked_ms)
                if view is not None:
                    return view
                await pause(event, gone, app.settings.sync_wait_s)
    raise DeviceTimeout(f"device_uid: no newer status within {app.settings.sync_wait_s:g} s")
