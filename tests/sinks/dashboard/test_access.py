"""Who may use the dashboard, tried from outside."""

from __future__ import annotations

import http.client
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

TOKEN = "a-token-of-enough-length"
OPEN = {"host": "0.0.0.0", "token": TOKEN}
API = "/api/v1"
EVERYTHING = [
    *("/", "/page/main.js", "/page/dashboard.css", f"{API}/sources", f"{API}/report", f"{API}/events"),
    *(f"{API}/history/door", f"{API}/sources/door/tracks", f"{API}/sources/door/snapshot.jpg"),
    *(f"{API}/sources/door/view.mjpg", f"{API}/sources/door/tracks/1.jpg", f"{API}/events/1.jpg"),
    *(f"{API}/openapi.json", "/nothing"),
]


def raw(port: int, method: str, path: str, headers: dict[str, str], body: Any = None) -> tuple[int, bytes, Any]:
    """A request exactly as given: no path is tidied, no header added but Host where it is missing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


# -- the token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERYTHING)
def test_without_the_token_nothing_is_shown(locked: Any, path: str) -> None:
    locked.write(boxes=[(1, 1, 40, 40)])
    status, body, headers = raw(locked.port, "GET", path, {})
    assert status == 401
    assert headers["WWW-Authenticate"] == "Bearer"
    if path == "/":
        assert b"<script" not in body
        assert b"needs its token" in body
    else:
        assert json.loads(body) == {"error": "wanted the token, as a bearer or once as ?token="}
    assert b"door" not in body


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD"])
def test_without_the_token_nothing_is_done(locked: Any, method: str) -> None:
    for path in ("/sources", "/sources/door", "/sources/door/restart"):
        assert httpx.request(method, locked.url + API[1:] + path, trust_env=False).status_code == 401
    assert locked.run.asked == []


@pytest.mark.parametrize("path", ["/live", "/views", "/nothing"])
def test_without_the_token_no_socket_opens(locked: Any, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{locked.port}{API}{path}", proxy=None)
    assert refused.value.response.status_code == 401


def test_the_token_as_a_bearer(serve: Callable[..., Any]) -> None:
    served = serve(**OPEN)
    assert served.client.get(f"{API}/sources").status_code == 200
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with connect(f"ws://127.0.0.1:{served.port}{API}/live", proxy=None, additional_headers=bearer) as socket:
        assert json.loads(socket.recv(3))["type"] == "status"


@pytest.mark.parametrize("given", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "Ünïcode"])
def test_a_wrong_token(locked: Any, given: str) -> None:
    port = locked.port
    assert raw(port, "GET", f"{API}/sources", {"Authorization": f"Bearer {given}"})[0] == 401
    assert raw(port, "GET", f"{API}/sources", {"Authorization": f"Basic {TOKEN}"})[0] == 401
    assert raw(port, "GET", f"{API}/sources", {"Cookie": f"tracklight-{port}={given}"})[0] == 401
    assert raw(port, "GET", f"/?token={quote(given)}", {})[0] == 401


def test_the_token_in_the_address_becomes_a_cookie(serve: Callable[..., Any]) -> None:
    served = serve(**OPEN)
    with httpx.Client(base_url=served.url, trust_env=False) as browser:
        answer = browser.get(f"/?token={TOKEN}&x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?x=1")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert "<main" in browser.get("/").text
        assert browser.get(f"{API}/sources").status_code == 200


@pytest.mark.parametrize("path", ["//elsewhere.example", "///elsewhere.example", "/%2f/elsewhere.example"])
def test_the_token_leads_nowhere_else(locked: Any, path: str) -> None:
    _, _, headers = raw(locked.port, "GET", f"{path}?token={TOKEN}", {})
    assert not headers["Location"].startswith("//")
    assert headers["Location"].startswith("/")


def test_a_token_is_made_and_told_once_where_none_is_set(
    serve: Callable[..., Any], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    served = serve(host="0.0.0.0")
    told = capsys.readouterr().err
    token = told.strip().rpartition("?token=")[2]
    assert len(token) >= 32
    assert raw(served.port, "GET", f"{API}/sources", {})[0] == 401
    assert raw(served.port, "GET", f"/?token={token}", {})[0] == 303
    assert raw(served.port, "GET", f"{API}/sources", {"Authorization": f"Bearer {token}"})[0] == 200
    assert token not in caplog.text
    assert serve(host="0.0.0.0").sink.url != served.sink.url
    assert token not in capsys.readouterr().err


def test_a_token_that_was_set_is_not_told(serve: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    served = serve(**OPEN)
    assert TOKEN not in capsys.readouterr().err
    assert TOKEN not in repr(served.sink._config)


def test_on_this_machines_own_address_a_token_may_be_set(serve: Callable[..., Any]) -> None:
    assert raw(serve(token=TOKEN).port, "GET", f"{API}/sources", {})[0] == 401
    assert raw(serve().port, "GET", f"{API}/sources", {})[0] == 200


# -- other hosts and other sites --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("127.0.0.1:{port}", 200), ("localhost:{port}", 200), ("LOCALHOST", 200), ("[::1]:{port}", 200)),
        *(("evil.example", 403), ("evil.example:{port}", 403), ("127.0.0.1.evil.example", 403), ("", 403)),
        *(("localhost@evil.example", 403), ("[bad", 403), ("192.168.1.4:{port}", 403), ("127.0.0.1 x", 403)),
    ],
)
def test_another_host_name_is_refused(served: Any, host: str, status: int) -> None:
    port = served.port
    found, body, _ = raw(port, "GET", f"{API}/sources", {"Host": host.format(port=port)})
    # What is no host at all may be refused by the server before it reaches ours.
    assert found == status or (status == 403 and found == 400)
    assert status == 200 or b"door" not in body


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        *((None, 204), ("http://127.0.0.1:{port}", 204), ("https://127.0.0.1:{port}", 204)),
        *(("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:1", 403), ("http://localhost:{port}", 403)),
        *(("http://127.0.0.1", 403), ("", 403), ("file://", 403)),
    ],
)
def test_a_change_from_another_origin_is_refused(served: Any, origin: str | None, status: int) -> None:
    asked = len(served.run.asked)
    headers = {} if origin is None else {"Origin": origin.format(port=served.port)}
    for method, path in (("POST", "/sources/door/restart"), ("POST", "/sources/yard/restart")):
        assert raw(served.port, method, API + path, headers)[0] == status
    assert len(served.run.asked) - asked == (2 if status == 204 else 0)


@pytest.mark.parametrize("path", ["/live", "/views"])
def test_a_socket_from_another_origin_is_refused(served: Any, path: str) -> None:
    port = served.port
    url = f"ws://127.0.0.1:{port}{API}{path}"
    with pytest.raises(InvalidStatus) as refused:
        connect(url, proxy=None, origin=Origin("http://evil.example"))
    assert refused.value.response.status_code == 403
    with connect(url, proxy=None, origin=Origin(f"http://127.0.0.1:{port}")):
        """Our own page's."""


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        *(("same-origin", "cors", "empty", 200), ("none", "navigate", "document", 200)),
        *(("cross-site", "navigate", "document", 200), ("cross-site", "no-cors", "image", 403)),
        *(("same-site", "no-cors", "image", 403), ("cross-site", "navigate", "iframe", 403)),
        ("cross-site", "cors", "empty", 403),
    ],
)
def test_another_sites_page_cannot_embed_it(served: Any, site: str, mode: str, dest: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    assert raw(served.port, "GET", f"{API}/sources", headers)[0] == status


@pytest.mark.parametrize("path", ["/", "/page/main.js", f"{API}/sources", "/nothing", "/page/nothing"])
def test_every_answer_keeps_browsers_in_bounds(served: Any, path: str) -> None:
    headers = raw(served.port, "GET", path, {})[2]
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Server" not in headers


# -- paths and bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("/page/../sink.py", "/page/%2e%2e/sink.py", "/page/..%2fsink.py", "/page/%2e%2e%2fsink.py", "/../sink.py"),
        *(
            "/page//etc/passwd",
            "//etc/passwd",
            "/page/....//sink.py",
            "/page/main.js/../../sink.py",
            "/page/..\\sink.py",
        ),
        *("/page/main.js%00.py", "/page/", "/page", "/sinks/dashboard/sink.py", "/page/%252e%252e/sink.py"),
        f"{API}/sources/..%2f..%2f..%2fetc%2fpasswd/snapshot.jpg",
    ],
)
def test_no_other_file_is_served(served: Any, path: str) -> None:
    status, body, _ = raw(served.port, "GET", path, {})
    assert status == 404
    assert b"DashboardSink" not in body
    assert b"root:" not in body


