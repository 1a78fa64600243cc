"""The addresses of the page and what they answer; every error is one line of JSON."""

import asyncio
import json
import logging
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from mtn_core import __version__
from mtn_core.errors import ConfigError, DataError, MtnError
from mtn_core.gallery.crops import parse_time
from mtn_core.gallery.records import Filter, camera_name
from mtn_core.serve.guard import Access, Guard, TooLargeError
from mtn_core.serve.service import MOST_CANDIDATES, SearchService, UnknownSightingError

_LOG = logging.getLogger(__name__)
_BODY_SECONDS = 60.0  # for an upload to come
_MOST_WAITING = 8  # searches at a time; further ones are told to come again
_SIDES = range(32, 1025)
_STATIC = {
    "page.css": ("mtn_core.report", "text/css"),
    "serve.css": ("mtn_core.serve", "text/css"),
    "serve.js": ("mtn_core.serve", "text/javascript"),
}
_LISTS = ("camera", "not_camera", "color", "type")
_KNOWN = {*_LISTS, "after", "before", "image_camera", "same_camera", "top", "sizes", "name"}
_MOST_VALUES, _LONGEST_VALUE = 500, 200


def create_app(service: SearchService, access: Access) -> ASGIApp:
    """The page as an ASGI application.

    Args:
        service: What it asks.
        access: Who may.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, title="mtn serve")
    waiting = asyncio.Semaphore(_MOST_WAITING)

    @app.get("/", response_class=HTMLResponse)
    def index() -> str:
        return _render_page(service.describe())

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in _STATIC:
            raise HTTPException(404, "no such file")
        return Response(_read_static(name), media_type=_STATIC[name][1])

    @app.get("/api/gallery")
    def gallery() -> dict[str, Any]:
        return service.describe()

    @app.post("/api/search")
    async def search(request: Request) -> dict[str, Any]:
        options = _read_options(request)
        if waiting.locked():
            raise HTTPException(503, "others are searching; try again in a moment")
        async with waiting:
            body = await asyncio.wait_for(request.body(), _BODY_SECONDS)
            return await run_in_threadpool(_search, service, body, options)

    @app.get("/api/sightings/{sighting_id}/around")
    def around(sighting_id: str) -> dict[str, Any]:
        return service.around(sighting_id)

    @app.get("/crops/{sighting_id}")
    def crop(sighting_id: str, side: str = "220") -> Response:
        pixels = int(side) if side.isascii() and side.isdigit() and len(side) < 6 else 0
        if pixels not in _SIDES:
            raise ConfigError(f"side must be {_SIDES[0]} to {_SIDES[-1]}")
        return Response(
            service.picture(sighting_id, pixels),
            media_type="image/jpeg",
            headers={"Cache-Control": "private, max-age=300"},
        )

    _explain_errors(app)
    return Guard(app, access)


def _search(service: SearchService, body: bytes, options: dict[str, Any]) -> dict[str, Any]:
    uploads = service.decoder.decode(body, options["sizes"] or [len(body)], options["names"])
    return service.search(
        uploads,
        options["which"],
        camera=options["camera"],
        same_camera=options["same_camera"],
        top=options["top"],
    )


def _read_options(request: Request) -> dict[str, Any]:
    """What the address says; a misspelt filter is an error, not a search without it."""
    query = request.query_params
    unknown = sorted(set(query) - _KNOWN)
    if unknown:
        raise ConfigError(f"no option {unknown[0][:40]!r}; known are {', '.join(sorted(_KNOWN))}")
    given = query.multi_items()
    if len(given) > _MOST_VALUES or any(len(v) > _LONGEST_VALUE for _, v in given):
        raise ConfigError(
            f"at most {_MOST_VALUES} options of {_LONGEST_VALUE} characters; got more"
        )
    values: dict[str, Any] = {key: tuple(filter(None, query.getlist(key))) for key in _LISTS}
    values |= {key: _read_time(key, query.get(key, "")) for key in ("after", "before")}
    same_camera = query.get("same_camera", "0")
    if same_camera not in ("0", "1"):
        raise ConfigError(f"same_camera must be 0 or 1; got {same_camera!r}")
    sizes = query.get("sizes", "")
    return {
        "which": Filter(**values),
        "camera": camera_name(query.get("image_camera")),
        "same_camera": same_camera == "1",
        "top": _whole("top", query.get("top", "40"), MOST_CANDIDATES),
        "sizes": [_whole("sizes", part, 1 << 40) for part in sizes.split(",")] if sizes else [],
        "names": query.getlist("name"),
    }


def _read_time(key: str, text: str) -> Any:
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def _whole(key: str, text: str, most: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 15 else 0
    if not 1 <= value <= most:
        raise ConfigError(f"{key} must be whole numbers from 1 to {most}; got {text[:40]!r}")
    return value


def _explain_errors(app: FastAPI) -> None:
    def answer(status: int, error: object) -> JSONResponse:
        return JSONResponse({"error": " ".join(str(error).split())}, status)

    def on(kind: type[Exception], status: int) -> None:
        app.add_exception_handler(kind, lambda request, error: answer(status, error))

    on(TooLargeError, 413)
    on(UnknownSightingError, 404)
    for kind in (ConfigError, DataError):
        on(kind, 400)
    app.add_exception_handler(
        TimeoutError, lambda request, error: answer(408, "the upload took too long")
    )

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return answer(error.status_code, error.detail)

    async def failed(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, MtnError):  # others go on to the server, which logs them
            _LOG.error("%s %s: %s", request.method, request.url.path, error)
        return answer(500, "the search failed; the server's log says why")

    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(MtnError, failed)
    app.add_exception_handler(Exception, failed)


def _render_page(gallery: dict[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("mtn_core.serve", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("index.html.j2")
    return template.render(gallery=gallery, facts=json.dumps(gallery), version=__version__)


def _read_static(name: str) -> bytes:
    package, _ = _STATIC[name]
    return files(package).joinpath("templates", name).read_bytes()
