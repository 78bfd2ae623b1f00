"""The web server: uvicorn in a thread of its own, with limits that uvicorn itself does not have."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.core.errors import SinkError
from sinks.dashboard.access import MAX_BODY_BYTES, App

MOST_CONNECTIONS = 128
MAX_HEAD_BYTES = 16 * 1024
HEAD_TIMEOUT_S = 10.0
"""A connection on which no request comes is closed."""
STUCK_TIMEOUT_S = 20.0
_SEND_BUFFER_BYTES = 256 * 1024
"""What the system holds for a client: pictures that wait there are old when they are seen."""
_END_S = 1.0


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        SinkError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SinkError(f"web: wanted to listen on {host}, found no such address: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Who takes nothing is cut off by the system: asyncio itself would wait for ever to send the rest.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(STUCK_TIMEOUT_S * 1000))
        listener.bind(address)
        listener.listen(MOST_CONNECTIONS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise SinkError(
            f"web: wanted to listen on {host}:{port}, found: {error.strerror}; choose another port with -o web:PORT"
        ) from error
    return listener


class _Http(H11Protocol):
    """Closes connections that say nothing, and those that are too many."""

    _silent: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def _watch(self) -> None:
        """A request that has begun must soon be there; between requests, uvicorn's own limit holds."""
        is_socket = self not in self.connections
        is_served = self.cycle is not None and not self.cycle.response_complete
        if is_socket or is_served:
            self._stop_watch()
        elif self._silent is None:
            self._silent = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)

    def _stop_watch(self) -> None:
        if self._silent is not None:
            self._silent.cancel()
            self._silent = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watch()
        super().connection_lost(exc)


class _Uvicorn(uvicorn.Server):
    async def shutdown(self, sockets: Any = None) -> None:
        """End within a bounded time, whatever the clients do."""
        for connection in list(self.server_state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + _END_S
        while self.server_state.connections and loop.time() < deadline_s:
            await asyncio.sleep(0.02)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        await super().shutdown(sockets)


class WebServer:
    """Serves an application on a socket until it is stopped.

    Args:
        app: the application.
        listener: from `bind`; closed at the end.
        begun: called in the server's thread with its event loop, before the first request.
    """

    def __init__(self, app: App, listener: socket.socket, begun: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        self._listener = listener
        self._begun = begun
        config = uvicorn.Config(
            app,
            http=_Http,
            ws="websockets-sansio",
            ws_max_size=MAX_BODY_BYTES,
            ws_per_message_deflate=False,
            ws_ping_interval=10.0,
            ws_ping_timeout=10.0,
            lifespan="off",
            log_config=None,
            # Addresses of requests are never logged: one of them holds the token.
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
            loop="asyncio",
        )
        self._server = _Uvicorn(config)
        self._thread = threading.Thread(target=self._serve, name="dashboard-web")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and join the thread, within 2 s. Idempotent."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        asyncio.run(self._serve_in_loop())

    async def _serve_in_loop(self) -> None:
        self._begun(asyncio.get_running_loop())
        await self._server.serve(sockets=[self._listener])
