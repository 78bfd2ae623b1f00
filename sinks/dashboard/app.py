"""The interface for programs, and the page's files. Imported only where the dashboard is used: it needs FastAPI."""

from __future__ import annotations

import asyncio
import time
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as HttpError

from pipeline.core.control import RunControl
from pipeline.core.errors import TracklightError
from sinks.dashboard.board import Board
from sinks.dashboard.live import LiveFeed
from sinks.dashboard.motion_jpeg import MotionJpeg
from sinks.dashboard.picture_feed import PictureFeed, next_picture
from sinks.dashboard.schema import (
    AddedSource,
    AddSource,
    ErrorAnswer,
    EventAnswer,
    HistoryAnswer,
    SourceAnswer,
    TrackAnswer,
    one_line,
)
from sinks.dashboard.views import Views, ViewSize

API = "/api/v1"
_SNAPSHOT_S = 5.0
_PAGE = {
    "index.html": "text/html; charset=utf-8",
    "dashboard.css": "text/css; charset=utf-8",
    **dict.fromkeys(
        ("main.js", "api.js", "wall.js", "camera.js", "chart.js", "pictures.js", "sources.js", "words.js"),
        "text/javascript; charset=utf-8",
    ),
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "the address cannot work"},
    404: {"model": ErrorAnswer, "description": "there is none of that name"},
    422: {"model": ErrorAnswer, "description": "the request cannot be read"},
}


