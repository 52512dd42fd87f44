"""Answers: the vendor's envelope, and how each error looks in it."""

import logging
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match

from ems.deps import BodyTooLarge
from ems.errors import ApiError, BadParameter, NoRecord, TooMany, Unauthorized
from ems.payloads import problems

_LOG = logging.getLogger("ems")


def ok(data: object, message: str = "成功") -> JSONResponse:
    """Answer with success."""
    return JSONResponse({"code": 0, "message": message, "data": data})


def refusal(error: ApiError) -> JSONResponse:
    """Answer with an error; the vendor's 401 has no `data`."""
    content: dict[str, Any] = {"code": error.code, "message": error.message}
    if not isinstance(error, Unauthorized):
        content["data"] = error.data
    headers = {"Connection": "close"} if isinstance(error, BodyTooLarge) else {}
    if isinstance(error, TooMany):
        headers["Retry-After"] = str(error.retry_after_s)
    return JSONResponse(content, error.status, headers)


async def on_api_error(_request: Request, error: Exception) -> JSONResponse:
    """Turn our own refusals into answers."""
    if not isinstance(error, ApiError):
        raise error
    return refusal(error)


async def on_bad_parameters(_request: Request, error: Exception) -> JSONResponse:
    """Turn the framework's findings in query and path into 100001."""
    if not isinstance(error, RequestValidationError):
        raise error
    return refusal(BadParameter(problems(list(error.errors()))))


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Put the framework's 404 and 405 into the envelope."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:  # noqa: PLR2004  # HTTP
        return refusal(NoRecord("no such path", 404))
    answer = refusal(BadParameter(str(error.detail), error.status_code))
    answer.headers.update(error.headers or {})
    if error.status_code == 405:  # noqa: PLR2004  # HTTP
        answer.headers["Allow"] = ", ".join(_methods(request))
    return answer


def _methods(request: Request) -> list[str]:
    """Return the methods of a path; the framework names only those of its first route."""

    def serves(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in ("GET", "HEAD", "POST", "PUT") if serves(method)]


async def on_store_error(_request: Request, error: Exception) -> JSONResponse:
    """The database did not do it: say so, the caller may repeat."""
    _LOG.error("%s", error)
    return JSONResponse({"code": 503, "message": "存储不可用", "data": "nothing was done"}, 503)


async def on_unknown_error(_request: Request, _error: Exception) -> JSONResponse:
    """Answer to a bug of ours. The error goes on to the log."""
    return JSONResponse({"code": 500, "message": "服务器内部错误", "data": None}, 500)
