"""Status every second and events as they happen, over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from pipeline.core.control import RunControl
from sinks.dashboard.picture_feed import SEND_TIMEOUT_S
from sinks.dashboard.recent_events import RecentEvent
from sinks.dashboard.schema import EventAnswer, SourceAnswer

MOST_CLIENTS = 32
_EVERY_S = 1.0
_WAITING = 100
"""Events that wait for one client; the oldest are left out, and stand in the list of recent ones."""


class _Client:
    def __init__(self) -> None:
        self.events: deque[EventAnswer] = deque(maxlen=_WAITING)
        self.news = asyncio.Event()


class LiveFeed:
    """Serves `/api/v1/live`: `{"type": "status", "sources": [...]}` and `{"type": "event", "event": {...}}`.

    At the end of the run the server closes it, with code 1012.

    Args:
        control: the run.
        answer: makes what is told of an event.
        keep: called with the ids of the run's sources, whenever they are looked up: others have left.
    """

    def __init__(
        self,
        control: RunControl,
        answer: Callable[[RecentEvent], EventAnswer],
        keep: Callable[[Collection[str]], None],
    ) -> None:
        self._control = control
        self._answer = answer
        self._keep = keep
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: set[_Client] = set()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop in which clients are served."""
        self._loop = loop

    def tell(self, event: RecentEvent) -> None:
        """Pass an event on to everyone who watches. From any thread."""
        if self._loop is not None and self._clients:
            self._loop.call_soon_threadsafe(self._spread, self._answer(event))

    async def serve(self, socket: WebSocket) -> None:
        """One client, until it leaves, is too slow, or the run ends."""
        if len(self._clients) >= MOST_CLIENTS:
            await socket.close(1013)
            return
        client = _Client()
        self._clients.add(client)
        try:
            await socket.accept()
            await self._run(socket, client)
        finally:
            self._clients.discard(client)

    async def _run(self, socket: WebSocket, client: _Client) -> None:
        leaving = asyncio.create_task(_left(socket, client))
        loop = asyncio.get_running_loop()
        status_s = loop.time()
        try:
            while not leaving.done():
                if loop.time() >= status_s:
                    status_s = loop.time() + _EVERY_S
                    await _send(socket, {"type": "status", "sources": self._sources()})
                while client.events:
                    await _send(socket, {"type": "event", "event": client.events.popleft().model_dump()})
                await _wait(client.news, status_s - loop.time())
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            """The client left, or takes nothing."""
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    def _sources(self) -> list[dict[str, Any]]:
        statuses = self._control.sources()
        self._keep([status.source_id for status in statuses])
        return [SourceAnswer.of(status).model_dump(mode="json") for status in statuses]

    def _spread(self, event: EventAnswer) -> None:
        for client in self._clients:
            client.events.append(event)
            client.news.set()


async def _send(socket: WebSocket, message: dict[str, Any]) -> None:
    await asyncio.wait_for(socket.send_text(json.dumps(message)), SEND_TIMEOUT_S)


async def _left(socket: WebSocket, client: _Client) -> None:
    try:
        while True:
            await socket.receive_text()
    except (WebSocketDisconnect, RuntimeError, KeyError):
        client.news.set()


async def _wait(news: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(news.wait(), max(timeout_s, 0.0))
    except TimeoutError:
        return
    news.clear()
