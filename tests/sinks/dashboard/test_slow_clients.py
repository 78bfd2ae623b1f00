"""Clients that dawdle, and the end while clients are there."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from sinks.dashboard import server

API = "/api/v1"
GET_VIEW = f"GET {API}/sources/door/view.mjpg?size=full HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@contextmanager
def filming(served: Any, image: np.ndarray) -> Iterator[None]:
    """Results come all the time."""
    over = threading.Event()

    def film() -> None:
        while not over.wait(0.01):
            served.write(image=image)

    thread = threading.Thread(target=film)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def open_raw(port: int, request: str) -> socket.socket:
    """A client that takes in very little before it must read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(request.encode())
    return client


def _data(client: socket.socket) -> bytes:
    """What comes next; nothing where the server has hung up, in order or not."""
    try:
        return client.recv(4096)
    except ConnectionResetError:
        return b""


def ages_of(port: int, count: int) -> list[float]:
    """What a client that reads sees: ages of pictures (ms)."""
    ages = []
    with connect(f"ws://127.0.0.1:{port}{API}/views", proxy=None) as views:
        after = 0
        for _ in range(count):
            views.send(json.dumps({"source": "door", "size": "full", "after": after}))
            message: Any = views.recv(5)
            header = json.loads(message[4 : 4 + int.from_bytes(message[:4], "big")])
            after = header["number"]
            ages.append(header["age_ms"])
    return ages


def test_clients_that_never_read_delay_nobody(serve: Callable[..., Any]) -> None:
    served = serve(most_cpu=1.0)
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    with filming(served, noise):
        alone = ages_of(served.port, 8)
        stuck = [open_raw(served.port, GET_VIEW) for _ in range(6)]
        try:
            among = ages_of(served.port, 8)
            assert served.client.get(f"{API}/sources").elapsed.total_seconds() < 1
        finally:
            for client in stuck:
                client.close()
    assert float(np.median(among)) < 3 * float(np.median(alone)) + 100


def test_a_client_that_never_reads_is_given_little_and_let_go(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sinks.dashboard import motion_jpeg

    monkeypatch.setattr(motion_jpeg, "SEND_TIMEOUT_S", 0.3)
    served = serve(most_cpu=1.0)
    noise = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
    with filming(served, noise):
        client = open_raw(served.port, GET_VIEW)
        began = time.monotonic()
        # The server ends the response; what it has sent until then is what the system's buffers hold.
        client.settimeout(8)
        threading.Event().wait(1.5)
        received = 0
        while data := client.recv(65536):
            received += len(data)
        client.close()
    assert time.monotonic() - began < 8
    assert 100_000 < received < 3_000_000


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no TCP_USER_TIMEOUT")
def test_a_client_that_never_reads_is_cut_off(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not hold one of the connections for ever."""
    from sinks.dashboard import motion_jpeg

    monkeypatch.setattr(motion_jpeg, "SEND_TIMEOUT_S", 0.2)
    monkeypatch.setattr(server, "STUCK_TIMEOUT_S", 0.5)
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    served = serve(most_cpu=1.0)
    noise = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
    with filming(served, noise), ExitStack() as clients:
        for _ in range(2):
            clients.enter_context(open_raw(served.port, GET_VIEW))
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            try:
                assert served.client.get(f"{API}/sources").status_code == 200
                return
            except httpx.TransportError:
                threading.Event().wait(0.2)
    raise AssertionError("the two still hold both connections")


def test_a_connection_that_says_nothing_is_closed(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 0.2)
    port = serve().port
    part = "GET /nothing HTTP/1.1\r\nHost: 127.0"
    # Nothing, a part of a request, and a part of a second one.
    for first, second in (("", ""), (part, ""), (f"{part}.0.1\r\n\r\n", part)):
        with open_raw(port, first) as client:
            client.settimeout(5)
            received = _data(client) if second else b""
            client.sendall(second.encode())
            while data := _data(client):
                received += data
            assert received.count(b"HTTP/1.1 404") == bool(second)


def test_a_body_that_does_not_come_is_not_waited_for(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sinks.dashboard import access

    monkeypatch.setattr(access, "BODY_TIMEOUT_S", 0.2)
    fields = "Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 50"
    head = f"POST {API}/sources HTTP/1.1\r\n{fields}\r\n\r\n"
    with open_raw(serve().port, head) as client:
        client.settimeout(5)
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_too_many_connections_are_refused_and_the_first_go_on(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 4)
    served = serve()
    assert served.client.get(f"{API}/sources").status_code == 200
    held = [open_raw(served.port, "") for _ in range(8)]
    try:
        closed = 0
        for client in held:
            client.settimeout(0.5)
            try:
                closed += client.recv(1) == b""
            except ConnectionResetError:
                closed += 1
            except TimeoutError:
                continue
        assert closed == 5
        assert served.client.get(f"{API}/sources").status_code == 200
    finally:
        for client in held:
            client.close()


def test_the_end_is_quick_whoever_is_there(serve: Callable[..., Any]) -> None:
    served = serve()
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    waiting = f"GET {API}/sources/yard/view.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with ExitStack() as clients:
        with filming(served, noise):
            for begun in (GET_VIEW, GET_VIEW, GET_VIEW, "GET /", waiting):
                clients.enter_context(open_raw(served.port, begun))
            live, _ = (
                clients.enter_context(connect(f"ws://127.0.0.1:{served.port}{API}/{path}", proxy=None))
                for path in ("live", "views")
            )
            live.recv(3)
            threading.Event().wait(0.3)
        began = time.monotonic()
        served.sink.close()
        took_s = time.monotonic() - began
    assert took_s < 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dashboard")]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", served.port), timeout=2)
