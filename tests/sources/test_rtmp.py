"""RTMP from a real server (nginx with its RTMP module), fed by a real push."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import SourceError
from pipeline.core.url import Url
from sources.network import NetworkConfig, NetworkSource
from sources.reconnect import ReconnectConfig, ReconnectingSource

pytestmark = pytest.mark.timeout(60)

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")


class RtmpServer:
    """nginx that takes a push of /live/cam and hands it out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"rtmp://127.0.0.1:{self.port}/live/cam"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        configuration = self._folder / "nginx.conf"
        configuration.write_text(
            f"load_module {MODULE}; daemon off; master_process off; pid {self._folder}/pid; error_log stderr warn;\n"
            "events {}\n"
            f"rtmp {{ server {{ listen 127.0.0.1:{self.port}; application live {{ live on; }} }} }}\n"
        )
        command = [NGINX, "-p", str(self._folder), "-c", str(configuration), "-e", "stderr"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        waited = threading.Event()
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            waited.wait(0.01)
        raise AssertionError("nginx did not listen within 5 s")

    def kill(self) -> None:
        """It is gone at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Pusher(threading.Thread):
    """Pushes stamped pictures at 25 per second until it is stopped or the server is gone."""

    def __init__(self, url: str, stamped: ModuleType) -> None:
        super().__init__(name="push")
        self._url, self._stamped = url, stamped
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            with av.open(self._url, "w", format="flv") as out:
                options = {"tune": "zerolatency", "preset": "ultrafast"}
                stream = out.add_stream("libx264", rate=25, options=options)
                stream.width, stream.height, stream.pix_fmt, stream.gop_size = 320, 240, "yuv420p", 10
                begun_s, number = time.monotonic(), 0
                while not self._stop_asked.wait(max(begun_s + number / 25 - time.monotonic(), 0)):
                    grey = np.frombuffer(self._stamped.draw(320, 240, 0), np.uint8).reshape(240, 320)
                    frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
                    frame.pts = number
                    out.mux(stream.encode(frame))
                    number += 1
        except av.FFmpegError:
            pass  # The test took the server away.

    def end(self) -> None:
        self._stop_asked.set()
        self.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RtmpServer]:
    if not Path(NGINX).exists() or not MODULE.exists():
        pytest.skip("needs the Debian packages nginx-light and libnginx-mod-rtmp")
    server = RtmpServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def pusher(server: RtmpServer, stamped: ModuleType) -> Iterator[Pusher]:
    pusher = Pusher(server.url, stamped)
    pusher.start()
    yield pusher
    pusher.end()


def make(server: RtmpServer) -> NetworkSource:
    return NetworkSource(NetworkConfig(url=Url(server.url)), source_id="cam", clock=MonotonicClock())


def test_frames_are_fresh_and_the_end_of_the_server_is_an_error(
    server: RtmpServer, pusher: Pusher, stamped: ModuleType
) -> None:
    source = make(server)
    assert source.open().is_live
    ages = []
    for _ in range(50):
        frame = source.read()
        assert frame is not None
        ages.append(stamped.age_ms(frame.image))
    assert np.median(ages[25:]) < 1000
    server.kill()
    with pytest.raises(SourceError, match=r"broke|ended") as raised:
        list(iter(source.read, None))
    assert raised.value.retryable
    source.close()


def test_a_stream_comes_back_with_its_server(server: RtmpServer, pusher: Pusher, stamped: ModuleType) -> None:
    source = ReconnectingSource(
        ReconnectConfig(first_delay_s=0.1), lambda: make(server), source_id="cam", clock=MonotonicClock()
    )
    source.open()
    before = source.read()
    server.kill()
    pusher.end()
    server.start()
    again = Pusher(server.url, stamped)
    again.start()
    made_ms = stamped.now_ms()
    frame = before
    while frame is not None and stamped.read(frame.image)[0] < made_ms:
        frame = source.read()
    assert frame is not None
    assert source.counters["reconnects"] == 1
    source.close()
    again.end()


def test_a_path_that_nobody_pushes_is_told(server: RtmpServer) -> None:
    source = NetworkSource(
        NetworkConfig(url=Url(f"{server.url}-not-there"), open_timeout_s=1.5, read_timeout_s=1.5),
        source_id="cam",
        clock=MonotonicClock(),
    )
    with pytest.raises(SourceError, match=r"1\.5 s"):
        source.open()
    source.close()
