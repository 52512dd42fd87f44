"""The operator's page: static files of this package, and a policy that lets nothing else in."""

from importlib import resources

from fastapi import APIRouter
from starlette.responses import Response

from ems.errors import NoRecord

router = APIRouter(include_in_schema=False)

#: Scripts and styles only from here, no inline ones, no frames, no forms, no markup from strings.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_FOLDER = resources.files("ems").joinpath("web")
_PAGE = _FOLDER.joinpath("fleet.html").read_bytes()
#: Everything that is served, read once: a name outside of this table does not exist.
_FILES = {
    item.name: item.read_bytes() for item in _FOLDER.iterdir() if item.name.endswith(tuple(_TYPES))
}


@router.get("/")
async def page() -> Response:
    """Serve the operator's page."""
    return Response(_PAGE, media_type="text/html; charset=utf-8", headers=_HEADERS)


@router.get("/web/{name}")
async def file(name: str) -> Response:
    """Serve a script or a style sheet of the page."""
    if name not in _FILES:
        raise NoRecord("no such path", 404)
    kind = _TYPES["." + name.rpartition(".")[2]]
    return Response(_FILES[name], media_type=kind, headers=_HEADERS)
