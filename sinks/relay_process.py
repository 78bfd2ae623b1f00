"""The process behind `sinks.tcp_relay`: carries bytes between one local connection and one RTSP server.

It needs the standard library only. Run as a script with the server's host, its port and a time-out in seconds. It
answers on standard output, a line each: `port N` once the server has answered a first request and N is listened on, and
at the end `end`, or `broken` and why.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time

_CHUNK_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20
"""What lies here at most; with more, the writer waits."""
_TICK_S = 0.1


def main(host: str, port: int, timeout_s: float) -> str:
    """Connect, offer a port, carry data until one side ends. Returns the last line of the answer."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as server:
            greet(server, host, port, timeout_s)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                listener.settimeout(timeout_s)
                print("port", listener.getsockname()[1], flush=True)  # noqa: T201
                client, _ = listener.accept()
            with client, selectors.DefaultSelector() as selector:
                try:
                    return pass_on(client, server, timeout_s, selector)
                except TimeoutError:
                    return f"broken the server took no data for {timeout_s:g} s"
    except OSError as error:
        return f"broken {error.strerror or error}"


def greet(server: socket.socket, host: str, port: int, timeout_s: float) -> None:
    """Ask for something harmless and wait for the answer: a process that has frozen still has its port open.

    It is found out here, where nothing else waits: FFmpeg's first request holds up the whole pipeline until its answer.

    Raises:
        OSError: no answer in time, or the server closed the connection.
    """
    # Where the system knows of it: data that nobody acknowledges ends the connection, as when the network is cut.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(timeout_s * 1000))
    name = f"[{host}]" if ":" in host else host
    server.sendall(f"OPTIONS rtsp://{name}:{port}/ RTSP/1.0\r\nCSeq: 0\r\nUser-Agent: Tracklight\r\n\r\n".encode())
    until, answer = time.monotonic() + timeout_s, b""
    while b"\r\n\r\n" not in answer:
        try:
            server.settimeout(max(until - time.monotonic(), 0.001))
            data = server.recv(_CHUNK_BYTES)
        except TimeoutError:
            raise OSError(f"the server did not answer for {timeout_s:g} s") from None
        if not data:
            raise OSError("the server closed the connection")
        answer += data


def pass_on(client: socket.socket, server: socket.socket, timeout_s: float, selector: selectors.BaseSelector) -> str:
    """Carry data both ways until one side ends or the server does not answer or take anything for `timeout_s`."""
    sending, receiving = _Way(client, server), _Way(server, client)
    for end in (client, server):
        end.setblocking(False)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while not sending.ended or sending.has_data:
        _watch(selector, client, reading=sending.has_room, writing=receiving.has_data)
        _watch(selector, server, reading=receiving.has_room, writing=sending.has_data)
        selector.select(_TICK_S)
        sending.step()
        receiving.step()
        if receiving.ended:
            return "broken the server closed the connection"
        if not sending.is_media and time.monotonic() - max(sending.moved_at, receiving.moved_at) > timeout_s:
            return f"broken the server did not answer for {timeout_s:g} s"
        if sending.waiting_s > timeout_s:
            return f"broken the server took no data for {timeout_s:g} s"
    return "end"


class _Way:
    """Data from one socket to the other."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self._source = source
        self._target = target
        self._buffer = bytearray()
        self.moved_at = time.monotonic()
        self.is_media = False
        """Whether requests are over: media packets between RTSP messages begin with `$` (RFC 2326, section 10.12)."""
        self.ended = False

    @property
    def has_room(self) -> bool:
        return not self.ended and len(self._buffer) < _BUFFER_BYTES

    @property
    def has_data(self) -> bool:
        return bool(self._buffer)

    @property
    def waiting_s(self) -> float:
        """How long the target has taken nothing of what lies here."""
        return time.monotonic() - self.moved_at if self._buffer else 0.0

    def step(self) -> None:
        """Take and give what is possible without waiting. Raises OSError when a socket fails."""
        with contextlib.suppress(BlockingIOError):
            if self.has_room:
                data = self._source.recv(_CHUNK_BYTES)
                self.ended = not data
                self.is_media = self.is_media or data.startswith(b"$")
                if not self._buffer:
                    self.moved_at = time.monotonic()
                self._buffer += data
        with contextlib.suppress(BlockingIOError):
            if self._buffer:
                del self._buffer[: self._target.send(self._buffer)]
                self.moved_at = time.monotonic()


def _watch(selector: selectors.BaseSelector, end: socket.socket, *, reading: bool, writing: bool) -> None:
    """Wake up for what this end is wanted for now; an end wanted for nothing is left out."""
    if end in selector.get_map():
        selector.unregister(end)
    events = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if writing else 0)
    if events:
        selector.register(end, events)


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])), flush=True)  # noqa: T201
