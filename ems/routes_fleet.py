"""The fleet, for operators: devices, kept reports, events. And the test of a key, for all."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from ems.answer_models import DevicePageAnswer, ReportPageAnswer, TestKeyAnswer
from ems.answers import ok
from ems.deps import AnyKey, OperatorKey, OperatorsDevice, PageOf, check_device
from ems.fleet_models import FleetPageAnswer
from ems.hub import Subscriber
from ems.openapi import answers
from ems.security import Principal
from ems.services import Services, services
from ems.strictjson import dump

router = APIRouter(tags=["fleet (operator key)"])

#: An idle event stream says something this often [s]; the key is checked again as well.
KEEP_ALIVE_S = 15.0


@router.get("/test-apikey", summary="Test a key", responses=answers(TestKeyAnswer, 401, 503))
async def check_apikey(_who: AnyKey) -> JSONResponse:
    """Say that the key is good, in the vendor's words: no envelope here."""
    return JSONResponse({"message": "ok"})


@router.get(
    "/device", summary="Devices in scope", responses=answers(DevicePageAnswer, 400, 401, 503)
)
def list_devices(request: Request, who: OperatorKey, page: PageOf) -> JSONResponse:
    """List devices in the vendor's shape; `heartbeat_time` is when the device last called."""
    app = services(request)
    total, found = app.registry.list_devices(who.devices, page.offset, page.limit)
    for item in found:
        item["heartbeat_time"] = app.heartbeat(item["uid"]) or item["heartbeat_time"]
    return ok({"total": total, "list": found})


@router.get(
    "/fleet",
    summary="One line for each device in scope (ours)",
    responses=answers(FleetPageAnswer, 400, 401, 503),
)
def list_fleet(request: Request, who: OperatorKey, page: PageOf) -> JSONResponse:
    """List devices with status, age, alarms, box facts and commands in progress."""
    app = services(request)
    total, found = app.fleet.page(who.devices, page.offset, page.limit)
    for item in found:
        item["heartbeat_time"] = app.heartbeat(item["device_uid"]) or item["heartbeat_time"]
    return ok({"total": total, "list": found})


@router.get(
    "/reports",
    summary="Kept reports of a device, newest first (ours)",
    responses=answers(ReportPageAnswer, 400, 401, 503),
)
def list_reports(request: Request, device_uid: OperatorsDevice, page: PageOf) -> JSONResponse:
    """List state changes and alarm edges that the device has handed in."""
    total, found = services(request).results.page(device_uid, page.offset, page.limit)
    return ok({"total": total, "list": found})


def _scope(
    request: Request,
    who: OperatorKey,
    device_uid: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = None,
) -> frozenset[str] | None:
    if device_uid is None:
        return who.devices
    check_device(request, who, device_uid)
    return frozenset({device_uid})


@router.get(
    "/events",
    summary="Event stream (ours)",
    responses=answers(None, 400, 401, 503)
    | {200: {"description": "server-sent events", "content": {"text/event-stream": {}}}},
    response_class=StreamingResponse,
)
async def events(
    request: Request, who: OperatorKey, scope: Annotated[frozenset[str] | None, Depends(_scope)]
) -> StreamingResponse:
    """Stream `status` events (what is known now, then changes) and `command` events.

    Nothing is replayed: after a reconnect read the state with the other calls.
    """
    services(request).hub.bind()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = _stream(request, who, scope)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _stream(
    request: Request, who: Principal, scope: frozenset[str] | None
) -> AsyncIterator[str]:
    app = services(request)
    with app.hub.subscribe(scope) as subscriber:
        yield ": BMS status and command events\n\n"
        for view in await run_in_threadpool(app.statuses.all, scope):
            yield _sse("status", view.data())
        while not subscriber.lost and not app.hub.closing:
            text = await _next(subscriber)
            if text is None:
                if not await run_in_threadpool(_still_valid, app, request, who):
                    return
                text = ": keep-alive\n\n"
            yield text


async def _next(subscriber: Subscriber) -> str | None:
    try:
        item = await asyncio.wait_for(subscriber.queue.get(), KEEP_ALIVE_S)
    except TimeoutError:
        return None
    return ": end\n\n" if item is None else _sse(*item)


def _still_valid(app: Services, request: Request, who: Principal) -> bool:
    return app.registry.identify(request.headers["x-api-key"]) == who


def _sse(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {dump(data)}\n\n"
