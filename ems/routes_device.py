"""The device's own calls: poll for commands, tell results, hand in kept reports."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from ems.answer_models import PendingAnswer, ReportsAnswer, ResultAnswer
from ems.answers import ok
from ems.command_views import Row, pending_view
from ems.deps import KIB, DeviceKey, OwnDevice, check_device, json_body
from ems.hub import Channel, pause, until_gone
from ems.openapi import answers, body_of
from ems.payloads import ReportsBody, ResultBody
from ems.services import services

router = APIRouter(tags=["device channel (device key, ours)"])

#: Advice to a device that did not wait, or whose poll was replaced by a newer one [ms].
POLL_AFTER_MS = 1000


@router.get(
    "/bms-control/pending",
    summary="Long poll for commands",
    responses=answers(PendingAnswer, 400, 401, 503),
)
async def pending(
    request: Request, device_uid: OwnDevice, wait: Annotated[int, Query(ge=0, le=30)] = 0
) -> JSONResponse:
    """Answer at once when there is something new, else after `wait` seconds.

    New is a queued command, a request to cancel, a request to sync. Commands in progress are
    listed, but do not end the wait.
    """
    app = services(request)
    app.hub.bind()
    channel = app.hub.channel(device_uid)
    rows = await _wait_for_news(request, device_uid, channel, wait)
    wanted = rows is not None and channel.sync_wanted
    if wanted:
        channel.sync_was_told()
    now_ms = app.clock.monotonic_ms()
    data = {
        "poll_after_ms": 0 if wait and rows is not None else POLL_AFTER_MS,
        "sync_requested": wanted,
        "commands": [pending_view(row, now_ms) for row in rows or ()],
    }
    return ok(data)


async def _wait_for_news(
    request: Request, device_uid: str, channel: Channel, wait_s: int
) -> Sequence[Row] | None:
    """Return the rows to answer with; None: a newer poll took over, the client left, or we stop."""
    app = services(request)
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_s
    ticket = object()
    channel.newest_poll = ticket
    channel.wake()
    with channel.listen() as event:
        async with until_gone(request) as gone:
            while not gone.done() and not app.hub.closing and channel.newest_poll is ticket:
                event.clear()
                taken = await run_in_threadpool(app.commands.take, device_uid)
                if taken.is_new:
                    app.hub.poke()
                left_s = end - loop.time()
                if taken.is_new or channel.sync_is_news() or left_s <= 0:
                    return taken.rows
                await pause(event, gone, left_s)
    return None


@router.post(
    "/bms-control/result",
    summary="One step in the life of a command",
    openapi_extra=body_of(ResultBody),
    responses=answers(ResultAnswer, 400, 401, 409, 503),
)
def result(
    request: Request,
    who: DeviceKey,
    body: Annotated[ResultBody, Depends(json_body(ResultBody, 64 * KIB))],
) -> JSONResponse:
    """Keep what the device says about a command. Idempotent by (id, state)."""
    app = services(request)
    check_device(request, who, body.device_uid)
    try:
        told = app.results.tell(body)
    finally:
        app.hub.poke()
    names = ("id", "state", "version", "cancel_requested")
    return ok({name: told.command[name] for name in names} | {"repeat": told.repeat})


@router.post(
    "/bms-control/reports",
    summary="Kept state changes and alarm edges",
    openapi_extra=body_of(ReportsBody),
    responses=answers(ReportsAnswer, 400, 401, 503),
)
def reports(
    request: Request,
    who: DeviceKey,
    body: Annotated[ReportsBody, Depends(json_body(ReportsBody, 1024 * KIB))],
) -> JSONResponse:
    """Keep a batch, each (device_uid, sequence) exactly once.

    A batch of no reports only asks whether the key may report for the device.
    """
    app = services(request)
    check_device(request, who, body.device_uid, lives=bool(body.reports))
    outcome = app.results.add_reports(body)
    app.metrics.reports.labels("stored").inc(outcome["stored"] or 0)
    app.metrics.reports.labels("duplicate").inc(outcome["duplicates"] or 0)
    return ok(outcome)