def chunked(n_bytes: int) -> Any:
    yield from (b"x" * 1024 for _ in range(n_bytes // 1024))


def test_large_bodies_are_refused(serve: Callable[..., Any]) -> None:
    served = serve()
    for content in (b"x" * 65537, chunked(200 * 1024)):
        answer = served.client.post(f"{API}/sources", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()) == (413, {"error": "wanted at most 65536 bytes"})
    assert served.run.asked == []
    assert served.client.get(f"{API}/sources").status_code == 200


@pytest.mark.parametrize("length", ["99999999999999999999", "-1", "ten"])
def test_a_length_that_cannot_be_is_refused(served: Any, length: str) -> None:
    headers = {"Content-Length": length, "Content-Type": "application/json"}
    assert raw(served.port, "POST", f"{API}/sources", headers)[0] in (400, 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_could_send_is_refused(served: Any, kind: str) -> None:
    asked = list(served.run.asked)
    headers = {"Content-Type": kind} if kind else {}
    answer = served.client.post(f"{API}/sources", content=b'{"address": "gate"}', headers=headers)
    assert answer.status_code == 415
    assert served.run.asked == asked


def test_a_head_without_an_end_is_refused(served: Any) -> None:
    import socket

    port = served.port
    for begun in (b"GET /", b"GET / HTTP/1.1\r\nX-Long: "):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(begun + b"x" * 20_000)
            assert client.recv(100).startswith(b"HTTP/1.1 400")
