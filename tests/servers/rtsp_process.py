"""An RTSP server as a process that can be killed, frozen and started again on its port."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"
"""Has GStreamer's bindings where they are installed at all."""
SERVER = Path(__file__).resolve().parent / "rtsp_server.py"


class MissingServerError(RuntimeError):
    """GStreamer's RTSP server is not installed here."""


class RtspServer:
    """Runs rtsp_server.py, or another program. Its arguments may be changed between starts; the port stays."""

    def __init__(self, *arguments: str, program: Path = SERVER) -> None:
        self._program = program
        self.arguments = arguments
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it listens. Raises MissingServerError, RuntimeError."""
        if not Path(SYSTEM_PYTHON).exists():
            raise MissingServerError(f"missing: {SYSTEM_PYTHON}")
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(self._program), "--port", str(self.port), *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line.startswith("ready"):
            message = self._process.stderr.read().strip()
            self.kill()
            raise (MissingServerError if message.startswith("missing") else RuntimeError)(message)
        self.port = int(line.split()[1])

    def url(self, credentials: str = "", path: str = "/live", port: int | None = None) -> str:
        """Where a reader finds it; `port` is that of a proxy before it."""
        return f"rtsp://{credentials}127.0.0.1:{port or self.port}{path}"

    def freeze(self) -> None:
        """It stands still, its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def change_size(self) -> None:
        """Its pictures get the other size, in the middle of the stream."""
        self._signal(signal.SIGUSR1)

    def kill(self) -> None:
        """It is gone at once. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)
