"""The local page for drawing rules: a small web server that only this machine and only the opened page can use."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from types import TracebackType
from typing import Any

from pipeline.core.errors import TracklightError, UsageError
from pipeline.zone_editor.rules_file import RulesFile

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_000_000
_TIMEOUT_S = 10.0
"""A connection that says nothing for so long is closed."""
_PAGE_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "editor.css": ("editor.css", "text/css; charset=utf-8"),
    "editor.js": ("editor.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class EditorContent:
    """What the page shows.

    Attributes:
        facts: JSON that does not change: name, size and time of the snapshot, colours, classes.
        snapshot_jpeg: the picture.
        rules: the file that is edited.
    """

    facts: Mapping[str, Any]
    snapshot_jpeg: bytes
    rules: RulesFile


class EditorServer:
    """Serves the page on 127.0.0.1, from the constructor until the context ends.

    Every address begins with a random token, so that no other program or page that can reach the port gets anything.
    Requests under another host name (DNS rebinding) and posts from another origin are refused.

    Args:
        content: what the page shows.
        port: port to listen on; 0 = any that is free.

    Raises:
        UsageError: the port cannot be had.
    """

    def __init__(self, content: EditorContent, port: int = 0) -> None:
        self._done = threading.Event()
        try:
            self._http = _Http(("127.0.0.1", port), content, self._done)
        except (OSError, OverflowError) as error:
            raise UsageError(f"--port: wanted a free port, found that {port} cannot be had: {error}") from None
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="zone-editor")

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{self._http.host}/{self._http.token}/"

    def wait(self, asked: Sequence[int] = ()) -> None:
        """Return once the person is done, or `asked` holds something."""
        while not asked and not self._done.wait(0.1):
            """Short waits, so that a signal is heard on every system."""

    def __enter__(self) -> EditorServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, address: tuple[str, int], content: EditorContent, done: threading.Event) -> None:
        self.content = content
        self.done = done
        self.token = secrets.token_urlsafe(24)
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Also hangs up on clients that dawdle, so that the threads which serve them end."""
        with self._open_lock:
            for connection in self._open:
                # The client may have hung up already.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no matter; anything else is a mistake of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            log.exception("zone editor: a request failed")


class _Refusal(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout = _TIMEOUT_S
    server_version = "Tracklight"
    sys_version = ""

    def do_GET(self) -> None:
        """The page's files, the picture and the rules."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Check, save, and the end."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: addresses hold the token."""

    def _answer(self, work: Callable[[str], tuple[str, bytes]]) -> None:
        try:
            status = HTTPStatus.OK
            kind, body = work(self._name())
        except _Refusal as refusal:
            status, kind, body = refusal.status, *_json({"error": str(refusal)})
        except (TracklightError, OSError) as error:
            if isinstance(error, TimeoutError | ConnectionError):
                raise
            status, kind, body = HTTPStatus.UNPROCESSABLE_ENTITY, *_json({"error": " ".join(str(error).split())})
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _name(self) -> str:
        """What is asked for, once it is certain that the asker may."""
        server = self.server
        if self.headers.get("Host") != server.host:
            raise _Refusal(HTTPStatus.FORBIDDEN, f"wanted the host {server.host}")
        parts = self.path.split("/")
        if len(parts) != 3 or not secrets.compare_digest(parts[1].encode(), server.token.encode()):
            raise _Refusal(HTTPStatus.FORBIDDEN, "wanted the address that the terminal shows, token included")
        return parts[2]

    def _get(self, name: str) -> tuple[str, bytes]:
        content = self.server.content
        if name in _PAGE_FILES:
            file, kind = _PAGE_FILES[name]
            return kind, files("pipeline.zone_editor").joinpath("page", file).read_bytes()
        if name == "snapshot.jpg":
            return "image/jpeg", content.snapshot_jpeg
        if name == "rules.json":
            rules = content.rules
            loaded = rules.load()
            problems = rules.problems(loaded)
            return _json({**content.facts, "rules": loaded, "has_comments": rules.has_comments, "problems": problems})
        raise _Refusal(HTTPStatus.NOT_FOUND, "no such page")

    def _post(self, name: str) -> tuple[str, bytes]:
        server = self.server
        if self.headers.get("Origin", f"http://{server.host}") != f"http://{server.host}":
            raise _Refusal(HTTPStatus.FORBIDDEN, "wanted a request of this page, found one of another")
        if self.headers.get_content_type() != "application/json":
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "wanted application/json")
        body = self._body()
        if name == "done":
            server.done.set()
            return _json({})
        if name not in ("check", "save"):
            raise _Refusal(HTTPStatus.NOT_FOUND, "no such page")
        if not isinstance(body, dict):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "wanted an object with lines, zones and ground_plane")
        rules = server.content.rules
        return _json({"problems": rules.save(body) if name == "save" else rules.problems(body)})

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdecimal():
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "wanted a Content-Length")
        if len(length) > 9 or int(length) > MAX_BODY_BYTES:
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"wanted at most {MAX_BODY_BYTES} bytes")
        try:
            return json.loads(self.rfile.read(int(length)), parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "wanted JSON") from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _json(value: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(value, ensure_ascii=False).encode()
