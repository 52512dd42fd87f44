"""Build the ASGI application: stores, routes, errors, housekeeping."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ems import (
    answers,
    openapi,
    routes_commands,
    routes_device,
    routes_fleet,
    routes_ops,
    routes_status,
    routes_web,
)
from ems.clock import EmsClock, SystemClock
from ems.command_feed import events_after, last_number
from ems.database import Database
from ems.errors import ApiError, StoreError
from ems.metrics import Metrics
from ems.services import Services, Settings

PREFIX = "/wad/ems/v1/api"
#: Events are published this long after they are stored: the device is served first [s].
FEED_AFTER_S = 0.02
_LOG = logging.getLogger("ems")
_ABOUT = (
    "下发BMS控制, 获取BMS状态, 同步BMS状态 as the vendor documents them, and our additions. "
    "A successful POST means queued, not done. Unknown is null."
)


def create_app(
    database: Database, clock: EmsClock | None = None, settings: Settings | None = None
) -> FastAPI:
    """Return the application on an open database; commands are carried over a restart here."""
    app = Services(database, clock or SystemClock(), settings or Settings())
    app.arms.adopt()
    app.commands.adopt()
    app.statuses.adopt()

    @asynccontextmanager
    async def lifespan(_api: FastAPI) -> AsyncIterator[None]:
        app.hub.bind()
        tasks = [asyncio.create_task(_keep_house(app)), asyncio.create_task(_feed(app))]
        try:
            yield
        finally:
            app.hub.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(StoreError):
                await run_in_threadpool(app.save_heartbeats)

    api = FastAPI(
        title="EMS platform: BMS control",
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    api.state.services = app
    _install(api, app.metrics)
    return api


def _install(api: FastAPI, metrics: Metrics) -> None:
    for module in (routes_commands, routes_status, routes_device, routes_fleet):
        api.include_router(module.router, prefix=PREFIX)
    api.include_router(routes_ops.router)
    api.include_router(routes_web.router)
    api.add_exception_handler(ApiError, answers.on_api_error)
    api.add_exception_handler(RequestValidationError, answers.on_bad_parameters)
    api.add_exception_handler(HTTPException, answers.on_http_error)
    api.add_exception_handler(StoreError, answers.on_store_error)
    api.add_exception_handler(Exception, answers.on_unknown_error)
    api.add_middleware(Frame, metrics=metrics)
    openapi.install(api)


async def _keep_house(app: Services) -> None:
    """End what is overdue and notice who fell silent, each tick; write heartbeats more rarely."""
    next_save_s = 0.0
    while True:
        try:
            await run_in_threadpool(app.commands.settle)
            for view in await run_in_threadpool(app.statuses.all, None):
                app.hub.publish_status(view.data())
            app.hub.poke()
            if time.monotonic() >= next_save_s:
                next_save_s = time.monotonic() + app.settings.save_s
                await run_in_threadpool(app.commands.tick_wall)
                await run_in_threadpool(app.save_heartbeats)
        except StoreError as error:
            _LOG.error("housekeeping: %s", error)
        await asyncio.sleep(app.settings.tick_s)


async def _feed(app: Services) -> None:
    """Publish the events of commands in the order of the store, whoever wrote them."""
    number = await run_in_threadpool(last_number, app.database)
    while True:
        await app.hub.poked.wait()
        await asyncio.sleep(FEED_AFTER_S)
        app.hub.poked.clear()
        try:
            while found := await run_in_threadpool(events_after, app.database, number):
                for item in found:
                    number = item.number
                    app.hub.publish("command", item.view)
                    labels = (str(item.command), item.view["state"], item.view["origin"])
                    app.metrics.command_events.labels(*labels).inc()
        except StoreError as error:
            _LOG.error("event feed: %s", error)


class Frame:
    """Around every answer: headers that keep it out of caches, and the counters."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        status = 500

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        try:
            await self._app(scope, receive, send_framed)
        finally:
            route = getattr(scope.get("route"), "path", "unknown path")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began_s)


_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
