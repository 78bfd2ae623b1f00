"""Pictures of many views over one WebSocket: browsers open six HTTP connections to a host and no more."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from sinks.dashboard.views import Picture, Views, ViewSize, Want

MOST_CLIENTS = 32
MOST_VIEWS = 64
"""Views of one client."""
SEND_TIMEOUT_S = 10.0


async def next_picture(views: Views, source_id: str, size: ViewSize, after: int, timeout_s: float) -> Picture | None:
    """A picture newer than number `after`; None where none comes in time or ever."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Picture | None] = loop.create_future()

    def arrive(picture: Picture | None) -> None:
        if not future.done():
            future.set_result(picture)

    want = views.ask(source_id, size, after, lambda picture: _soon(loop, arrive, picture))
    try:
        return await asyncio.wait_for(future, timeout_s)
    except TimeoutError:
        return None
    finally:
        views.withdraw(want)


class PictureFeed:
    """Serves `/api/v1/views`.

    The client asks for one picture of a view at a time: `{"source": "door", "size": "small", "after": 12}`. The answer
    is binary: 4 bytes with the length of a JSON header (big-endian), the header, the JPEG; number 0 and no JPEG where
    the source has left the run. A client that is slow, or whose page is hidden, asks less often; nothing is queued.

    Args:
        views: where pictures are made.
    """

    def __init__(self, views: Views) -> None:
        self._views = views
        self._n_clients = 0

    async def serve(self, socket: WebSocket) -> None:
        """One client, until it leaves, is too slow, or the run ends."""
        if self._n_clients >= MOST_CLIENTS:
            await socket.close(1013)
            return
        self._n_clients += 1
        try:
            await socket.accept()
            await _Client(self._views, socket).run()
        finally:
            self._n_clients -= 1


class _Client:
    def __init__(self, views: Views, socket: WebSocket) -> None:
        self._views = views
        self._socket = socket
        self._wants: dict[str, Want] = {}
        self._ready: asyncio.Queue[tuple[str, Picture | None]] = asyncio.Queue()

    async def run(self) -> None:
        sending = asyncio.create_task(self._send_all())
        try:
            await self._take_all()
        finally:
            sending.cancel()
            for want in self._wants.values():
                self._views.withdraw(want)
            await asyncio.gather(sending, return_exceptions=True)

    async def _take_all(self) -> None:
        while True:
            try:
                asked = json.loads(await self._socket.receive_text())
                source_id, size, after = str(asked["source"]), ViewSize(asked["size"]), int(asked["after"])
            except (WebSocketDisconnect, RuntimeError):
                return
            except (ValueError, KeyError, TypeError):
                await self._socket.close(1008)
                return
            self._ask(source_id, size, after)

    def _ask(self, source_id: str, size: ViewSize, after: int) -> None:
        before = self._wants.pop(source_id, None)
        if before is not None:
            self._views.withdraw(before)
        if len(self._wants) >= MOST_VIEWS:
            return
        loop = asyncio.get_running_loop()
        self._wants[source_id] = self._views.ask(
            source_id, size, after, lambda picture: _soon(loop, self._ready.put_nowait, (source_id, picture))
        )

    async def _send_all(self) -> None:
        while True:
            source_id, picture = await self._ready.get()
            try:
                await asyncio.wait_for(self._socket.send_bytes(_packed(source_id, picture)), SEND_TIMEOUT_S)
            except (TimeoutError, WebSocketDisconnect, RuntimeError):
                await self._socket.close(1013)
                return


def _packed(source_id: str, picture: Picture | None) -> bytes:
    if picture is None:
        head = json.dumps({"source": source_id, "number": 0}).encode()
        return struct.pack(">I", len(head)) + head
    header: dict[str, Any] = {
        "source": source_id,
        "number": picture.number,
        "width": picture.width_px,
        "height": picture.height_px,
        "age_ms": round((time.monotonic_ns() - picture.captured_ns) / 1e6, 1),
        "boxes_ahead_ms": round(picture.boxes_ahead_ms, 1),
    }
    head = json.dumps(header).encode()
    return struct.pack(">I", len(head)) + head + picture.jpeg


def _soon(loop: asyncio.AbstractEventLoop, call: Any, value: Any) -> None:
    """Call in the loop, from any thread."""
    loop.call_soon_threadsafe(call, value)
