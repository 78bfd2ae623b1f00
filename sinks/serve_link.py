"""Keeps the process of `sinks.serve_process` alive and carries pictures to it."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import IO

from pipeline.core.errors import SinkError
from sinks.serve_process import CONFIG, HEADER, PICTURE, STREAM

logger = logging.getLogger(__name__)

_PROGRAM = Path(__file__).with_name("serve_process.py")
_PYTHON = "/usr/bin/python3"
"""The system's own, which has the bindings that the distribution's packages bring."""
_PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)
_START_S = 15.0
_STUCK_S = 2.0
"""A server that takes nothing for this long has frozen: it always reads, whatever its viewers do."""
_FIRST_DELAY_S, _MAX_DELAY_S = 0.2, 10.0
_STEADY_S = 30.0


class ServeLink:
    """The server process: started, fed, and started anew when it dies or freezes. Any thread may call it.

    Args:
        address: network address to listen on.
        port: 0 = any free one.
        user: who may watch; empty = everybody.
        password: of the user.

    Attributes:
        port: where the server listens.
        n_restarts: how often it was started anew.

    Raises:
        SinkError: the server is not installed, or cannot listen there.
    """

    def __init__(self, address: str, port: int, user: str = "", password: str = "") -> None:
        self._config = {"address": address, "user": user, "password": password}
        self.port = port
        self._lock = threading.Lock()
        self._paths: list[str] = []
        self._watched: set[int] = set()
        self._keys: set[int] = set()
        self._socket: socket.socket | None = None
        self._closing = threading.Event()
        self.n_restarts = 0
        self._process: subprocess.Popen[str] | None = None
        self._process = self._start()
        self._thread = threading.Thread(target=self._supervise, name="rtsp-serve", daemon=False)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid if self._process is not None else 0

    def add(self, path: str) -> int:
        """Serve one more stream at `/name`. Returns its number."""
        with self._lock:
            self._paths.append(path)
            self._send(STREAM, len(self._paths) - 1, 0, path.encode())
            return len(self._paths) - 1

    def is_watched(self, number: int) -> bool:
        """Whether anybody wants the stream's pictures."""
        return number in self._watched

    def takes_key(self, number: int) -> bool:
        """Whether a viewer waits for a key frame of the stream; asked once for each."""
        with self._lock:
            wanted = number in self._keys
            self._keys.discard(number)
            return wanted

    def send(self, number: int, pts_ns: int, data: bytes) -> bool:
        """Pass on a picture. Returns whether the server took it; it waits `_STUCK_S` at most."""
        with self._lock:
            return self._send(PICTURE, number, pts_ns, data)

    def close(self) -> None:
        """End the server. Idempotent."""
        self._closing.set()
        with self._lock:
            self._hang_up()
        self._thread.join()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[str]:
        """Start the process and wait until it listens. Raises SinkError."""
        ours, theirs = socket.socketpair()
        ours.settimeout(_STUCK_S)
        with theirs:
            try:
                # A session of its own: Ctrl-C stops the pipeline, and the pipeline then ends the server.
                process = subprocess.Popen(
                    [_PYTHON, "-I", str(_PROGRAM)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise _not_installed(f"{_PYTHON}: {error.strerror}") from error
        with self._lock:
            self._socket = ours
            self._send(CONFIG, 0, 0, json.dumps({**self._config, "port": self.port}).encode())
            watchdog = threading.Timer(_START_S, process.kill)
            watchdog.start()
            kind, _, value = _stdout(process).readline().strip().partition(" ")
            watchdog.cancel()
            watchdog.join()
            if kind == "ready":
                self.port = int(value)
                for number, path in enumerate(self._paths):
                    self._send(STREAM, number, 0, path.encode())
                return process
            self._hang_up()
        process.kill()
        process.wait()
        _stdout(process).close()
        if kind == "missing":
            raise _not_installed(value)
        where = f"{self._config['address']}:{self.port}"
        raise SinkError(f"rtsp-serve: wanted to listen on {where}, found: {value or 'the server does not answer'}")

    def _supervise(self) -> None:
        """Listen to the server, and start it anew for as long as it is wanted."""
        delay_s = _FIRST_DELAY_S
        while self._process is not None:
            began_s = time.monotonic()
            self._listen(self._process)
            if self._closing.is_set():
                return
            if time.monotonic() - began_s > _STEADY_S:
                delay_s = _FIRST_DELAY_S
            logger.warning("rtsp-serve: the server process ended; starting it anew")
            while not self._closing.wait(delay_s):
                delay_s = min(delay_s * 2, _MAX_DELAY_S)
                try:
                    self._process = self._start()
                except SinkError as error:
                    logger.debug("%s", error)
                    continue
                self.n_restarts += 1
                break
            else:
                return

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Take the server's answers until it has ended."""
        for line in _stdout(process):
            kind, _, rest = line.strip().partition(" ")
            number, _, on = rest.partition(" ")
            with self._lock:
                if kind == "watch" and on == "0":
                    self._watched.discard(int(number))
                elif kind in ("watch", "key"):
                    self._watched.add(int(number))
                    self._keys.add(int(number))
        with self._lock:
            self._hang_up()
        process.wait()
        _stdout(process).close()

    def _send(self, kind: int, number: int, pts_ns: int, body: bytes) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.sendall(HEADER.pack(kind, number, pts_ns, len(body)) + body)
        except OSError:
            self._hang_up()
            return False
        return True

    def _hang_up(self) -> None:
        """Without its input the server ends; one that has frozen is killed."""
        ours, self._socket = self._socket, None
        self._watched.clear()
        self._keys.clear()
        if ours is not None:
            ours.close()
            if self._process is not None:
                self._process.kill()


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdout is None:
        raise SinkError("rtsp-serve: the server was started without a way to answer")
    return process.stdout


def _not_installed(what: str) -> SinkError:
    return SinkError(
        f"rtsp-serve: wanted GStreamer's RTSP server, found it missing ({what}); "
        f"on Debian or Ubuntu: apt install {_PACKAGES}"
    )
