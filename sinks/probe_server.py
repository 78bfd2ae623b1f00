"""A small web server for the programs that watch a run: a few read-only pages, made anew for every request."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from pipeline.core.errors import SinkError

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 16
"""More are hung up on at once."""
DEADLINE_S = 10.0
"""A connection that lasts longer is cut, however busily it dawdles."""
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    status: HTTPStatus
    kind: str
    body: bytes


class ProbeServer:
    """Serves pages from the constructor until `close`.

    On a loopback address only requests for a loopback name are answered: a web page that was given this machine's
    address under its own name (DNS rebinding) reads nothing.

    Args:
        host: address to listen on.
        port: port to listen on; 0 = any that is free.
        pages: what makes the page of each path; called in the connection's thread.

    Raises:
        SinkError: the address cannot be had.
    """

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        try:
            self._http = _Http(host, port, pages)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SinkError(f"wanted to listen on {host}:{port}, found that it cannot be had: {reason}") from None
        self.port: int = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(_POLL_S,), name=f"probes:{self.port}")
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more; every thread has ended when it returns. Idempotent."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        self.pages = pages
        self._began_s: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.only_loopback_names = ip_address(self.socket.getsockname()[0]).is_loopback

    def server_bind(self) -> None:
        """Without the look-up of this machine's name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._began_s) >= MAX_CONNECTIONS
            if not full:
                self._began_s[request] = time.monotonic()
        if full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._began_s.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut what lasts too long."""
        self._cut(time.monotonic() - DEADLINE_S)

    def server_close(self) -> None:
        """Also hangs up on whoever is still connected, so that the threads which serve them end."""
        self._cut(time.monotonic())
        super().server_close()

    def _cut(self, begun_before_s: float) -> None:
        with self._lock:
            for connection, began_s in self._began_s.items():
                if began_s <= begun_before_s:
                    try:
                        connection.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue  # the client was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no matter; anything else is a mistake of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            logger.exception("a request failed")


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout = DEADLINE_S
    server_version = "Tracklight"
    sys_version = ""

    def do_GET(self) -> None:
        """A page."""
        self._answer(self._page(), with_body=True)

    def do_HEAD(self) -> None:
        """What a page would be like."""
        self._answer(self._page(), with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a probe every few seconds is no news."""

    def _page(self) -> Page:
        if self.server.only_loopback_names and not _is_loopback(self.headers.get("Host", "")):
            return text_page(HTTPStatus.FORBIDDEN, "wanted a request for localhost or 127.0.0.1")
        make = self.server.pages.get(self.path.partition("?")[0])
        if make is None:
            return text_page(HTTPStatus.NOT_FOUND, f"wanted one of {' '.join(self.server.pages)}")
        try:
            return make()
        except Exception:
            logger.exception("%s could not be made", self.path.partition("?")[0])
            return text_page(HTTPStatus.INTERNAL_SERVER_ERROR, "this page could not be made; the log tells why")

    def _answer(self, page: Page, *, with_body: bool) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(page.body)


def text_page(status: HTTPStatus, text: str) -> Page:
    """A line of text."""
    return Page(status, "text/plain; charset=utf-8", f"{text}\n".encode())


def _is_loopback(host_header: str) -> bool:
    try:
        name = urlsplit(f"//{host_header}").hostname or ""
    except ValueError:
        return False
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
