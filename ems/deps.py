"""What every call goes through, in this order: key, role, form of the parameters, scope, body.

Dependencies that read the store are `def` (a worker thread each); the others cost no thread change.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, NamedTuple

from fastapi import Depends, Query, Security
from fastapi.security import APIKeyHeader
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from ems.errors import ApiError, BadParameter, NoDevice, NotOwner, TooMany, Unauthorized
from ems.payloads import Model, read_model
from ems.rates import Limits
from ems.security import Principal, is_device_uid
from ems.services import Services, services

#: Longest time for a request body to arrive [s].
BODY_S = 10.0
#: How much of a too large body is read and dropped, so that the answer gets through [bytes].
DRAIN_BYTES = 1_048_576
#: A body larger than this is parsed in a worker thread [bytes].
_INLINE_BYTES = 16_384

KIB = 1024
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="emsk_<id>_<secret>")


def principal(request: Request, text: Annotated[str | None, Security(_HEADER)]) -> Principal:
    """Return who calls, or refuse: 401, and 429 for who calls too often."""
    app = services(request)
    given = request.headers.getlist("x-api-key")
    if not text:
        raise _refused(request, app, Unauthorized("API Key未提供"))
    who = app.registry.identify(text) if len(given) == 1 else None
    if who is None:
        raise _refused(request, app, Unauthorized())
    limits = app.settings.limits
    per_s = limits.operator_per_s if who.role == "operator" else _device_limit(who, limits)
    wait_s = app.rates.wait_s(who.key_id, per_s, app.clock.monotonic_ms())
    if wait_s:
        app.metrics.throttled.labels("requests").inc()
        raise TooMany(f"more than {per_s} requests a second with this key", wait_s)
    return who


def _device_limit(who: Principal, limits: Limits) -> int:
    """A key of several devices may call as often as as many keys of one."""
    return limits.device_per_s * max(1, len(who.devices or ()))


def _refused(request: Request, app: Services, error: Unauthorized) -> ApiError:
    """Count a wrong key; too many of one address are told to wait."""
    app.metrics.refused_keys.inc()
    address = request.client.host if request.client else ""
    wait_s = app.refusals.wait_s(address, app.clock.monotonic_ms())
    if not wait_s:
        return error
    app.metrics.throttled.labels("keys").inc()
    return TooMany(f"too many wrong keys from {address}", wait_s)


AnyKey = Annotated[Principal, Depends(principal)]


async def _operator(who: AnyKey) -> Principal:
    if who.role != "operator":
        raise NotOwner("this call needs an operator key")
    return who


async def _device(who: AnyKey) -> Principal:
    if who.role != "device":
        raise NotOwner("this call needs a device key")
    return who


OperatorKey = Annotated[Principal, Depends(_operator)]
DeviceKey = Annotated[Principal, Depends(_device)]


def check_device(request: Request, who: Principal, device_uid: str, *, lives: bool = True) -> None:
    """Refuse a device that does not exist or is not the caller's, with one answer for both.

    Args:
        request: the call.
        who: the caller.
        device_uid: the device.
        lives: a device's own call says that it lives; not so if a person asks with its key.
    """
    app = services(request)
    if not who.covers(device_uid) or (
        who.devices is None and not app.registry.has_device(device_uid)
    ):
        raise NoDevice(device_uid)
    if who.role == "device" and lives:
        app.heard(device_uid)


_Uid = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="设备唯一ID")]


def _one_uid(request: Request, device_uid: str) -> str:
    if len(request.query_params.getlist("device_uid")) != 1:
        raise BadParameter("device_uid: given more than once")
    if not is_device_uid(device_uid):
        raise BadParameter("device_uid: malformed")
    return device_uid


def _any_device(request: Request, who: AnyKey, device_uid: _Uid) -> str:
    uid = _one_uid(request, device_uid)
    check_device(request, who, uid)
    return uid


def _operators_device(request: Request, who: OperatorKey, device_uid: _Uid) -> str:
    return _any_device(request, who, device_uid)


def _own_device(request: Request, who: DeviceKey, device_uid: _Uid) -> str:
    return _any_device(request, who, device_uid)


#: `device_uid` of the query, checked: for any key, for an operator's key, for a device's key.
AnyDevice = Annotated[str, Depends(_any_device)]
OperatorsDevice = Annotated[str, Depends(_operators_device)]
OwnDevice = Annotated[str, Depends(_own_device)]

_Page = Annotated[int, Query(ge=1, le=1_000_000)]
_Size = Annotated[int, Query(alias="page-size", ge=1, le=200)]


class Page(NamedTuple):
    """One page of a list, for the store."""

    offset: int
    limit: int


async def _page(page: _Page = 1, page_size: _Size = 20) -> Page:
    return Page((page - 1) * page_size, page_size)


PageOf = Annotated[Page, Depends(_page)]


class BodyTooLarge(BadParameter):
    """More bytes than the limit: the answer closes the connection."""


async def read_body(request: Request, limit: int) -> bytes:
    """Read a body of at most `limit` bytes.

    Raises:
        BodyTooLarge: more than `limit` bytes, or not complete after `BODY_S`.
        BadParameter: the client closed the connection in the middle.
    """
    try:
        async with asyncio.timeout(BODY_S):
            return await _read(request, limit)
    except TimeoutError:
        raise BodyTooLarge(f"body: not complete after {BODY_S:g} s") from None
    except ClientDisconnect:
        raise BadParameter("body: the client left before it was complete") from None


async def _read(request: Request, limit: int) -> bytes:
    kept = bytearray()
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen <= limit:
            kept += chunk
        if seen > limit + DRAIN_BYTES:
            break
    if seen > limit:
        raise BodyTooLarge(f"body: more than {limit} bytes")
    return bytes(kept)


def _check_type(request: Request) -> None:
    given = request.headers.getlist("content-type")
    media, _, parameter = (given[0] if len(given) == 1 else "").partition(";")
    plain = parameter.strip().lower().replace('"', "") in {"", "charset=utf-8"}
    if media.strip().lower() != "application/json" or not plain:
        raise BadParameter("Content-Type: must be application/json")


async def parse_body(request: Request, model: type[Model], raw: bytes) -> Model:
    """Check the content type, parse strictly, and check against the model."""
    _check_type(request)
    if len(raw) <= _INLINE_BYTES:
        return read_model(model, raw)
    return await run_in_threadpool(read_model, model, raw)


def json_body(model: type[Model], limit: int) -> Callable[[Request], Awaitable[Model]]:
    """Return a dependency that reads a strict JSON body of at most `limit` bytes."""

    async def dependency(request: Request) -> Model:
        return await parse_body(request, model, await read_body(request, limit))

    return dependency
