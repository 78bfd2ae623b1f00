"""A TCP connection of FFmpeg's that cannot block it for ever.

Writing to a server that has stopped reading blocks inside FFmpeg, and neither PyAV nor FFmpeg's own time-out ends it.
So FFmpeg writes to a relay on the loopback interface, which never blocks, and the relay to the server. When the server
takes nothing for too long, the relay closes both ends, and FFmpeg's call fails at once. The relay is a process of its
own, because PyAV holds Python's interpreter lock while FFmpeg opens a connection: a thread could not answer it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).with_name("relay_process.py")
_LINGER_S = 1.0


class TcpRelay:
    """One connection to a server, offered once on a port of 127.0.0.1.

    Args:
        host: the server.
        port: its port.
        timeout_s: longest time for the connection to be made, and for the server to take no data.

    Raises:
        ConnectionError: the server cannot be reached; the text says why.
    """

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        # A session of its own: Ctrl-C stops the pipeline, and the pipeline then ends the relay.
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_PROGRAM), host, str(port), str(timeout_s)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._broken: str | None = None
        kind, _, value = self._read_line().partition(" ")
        if kind != "port":
            self.close()
            raise ConnectionError(value or "the relay process ended")
        self.port = int(value)

    def broken(self) -> str | None:
        """Why the connection ended by itself, or None while it holds."""
        if self._process.poll() is not None and self._broken is None:
            _, _, self._broken = self._read_line().partition(" ")
        return self._broken or None

    def close(self) -> None:
        """Let the rest of the data go for a moment if FFmpeg has closed its end, then cut. Idempotent."""
        try:
            self._process.wait(_LINGER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.broken()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read_line(self) -> str:
        stdout = self._process.stdout
        return stdout.readline().strip() if stdout is not None and not stdout.closed else ""
