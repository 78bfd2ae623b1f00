from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest

from pipeline.core.errors import SinkError, UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks import serve_link
from sinks.rtsp_serve import RtspServeConfig, RtspServeSink

Make = Callable[..., FrameResult]
Info = Callable[..., StreamInfo]
FRAME_S = 0.04
BITS = 12
READER = """
import sys, time, av
container = av.open(sys.argv[1], options={"rtsp_transport": sys.argv[2], "probesize": "32", "analyzeduration": "0"},
                    timeout=5)
for n, frame in enumerate(container.decode(video=0)):
    grey = frame.to_ndarray(format="gray")
    number = sum(1 << bit for bit in range(12) if grey[120, bit * 24 + 12] > 128)
    print(number, time.monotonic(), flush=True)
    if n + 1 == int(sys.argv[3]):
        break
container.close()
"""


def counted(number: int) -> np.ndarray:
    """A picture with its number as twelve bright or dark fields."""
    image = np.full((240, 320, 3), 60, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            image[80:160, bit * 24 : bit * 24 + 24] = 255
    return image


class Camera(threading.Thread):
    """Writes 25 numbered pictures a second of each source, until it is stopped."""

    def __init__(self, sink: RtspServeSink, sources: tuple[str, ...], make_result: Make) -> None:
        super().__init__(name="camera")
        self._sink, self._sources, self._make = sink, sources, make_result
        self._stopped = threading.Event()
        self.sent_s: list[float] = []
        self.longest_s = 0.0

    def run(self) -> None:
        began = time.monotonic()
        while not self._stopped.is_set():
            index = len(self.sent_s)
            before = time.monotonic()
            self.sent_s.append(before)
            for name in self._sources:
                image = counted(index % (1 << BITS))
                at_ns = time.monotonic_ns()
                self._sink.write(self._make(index, source_id=name, image=image, pts_s=index / 25, captured_ns=at_ns))
            self.longest_s = max(self.longest_s, time.monotonic() - before)
            self._stopped.wait(max(began + (index + 1) * FRAME_S - time.monotonic(), 0))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.fixture
def serving(make_result: Make, make_info: Info) -> Callable[..., Any]:
    @contextmanager
    def serve(*sources: str, **settings: Any) -> Iterator[tuple[RtspServeSink, Camera]]:
        sink = RtspServeSink(RtspServeConfig(**{"url": "0"} | settings), class_names=("person",))
        names = sources or ("cam",)
        try:
            for name in names:
                sink.open(make_info(name, is_live=True))
        except SinkError as error:
            if "apt install" in str(error):
                pytest.skip(str(error))
            raise
        camera = Camera(sink, names, make_result)
        camera.start()
        try:
            yield sink, camera
        finally:
            camera.stop()
            sink.close()

    return serve


class Viewer:
    """PyAV in a process of its own; reads so many pictures."""

    def __init__(self, url: str, transport: str, n: int) -> None:
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER, url, transport, str(n)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def watch(self) -> tuple[list[int], list[float]]:
        """Numbers of the pictures, and when each was seen (s)."""
        out, said = self._process.communicate(timeout=20)
        rows = [line.split() for line in out.splitlines()]
        assert rows, said
        return [int(row[0]) for row in rows], [float(row[1]) for row in rows]


def assert_whole(numbers: list[int], sink: RtspServeSink) -> None:
    """Every picture came once and in order, but for those that the sink says it left out (on a busy machine)."""
    steps = np.diff(numbers)
    assert (steps >= 1).all(), numbers
    assert int((steps - 1).sum()) <= sink.counters["too_slow"], numbers


def test_viewers_over_tcp_and_udp_see_every_picture_soon(serving: Callable[..., Any]) -> None:
    with serving() as (sink, camera):
        url = sink.urls["cam"]
        viewers = [Viewer(url, "tcp", 40), Viewer(url, "udp", 40)]
        seen = [viewer.watch() for viewer in viewers]
    assert urlsplit(url).path == "/cam"
    for numbers, times in seen:
        assert len(numbers) == 40
        assert_whole(numbers, sink)
        latency = [at - camera.sent_s[number] for number, at in zip(numbers, times, strict=True)]
        # FFmpeg's reader knows that a picture is whole when the next one begins: a frame of these is its own.
        assert np.median(latency) < 0.25


def test_one_who_joins_sees_a_picture_at_once(serving: Callable[..., Any]) -> None:
    with serving() as (sink, _):
        url = sink.urls["cam"]
        first = Viewer(url, "tcp", 75)
        threading.Event().wait(1.3)
        second = Viewer(url, "tcp", 10)
        numbers, times = second.watch()
        assert times[0] - second.began < 1.5
        assert_whole(numbers, sink)
        assert_whole(first.watch()[0], sink)


def test_each_source_has_its_stream_and_nobody_watching_costs_nothing(serving: Callable[..., Any]) -> None:
    with serving("a", "b", url="0/wall") as (sink, camera):
        assert [urlsplit(sink.urls[name]).path for name in "ab"] == ["/wall/a", "/wall/b"]
        numbers, _ = Viewer(sink.urls["b"], "tcp", 10).watch()
        n_written = len(camera.sent_s)
    assert len(numbers) == 10
    counters = sink.counters
    assert counters["unwatched"] + counters["too_slow"] >= n_written
    assert counters["sent"] < n_written
    assert counters["server_away"] == counters["restarts"] == 0


def test_a_slow_viewer_holds_up_nobody(serving: Callable[..., Any]) -> None:
    with serving(bitrate_kbps=20_000) as (sink, camera):
        url = urlsplit(sink.urls["cam"])
        with socket.create_connection(("127.0.0.1", url.port or 0)) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            session = ""
            for n, (method, target, extra) in enumerate(
                [
                    ("DESCRIBE", "", "Accept: application/sdp\r\n"),
                    ("SETUP", "/stream=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"),
                    ("PLAY", "", ""),
                ]
            ):
                text = f"{method} {url.geturl()}{target} RTSP/1.0\r\nCSeq: {n}\r\n{session}{extra}\r\n"
                slow.sendall(text.encode())
                answer = slow.recv(4096).decode(errors="replace")
                assert "200 OK" in answer
                found = [line for line in answer.splitlines() if line.startswith("Session:")]
                session = f"{found[0].split(';')[0]}\r\n" if found else session
            # It reads nothing from here on.
            numbers, _ = Viewer(url.geturl(), "tcp", 75).watch()
    assert len(numbers) == 75
    assert_whole(numbers, sink)
    assert camera.longest_s < 0.5
    assert sink.counters["too_slow"] < 25


def test_a_server_that_dies_or_freezes_is_started_anew(
    serving: Callable[..., Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_link, "_STUCK_S", 0.5)
    with serving(bitrate_kbps=20_000) as (sink, camera):
        url = sink.urls["cam"]
        Viewer(url, "tcp", 5).watch()
        os.kill(sink.server_pid, signal.SIGKILL)
        wait_for(lambda: sink.counters["restarts"] == 1)
        assert len(Viewer(url, "tcp", 5).watch()[0]) == 5
        staying = Viewer(url, "tcp", 1000)
        wait_for(lambda: sink.counters["sent"] > 60)
        os.kill(sink.server_pid, signal.SIGSTOP)
        wait_for(lambda: sink.counters["restarts"] == 2)
        assert len(Viewer(url, "tcp", 5).watch()[0]) == 5
        staying.watch()
    assert sum("starting it anew" in message for message in caplog.messages) == 2
    assert camera.longest_s < 0.5
    assert not child_processes()


def wait_for(done: Callable[[], bool], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    pause = threading.Event()
    while not done():
        assert time.monotonic() < end
        pause.wait(0.02)


def child_processes() -> list[str]:
    """Server processes of ours, dead ones included."""
    out = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True, check=False)
    return [line for line in out.stdout.splitlines() if "serve_process" in line or "defunct" in line]


def test_who_may_watch(serving: Callable[..., Any]) -> None:
    with serving(user="viewer", password="canary-secret") as (sink, _):
        url = sink.urls["cam"]
        with pytest.raises(av.HTTPUnauthorizedError):
            av.open(url, timeout=5)
        with pytest.raises(av.HTTPUnauthorizedError):
            av.open(url.replace("//", "//viewer:wrong@"), timeout=5)
        numbers, _ = Viewer(url.replace("//", "//viewer:canary-secret@"), "tcp", 5).watch()
        arguments = Path(f"/proc/{sink.server_pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{sink.server_pid}/environ").read_bytes()
    assert len(numbers) == 5
    assert b"canary" not in arguments + environment


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.4", "::", "camera.local"])
def test_others_need_a_password(address: str) -> None:
    with pytest.raises(UsageError, match="user and password where others can reach"):
        RtspServeSink(RtspServeConfig(url="8554", address=address), class_names=())
    RtspServeSink(RtspServeConfig(url="8554", address=address, user="u", password="canary"), class_names=())


def test_half_a_login_is_refused() -> None:
    with pytest.raises(UsageError, match="only one of them"):
        RtspServeSink(RtspServeConfig(url="8554", user="viewer"), class_names=())
    assert "canary" not in repr(RtspServeConfig(url="8554", user="viewer", password="canary"))


def test_a_port_that_is_taken(serving: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=f"wanted to listen on 127.0.0.1:{port}, found"), serving(url=str(port)):
            pass
    assert not child_processes()


def test_without_gstreamer_it_says_what_to_install(make_info: Info, monkeypatch: pytest.MonkeyPatch) -> None:
    # This Python has no bindings of GStreamer's.
    for python, said in ((sys.executable, "No module named 'gi'"), ("/no/such/python", "No such file")):
        monkeypatch.setattr(serve_link, "_PYTHON", python)
        sink = RtspServeSink(RtspServeConfig(url="0"), class_names=())
        with pytest.raises(SinkError, match="apt install") as caught:
            sink.open(make_info())
        sink.close()
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_write_without_open(make_result: Make) -> None:
    sink = RtspServeSink(RtspServeConfig(url="0"), class_names=())
    with pytest.raises(SinkError, match="not open"):
        sink.write(make_result())
    sink.close()


def test_the_server_ends_with_a_killed_pipeline(serving: Callable[..., Any]) -> None:
    with serving():
        pass
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from sinks.serve_link import ServeLink\n"
        "link = ServeLink('127.0.0.1', 0)\n"
        "print(link.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    wait_for(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    """A dead child of nobody's may wait for its reaper."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