def make_app(control: RunControl, board: Board, views: Views, live: LiveFeed, pictures: PictureFeed) -> FastAPI:
    """The application, without the checks of who may use it."""
    app = FastAPI(
        title="Tracklight",
        version="1",
        summary="A run as it goes on: sources, counts, events and pictures.",
        openapi_url=f"{API}/openapi.json",
        # Those pages load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    router = APIRouter(prefix=API, responses=_ERRORS)
    _add_sources(router, control, board)
    _add_watching(router, control, board)
    _add_pictures(router, control, board, views)
    app.include_router(router)

    @app.websocket(f"{API}/live")
    async def live_feed(socket: WebSocket) -> None:
        await live.serve(socket)

    @app.websocket(f"{API}/views")
    async def picture_feed(socket: WebSocket) -> None:
        await pictures.serve(socket)

    _add_page(app)
    _add_errors(app)
    return app


def _add_sources(router: APIRouter, control: RunControl, board: Board) -> None:
    @router.get("/sources")
    async def sources() -> list[SourceAnswer]:
        """How every source is doing right now."""
        return [SourceAnswer.of(status) for status in control.sources()]

    # What may touch the disk or wait for a lock runs in a thread, which the event loop joins at its end.
    @router.post("/sources", status_code=201)
    async def add(wanted: AddSource) -> AddedSource:
        """Take another source in, as `--source` would."""
        # Those that left while nobody watched.
        board.keep([status.source_id for status in control.sources()])
        return AddedSource(id=await asyncio.to_thread(control.add, wanted.address))

    @router.delete("/sources/{source_id}", status_code=204)
    async def remove(source_id: str) -> None:
        """Let a source go; what was read of it is still analysed."""
        _check(control, source_id)
        await asyncio.to_thread(control.remove, source_id)

    @router.post("/sources/{source_id}/restart", status_code=204)
    async def restart(source_id: str) -> None:
        """Open a source anew."""
        _check(control, source_id)
        await asyncio.to_thread(control.restart, source_id)

    @router.get("/report")
    async def report() -> dict[str, Any]:
        """The run report so far."""
        told: dict[str, Any] = _redacted(control.report())
        return told


def _add_watching(router: APIRouter, control: RunControl, board: Board) -> None:
    @router.get("/sources/{source_id}/tracks")
    async def tracks(source_id: str, limit: Annotated[int, Query(ge=1, le=60)] = 24) -> list[TrackAnswer]:
        """Objects that were seen lately, the last one first."""
        _check(control, source_id)
        now_ns = time.monotonic_ns()
        place = f"{API}/sources/{quote(source_id, safe='')}/tracks"
        return [TrackAnswer.of(one, now_ns, f"{place}/{one.track_id}.jpg") for one in board.tracks(source_id, limit)]

    @router.get("/events")
    async def events(source: str | None = None, limit: Annotated[int, Query(ge=1, le=300)] = 100) -> list[EventAnswer]:
        """What happened lately, the last one first; of all sources or of one."""
        return [event_answer(one) for one in board.events(limit, source)]

    @router.get("/history/{source_id}")
    async def history(source_id: str) -> HistoryAnswer:
        """Latency and counts over the last 15 minutes."""
        _check(control, source_id)
        now_ns = time.monotonic_ns()
        return HistoryAnswer.of(board.history(source_id, now_ns), now_ns)


def _add_pictures(router: APIRouter, control: RunControl, board: Board, views: Views) -> None:
    jpeg: dict[str, Any] = {
        "response_class": Response,
        "responses": {200: {"content": {"image/jpeg": {}}, "description": "a picture"}},
    }

    @router.get("/sources/{source_id}/snapshot.jpg", **jpeg)
    async def snapshot(source_id: str) -> Response:
        """The newest frame with what was found drawn on it, in full size."""
        _check(control, source_id)
        picture = await next_picture(views, source_id, ViewSize.FULL, 0, _SNAPSHOT_S)
        if picture is None:
            raise HTTPException(503, f"{source_id}: there is no picture yet")
        return _picture(picture.jpeg)

    @router.get("/sources/{source_id}/view.mjpg", response_class=Response)
    async def view(source_id: str, size: ViewSize = ViewSize.LARGE) -> Response:
        """Live pictures, as multipart/x-mixed-replace: what a browser or player shows as a video."""
        _check(control, source_id)
        return MotionJpeg(views, source_id, size)

    @router.get("/sources/{source_id}/tracks/{track_id}.jpg", **jpeg)
    async def track_picture(source_id: str, track_id: int) -> Response:
        """A small picture of an object."""
        return _picture(board.track_picture(source_id, track_id))

    @router.get("/events/{event_id}.jpg", **jpeg)
    async def event_picture(event_id: str) -> Response:
        """A small picture of what an event is about."""
        return _picture(board.event_picture(event_id))


def event_answer(kept: Any) -> EventAnswer:
    """An event with the address of its picture."""
    return EventAnswer.of(kept, f"{API}/events/{kept.event.event_id}.jpg")


def _add_page(app: FastAPI) -> None:
    folder = files("sinks.dashboard").joinpath("page")
    # Read once: what is not in this table cannot be asked for.
    contents = {name: (folder.joinpath(name).read_bytes(), kind) for name, kind in _PAGE.items()}

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        content, kind = contents["index.html"]
        return Response(content, media_type=kind)

    @app.get("/page/{name}", include_in_schema=False)
    async def page_file(name: str) -> Response:
        if name not in contents:
            raise HTTPException(404, "there is no such page")
        content, kind = contents[name]
        return Response(content, media_type=kind)


def _add_errors(app: FastAPI) -> None:
    """Every error is one line of JSON, without credentials."""

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HttpError) else 400
        text = str(error.detail) if isinstance(error, HttpError) else str(error)
        return JSONResponse({"error": one_line(text)}, status)

    async def unreadable(request: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        texts = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in found]
        return JSONResponse({"error": one_line("; ".join(texts))}, 422)

    app.add_exception_handler(TracklightError, refused)
    app.add_exception_handler(HttpError, refused)
    app.add_exception_handler(RequestValidationError, unreadable)


def _check(control: RunControl, source_id: str) -> None:
    if all(status.source_id != source_id for status in control.sources()):
        raise HTTPException(404, f"wanted a source of this run, found {source_id!r}")


def _picture(jpeg: bytes) -> Response:
    if not jpeg:
        raise HTTPException(404, "there is no such picture")
    return Response(jpeg, media_type="image/jpeg")


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {one_line(str(key)): _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value
