from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from pipeline.core.errors import UsageError
from pipeline.zone_editor.rules_file import RulesFile
from pipeline.zone_editor.server import MAX_BODY_BYTES, EditorContent, EditorServer

Open = Callable[[], EditorServer]
RULES = {"zones": [{"name": "Table", "polygon": [[0, 0], [1, 0], [1, 1]]}], "lines": [], "ground_plane": None}


def ask(
    server: EditorServer,
    name: str = "",
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    path: str | None = None,
    method: str | None = None,
) -> tuple[HTTPResponse, bytes]:
    url = urlsplit(server.url)
    connection = HTTPConnection(url.hostname or "", url.port, timeout=10)
    try:
        sent = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        connection.request(
            method or ("GET" if body is None else "POST"),
            (url.path + name) if path is None else path,
            sent,
            {**kind, **(headers or {})},
        )
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_it_listens_on_the_loopback_interface_only(open_editor: Open) -> None:
    server = open_editor()
    assert server.url.startswith("http://127.0.0.1:")
    assert server._http.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "kind", "begins"),
    [
        ("", "text/html; charset=utf-8", b"<!doctype html>"),
        ("editor.css", "text/css; charset=utf-8", b":root"),
        ("editor.js", "text/javascript; charset=utf-8", b"//"),
        ("snapshot.jpg", "image/jpeg", b"\xff\xd8"),
        ("rules.json", "application/json", b"{"),
    ],
)
def test_the_pages_files(open_editor: Open, name: str, kind: str, begins: bytes) -> None:
    answer, body = ask(open_editor(), name)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == kind
    assert body.startswith(begins)


def test_every_answer_has_the_headers_that_shut_others_out(open_editor: Open) -> None:
    server = open_editor()
    for answer, _ in (ask(server), ask(server, "rules.json"), ask(server, "nothing"), ask(server, path="/")):
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Python" not in answer.headers["Server"]


@pytest.mark.parametrize("path", ["/", "//", "/wrong/", "/wrong/rules.json", "/rules.json", "", "/%C3%A9/"])
def test_without_the_token_there_is_nothing(open_editor: Open, path: str) -> None:
    server = open_editor()
    for body in (None, RULES):
        answer, content = ask(server, path=path, body=body)
        assert answer.status in (400, 403)
        assert server._http.token.encode() not in content


def test_the_token_is_another_one_each_time_and_cannot_be_guessed(open_editor: Open) -> None:
    tokens = {open_editor()._http.token for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) >= 32 for token in tokens)


def test_the_tokens_beginning_is_not_enough(open_editor: Open) -> None:
    server = open_editor()
    token = server._http.token
    for wrong in (token[:-1], token + "A", token.swapcase()):
        assert ask(server, path=f"/{wrong}/rules.json")[0].status == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "localhost:{port}", "127.0.0.1", ""])
def test_another_host_name_is_refused(open_editor: Open, host: str) -> None:
    server = open_editor()
    headers = {"Host": host.format(port=urlsplit(server.url).port)}
    assert ask(server, "rules.json", headers=headers)[0].status == 403
    assert ask(server, "save", RULES, headers=headers)[0].status == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:{port}"])
def test_a_post_of_another_page_is_refused(open_editor: Open, tmp_path: Path, origin: str) -> None:
    server = open_editor()
    headers = {"Origin": origin.format(port=urlsplit(server.url).port)}
    assert ask(server, "save", RULES, headers=headers)[0].status == 403
    assert ask(server, "done", {}, headers=headers)[0].status == 403
    assert not (tmp_path / "rules.yaml").exists()
    assert not server._done.is_set()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_of_another_page_is_refused(open_editor: Open, tmp_path: Path, kind: str) -> None:
    assert ask(open_editor(), "save", RULES, headers={"Content-Type": kind})[0].status == 415
    assert not (tmp_path / "rules.yaml").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("../server.py", "..%2fserver.py", "%2e%2e/server.py", "page/editor.js", "/etc/passwd", "....//server.py"),
        *("editor.js/", "editor.js?x=../..", "editor.js%00.html", "index.html", "__init__.py"),
    ],
)
def test_no_path_leads_elsewhere(open_editor: Open, name: str) -> None:
    answer, body = ask(open_editor(), name)
    assert answer.status in (403, 404)
    assert json.loads(body)["error"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "TRACE"])
