"""Who may use the dashboard: checked before any of its code sees a request."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 64 * 1024
BODY_TIMEOUT_S = 10.0
_READING = ("GET", "HEAD")
_LOCKED_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Token wanted</title>
</head>
<body>
<h1>This page needs its token</h1>
<p>Open the address that the terminal showed, or add <code>?token=</code> and the token to this one.</p>
</body>
</html>
"""
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked of a request.

    Attributes:
        loopback: only this machine can reach the server: the host must then be named as this machine.
        token: what everyone must know, or None.
        cookie: name of the cookie; cookies do not know ports, so it tells the port.
    """

    loopback: bool
    token: str | None
    cookie: str

    @property
    def cookie_value(self) -> str:
        """Proves that its bearer knew the token, without telling it."""
        return hmac.new((self.token or "").encode(), b"tracklight dashboard", hashlib.sha256).hexdigest()

    def knows_token(self, headers: Mapping[str, str]) -> bool:
        """Whether a request comes from someone who knows the token, or none is asked for."""
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), self.token):
            return True
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return morsel is not None and _same(morsel.value, self.cookie_value)


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: HTTPStatus
    text: str
    is_locked: bool = False


class _TooLarge(Exception):
    """A body that grew beyond what it may."""


class Guard:
    """An ASGI application round another one, which sees only requests that may be served.

    Refused are: another host name on a loopback address (DNS rebinding), requests that another site's page makes (by
    `Origin` and `Sec-Fetch-Site`), requests without the token, bodies that are large, slow or no JSON.

    Args:
        app: what is guarded.
        access: what is asked.
    """

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._foreign(scope, headers)
        if refusal is None and self._brings_token(scope):
            await _redirect(scope, send, self._access)
            return
        refusal = refusal or self._unknown(headers) or self._body(scope, headers)
        if refusal is not None:
            await _refuse(scope, send, refusal)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    def _foreign(self, scope: Scope, headers: Mapping[str, str]) -> _Refusal | None:
        host = headers.get("host", "")
        if self._access.loopback and not is_loopback(_hostname(host)):
            return _Refusal(
                HTTPStatus.FORBIDDEN, "wanted a request to this machine by its own name, found another host"
            )
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in _READING
        if changes and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return _Refusal(HTTPStatus.FORBIDDEN, "wanted a request of the dashboard's own page, found another origin")
        site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "navigate")
        # A link on another site may lead here; its pictures, scripts and frames may not.
        is_link = not changes and mode == "navigate" and headers.get("sec-fetch-dest", "document") == "document"
        if site not in ("same-origin", "none") and not is_link:
            return _Refusal(HTTPStatus.FORBIDDEN, "wanted a request of the dashboard's own page, found another site's")
        return None

    def _brings_token(self, scope: Scope) -> bool:
        if self._access.token is None or scope["type"] != "http" or scope["method"] not in _READING:
            return False
        given = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")
        return given is not None and _same(given, self._access.token)

    def _unknown(self, headers: Mapping[str, str]) -> _Refusal | None:
        if self._access.knows_token(headers):
            return None
        return _Refusal(HTTPStatus.UNAUTHORIZED, "wanted the token, as a bearer or once as ?token=", is_locked=True)

    def _body(self, scope: Scope, headers: Mapping[str, str]) -> _Refusal | None:
        if scope["type"] == "websocket":
            return None
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 9 or int(length) > MAX_BODY_BYTES:
            return _TOO_LARGE
        has_body = length != "0" or "transfer-encoding" in headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if has_body and kind != "application/json":
            return _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"wanted application/json, found {kind or 'no type'!r}")
        return None

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if scope["method"] not in _READING:
            try:
                body = await asyncio.wait_for(_whole_body(receive), BODY_TIMEOUT_S)
            except _TooLarge:
                await _refuse(scope, send, _TOO_LARGE)
                return
            except TimeoutError:
                text = f"wanted the body within {BODY_TIMEOUT_S:g} s"
                await _refuse(scope, send, _Refusal(HTTPStatus.REQUEST_TIMEOUT, text))
                return
        given = False

        async def receive_again() -> Message:
            nonlocal given
            if given or scope["method"] in _READING:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def secured_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_ours(message.get("headers", []))}
            await send(message)

        await self._app(scope, receive_again, secured_send)


async def _whole_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise _TooLarge
        if not message.get("more_body", False):
            return body


_TOO_LARGE = _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"wanted at most {MAX_BODY_BYTES} bytes")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_ours(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [*headers, *((name.encode(), value.encode()) for name, value in _HEADERS.items())]


async def _redirect(scope: Scope, send: Send, access: Access) -> None:
    """The token goes from the address, where people see and copy it, into a cookie that no script reads."""
    query = [(k, v) for k, v in parse_qsl(scope["query_string"].decode("latin-1")) if k != "token"]
    # One slash in front: `//host` would lead elsewhere.
    path = "/" + quote(scope["path"].lstrip("/"))
    location = path + (f"?{urlencode(query)}" if query else "")
    cookie = f"{access.cookie}={access.cookie_value}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000"
    headers = [(b"location", location.encode()), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": HTTPStatus.SEE_OTHER.value, "headers": _with_ours(headers)})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, send: Send, refusal: _Refusal) -> None:
    is_page = refusal.is_locked and scope["path"] == "/"
    body = _LOCKED_PAGE if is_page else json.dumps({"error": refusal.text})
    kind = "text/html; charset=utf-8" if is_page else "application/json"
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body.encode())).encode()),
        (b"connection", b"close"),
    ]
    if refusal.is_locked:
        headers.append((b"www-authenticate", b"Bearer"))
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    await send({"type": f"{prefix}.response.start", "status": refusal.status.value, "headers": _with_ours(headers)})
    await send({"type": f"{prefix}.response.body", "body": body.encode()})
