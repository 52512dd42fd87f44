"""For those who run the platform: health, counters, the interface page. No key, no device names."""

import hashlib
import re
from base64 import b64encode
from importlib import resources

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from ems.services import services

router = APIRouter(tags=["operation (no key)"])


@router.get("/healthz", summary="The process answers")
async def healthz() -> dict[str, str]:
    """Say that the event loop runs."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="The store answers",
    responses={503: {"description": "the store cannot be read, or the process stops"}},
)
def readyz(request: Request) -> JSONResponse:
    """Say whether commands can be taken."""
    app = services(request)
    if app.hub.closing:
        return JSONResponse({"status": "stopping"}, 503)
    app.registry.has_device("")
    return JSONResponse({"status": "ok"})


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
def metrics(request: Request) -> Response:
    """Write the counters in Prometheus' text form."""
    app = services(request)
    app.metrics.waiting.set(app.hub.waiting)
    app.metrics.streams.set(app.hub.streams)
    views = app.statuses.all(None)
    stale = sum(view.stale for view in views)
    app.metrics.devices.labels("stale").set(stale)
    app.metrics.devices.labels("fresh").set(len(views) - stale)
    return Response(generate_latest(app.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _docs_page() -> tuple[str, str]:
    page = resources.files("ems").joinpath("web/docs.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = (b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    policy = (
        f"default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src {allowed}"
    )
    return page, policy


_PAGE, _POLICY = _docs_page()


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """Show the interface without any outside resource: a site network has no internet."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})
