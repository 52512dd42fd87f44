"""The application in this process, with a stepped clock: housekeeping, and what faults do."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request

from ems import deps, routes_fleet
from ems.app import PREFIX, create_app
from ems.commands_store import CommandStore
from ems.database import Database
from ems.security import Principal
from ems.services import Services, Settings
from tests.ems.helpers import FakeClock, issue, report

Work = Callable[[], Awaitable[None]]


@pytest.fixture
def key(platform: Services) -> str:
    """Give the text of an operator key."""
    return platform.registry.create_key("operator", "ops", []).text


@pytest.fixture
def api(database: Database, clock: FakeClock) -> FastAPI:
    """Give an application whose housekeeping runs every 5 ms."""
    return create_app(database, clock, Settings(tick_s=0.005, save_s=0.0))


def client(api: FastAPI, key: str) -> httpx.AsyncClient:
    """Return a client of the application; its faults become answers."""
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    headers = {"X-API-Key": key}
    return httpx.AsyncClient(transport=transport, base_url=f"http://x{PREFIX}", headers=headers)


def run(work: Work) -> None:
    """Run a coroutine function, for 10 s at most."""

    async def limited() -> None:
        with anyio.fail_after(10):
            await work()

    anyio.run(limited)


def test_a_store_that_fails_is_503(api: FastAPI, database: Database, key: str) -> None:
    """When the database does not do it, the answer says that nothing was done."""
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE command_events")

    async def work() -> None:
        async with client(api, key) as http:
            answer = await http.post("/bms-control", json={"device_uid": "A", "command": 2})
            assert (answer.status_code, answer.json()["code"]) == (503, 503)
            listed = await http.get("/bms-control/commands", params={"device_uid": "A"})
            assert listed.json()["data"]["total"] == 0

    run(work)


def test_a_fault_of_ours_is_500_in_the_envelope(
    api: FastAPI, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown error is never code 0 and shows nothing of the inside."""

    def broken(*_args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(CommandStore, "page", broken)

    async def work() -> None:
        async with client(api, key) as http:
            answer = await http.get("/bms-control/commands", params={"device_uid": "A"})
            assert answer.status_code == 500
            assert answer.json() == {"code": 500, "message": "服务器内部错误", "data": None}

    run(work)


def test_a_body_that_does_not_end_is_cut_off(
    api: FastAPI, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that is not there in time is refused, and the connection is closed."""
    monkeypatch.setattr(deps, "BODY_S", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await anyio.sleep(5)
        yield b"}"

    async def work() -> None:
        async with client(api, key) as http:
            headers = {"Content-Type": "application/json"}
            answer = await http.post("/bms-control", content=slow(), headers=headers)
            assert (answer.status_code, answer.headers["connection"]) == (400, "close")
            assert answer.json()["data"] == "body: not complete after 0.05 s"

    run(work)


def test_housekeeping_ends_commands_and_tells_silence(
    api: FastAPI, operator: Principal, clock: FakeClock
) -> None:
    """Without any request an overdue command ends and a silent device turns unknown."""
    app: Services = api.state.services

    async def work() -> None:
        async with api.router.lifespan_context(api):
            app.statuses.put("A", report(1))
            with app.hub.subscribe(frozenset({"A"})) as subscriber:
                await until(subscriber, "status", operating_status=2)
                app.commands.issue(issue(operator, 2))
                await until(subscriber, "command", state="queued")
                clock.advance_s(31)
                await until(subscriber, "command", state="expired")
            assert app.statuses.get("A").stale
            assert app.commands.page("A", 0, 1)[1][0]["state"] == "expired"

    run(work)


def test_silence_is_an_event(api: FastAPI, clock: FakeClock) -> None:
    """A device that falls silent is told to the streams as unknown."""
    app: Services = api.state.services

    async def work() -> None:
        async with api.router.lifespan_context(api):
            app.statuses.put("A", report(1))
            app.heard("A")
            with app.hub.subscribe(frozenset({"A"})) as subscriber:
                await until(subscriber, "status", operating_status=2)
                clock.advance_s(31)
                await until(subscriber, "status", operating_status=None)
        assert app.registry.list_devices(None, 0, 1)[1][0]["heartbeat_time"] is not None

    run(work)


async def until(subscriber: Any, kind: str, **wanted: object) -> None:  # noqa: ANN401  # the hub's own
    """Read events until one of this kind says this."""
    while True:
        item = await subscriber.queue.get()
        assert item is not None
        if item[0] == kind and wanted.items() <= item[1].items():
            return


def test_housekeeping_outlives_a_failing_store(
    api: FastAPI, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that fails for a while is logged; the work goes on when it is back."""
    app: Services = api.state.services

    def rename(old: str, new: str) -> None:
        with database.write() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")

    async def work() -> None:
        async with api.router.lifespan_context(api):
            rename("commands", "gone")
            while "housekeeping" not in caplog.text:  # noqa: ASYNC110  # a log line is no event
                await anyio.sleep(0.005)
            rename("gone", "commands")
            app.statuses.put("A", report(1))
            with app.hub.subscribe(None) as subscriber:
                await until(subscriber, "status", operating_status=2)

    run(work)


def test_a_revoked_key_loses_its_stream(
    api: FastAPI, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open event stream ends soon after its key is revoked."""
    monkeypatch.setattr(routes_fleet, "KEEP_ALIVE_S", 0.02)
    app: Services = api.state.services
    who = app.registry.identify(key)
    assert who is not None
    scope = {"type": "http", "app": api, "headers": [(b"x-api-key", key.encode())]}
    stream = routes_fleet._stream(Request(scope), who, None)

    async def work() -> None:
        seen = [await anext(stream) for _ in range(4)]
        assert seen[1].startswith("event: status")
        assert seen[3] == ": keep-alive\n\n"
        app.registry.revoke_key(who.key_id)
        assert [text async for text in stream] == []

    run(partial(work))


def test_not_ready_while_stopping(api: FastAPI, key: str) -> None:
    """A load balancer learns that the process is about to go."""
    api.state.services.hub.close()

    async def work() -> None:
        async with client(api, key) as http:
            assert (await http.get("http://x/readyz")).status_code == 503
            assert (await http.get("http://x/healthz")).status_code == 200

    run(work)