def test_other_methods_are_not_there(open_editor: Open, method: str) -> None:
    assert ask(open_editor(), "rules.json", method=method)[0].status == 501


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Length": str(MAX_BODY_BYTES + 1)}, b"{}", 413),
        ({"Content-Length": "9" * 30}, b"{}", 413),
        ({"Content-Length": "-1"}, b"{}", 411),
        ({"Content-Length": "two"}, b"{}", 411),
        ({}, b"{", 400),
        ({}, b"[]", 400),
        ({}, b"\xff\xfe", 400),
        ({}, b"[" * 100_000, 400),
        ({}, b'{"zones": [{"name": "A", "polygon": [[NaN, 0], [1, 0], [1, 1]]}]}', 400),
    ],
)
def test_bodies_that_are_too_long_or_no_rules(
    open_editor: Open, tmp_path: Path, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer, content = ask(open_editor(), "save", body, headers=headers)
    assert answer.status == status
    assert json.loads(content)["error"]
    assert not (tmp_path / "rules.yaml").exists()


def test_a_body_without_length_is_refused(open_editor: Open) -> None:
    server = open_editor()
    url = urlsplit(server.url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as raw:
        lines = [f"POST {url.path}save HTTP/1.1", f"Host: {url.netloc}", "Content-Type: application/json"]
        raw.sendall("\r\n".join([*lines, "Transfer-Encoding: chunked", "", "2", "{}", "0", "", ""]).encode())
        assert b" 411 " in raw.recv(200)


def test_rules_are_checked_saved_and_read_again(open_editor: Open, tmp_path: Path) -> None:
    server = open_editor()
    assert json.loads(ask(server, "check", RULES)[1]) == {"problems": []}
    assert not (tmp_path / "rules.yaml").exists()
    assert json.loads(ask(server, "save", RULES)[1]) == {"problems": []}
    assert yaml.safe_load((tmp_path / "rules.yaml").read_text())["sources"]["yard"]["zones"] == RULES["zones"]
    loaded = json.loads(ask(server, "rules.json")[1])
    assert loaded["rules"] == RULES
    assert loaded["source_id"] == "yard"


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    rules = RulesFile(tmp_path / "file" / "rules.yaml", "yard", (64, 48))
    with EditorServer(EditorContent({}, b"", rules)) as server:
        answer, body = ask(server, "save", RULES)
        assert answer.status == 422
        assert "file" in json.loads(body)["error"]
        assert ask(server, "rules.json")[0].status == 200


def test_done_ends_the_wait(open_editor: Open) -> None:
    server = open_editor()
    waiting = threading.Thread(target=server.wait)
    waiting.start()
    assert ask(server, "done", {})[0].status == 200
    waiting.join(timeout=5)
    assert not waiting.is_alive()


def test_a_client_that_dawdles_does_not_keep_it_open(tmp_path: Path) -> None:
    content = EditorContent({}, b"", RulesFile(tmp_path / "rules.yaml", "yard", (64, 48)))
    with EditorServer(content) as server:
        url = urlsplit(server.url)
        idle = [socket.create_connection((url.hostname, url.port)) for _ in range(3)]
        idle[1].sendall(b"GET / HT")
        head = f"POST {url.path}save HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        idle[2].sendall((head + "Content-Length: 100\r\n\r\n{").encode())
        assert ask(server)[0].status == 200
    for connection in idle:
        connection.close()
    left = [thread.name for thread in threading.enumerate() if "process_request" in thread.name]
    assert not left


def test_a_client_that_hung_up_does_not_keep_it_open(tmp_path: Path) -> None:
    content = EditorContent({}, b"", RulesFile(tmp_path / "rules.yaml", "yard", (64, 48)))
    with socket.socket() as gone, EditorServer(content) as server:
        server._http._open.add(gone)
        url = urlsplit(server.url)
    with socket.create_server((url.hostname, url.port)):
        """The port is free again."""


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_cannot_be(tmp_path: Path, port: int) -> None:
    with pytest.raises(UsageError, match="--port"):
        EditorServer(EditorContent({}, b"", RulesFile(tmp_path / "r.yaml", "yard", (64, 48))), port)


def test_a_port_that_is_taken(open_editor: Open, tmp_path: Path) -> None:
    taken = urlsplit(open_editor().url).port
    assert taken is not None
    with pytest.raises(UsageError, match=str(taken)):
        EditorServer(EditorContent({}, b"", RulesFile(tmp_path / "r.yaml", "yard", (64, 48))), taken)
