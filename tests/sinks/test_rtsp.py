from __future__ import annotations

import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from pipeline.core.errors import SinkError, UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.rtsp import RtspConfig, RtspSink

Make = Callable[..., FrameResult]
Info = Callable[..., StreamInfo]
TIMEOUT_S = 0.6


class PushServer:
    """tests/sinks/push_server.py in its process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self.port = int(self._stdout.readline())

    def received(self) -> dict[str, Any]:
        self._stdin.close()
        return json.loads(self._stdout.readline())


@contextmanager
def serving(behaviour: str) -> Iterator[PushServer]:
    arguments = [sys.executable, str(Path(__file__).with_name("push_server.py")), behaviour]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield PushServer(process)
        finally:
            process.kill()


def make_sink(port: int, info: StreamInfo) -> RtspSink:
    url = f"rtsp://user:canary-pass@127.0.0.1:{port}/live"
    config = RtspConfig(url=url, timeout_s=TIMEOUT_S, crf=5, threads=1, max_attempts=1)
    sink = RtspSink(config, class_names=("person",))
    sink.open(info)
    return sink


def push(sink: RtspSink, make_result: Make, n: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for i in range(n):
        sink.write(make_result(i, image=np.roll(noise, i, 0), captured_ns=i * 50_000_000))


def test_frames_arrive_with_their_times(make_result: Make, make_info: Info) -> None:
    with serving("accept") as server:
        sink = make_sink(server.port, make_info(is_live=True))
        push(sink, make_result, 10)
        sink.close()
        sink.close()
        received = server.received()
    assert [m for m in received["methods"] if m != "OPTIONS"] == ["ANNOUNCE", "SETUP", "RECORD", "TEARDOWN"]
    assert "H264/90000" in received["sdp"]
    times = sorted(set(received["rtp_times"]))
    assert np.diff(times).tolist() == [4500] * 9


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("refuse", "404 Not Found"),
        ("silent", "did not answer"),
        ("deaf", "took no data"),
        ("drop", "closed the connection|Broken pipe|reset by peer"),
    ],
)
def test_a_server_that_fails_ends_in_one_line_in_bounded_time(
    make_result: Make, make_info: Info, behaviour: str, said: str
) -> None:
    with serving(behaviour) as server:
        sink = make_sink(server.port, make_info(is_live=True))
        began = time.monotonic()
        with pytest.raises(SinkError, match=said) as caught:
            push(sink, make_result, 2000)
        with pytest.raises(SinkError):
            push(sink, make_result, 1)
        sink.close()
        assert time.monotonic() - began < 15
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_server(make_result: Make, make_info: Info) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sink = make_sink(port, make_info())
    with pytest.raises(SinkError, match="Connection refused") as caught:
        push(sink, make_result, 1)
    sink.close()
    assert "canary" not in str(caught.value)


def test_the_password_is_not_in_the_configuration_s_text() -> None:
    assert "canary" not in repr(RtspConfig(url="rtsp://u:canary@host/live"))


@pytest.mark.parametrize("url", ["rtmp://u:canary@host/live", "rtsp:///live", "out.mp4"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="wanted rtsp://") as caught:
        RtspSink(RtspConfig(url=url), class_names=())
    assert "canary" not in str(caught.value)


def test_close_without_open_and_write_without_open(make_result: Make) -> None:
    sink = RtspSink(RtspConfig(url="rtsp://127.0.0.1:1/live"), class_names=())
    sink.close()
    with pytest.raises(SinkError, match="not open"):
        sink.write(make_result())


class RealServer:
    """tests/servers/rtsp_record_server.py in its process, and what it says."""

    def __init__(self, port: int = 0) -> None:
        program = Path(__file__).parents[1] / "servers" / "rtsp_record_server.py"
        self.process = subprocess.Popen(
            ["/usr/bin/python3", str(program), "--port", str(port)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        first = self.process.stdout.readline().split()
        if first[:1] != ["ready"]:
            self.end()
            pytest.skip(f"GStreamer's RTSP server is not installed: {first}")
        self.port = int(first[1])
        self.said: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,))
        self._reader.start()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self.said.put(line.strip())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        if hasattr(self, "_reader"):
            self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def real_servers() -> Iterator[Callable[[int], RealServer]]:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("the system's Python is not installed")
    begun: list[RealServer] = []

    def begin(port: int = 0) -> RealServer:
        begun.append(RealServer(port))
        return begun[-1]

    yield begin
    for server in begun:
        if server.process.poll() is None:
            server.end()


class Pusher:
    """Pushes 25 frames a second, and remembers how long the longest write took."""

    def __init__(self, sink: RtspSink, make_result: Make) -> None:
        self._sink, self._make = sink, make_result
        self._noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
        self._index = 0

    def until(self, done: Callable[[], bool], within_s: float) -> None:
        end = time.monotonic() + within_s
        pause = threading.Event()
        while not done():
            assert time.monotonic() < end, f"waited {within_s} s; counters {self._sink.counters}"
            image = np.roll(self._noise, self._index, 0)
            self._sink.write(self._make(self._index, image=image, captured_ns=time.monotonic_ns()))
            self._index += 1
            pause.wait(0.02)


def patient_sink(port: int, make_info: Info, **settings: Any) -> RtspSink:
    config = RtspConfig(
        url=f"rtsp://user:canary-pass@127.0.0.1:{port}/live",
        timeout_s=TIMEOUT_S,
        first_delay_s=0.1,
        max_delay_s=0.3,
        threads=1,
        **settings,
    )
    sink = RtspSink(config, class_names=("person",))
    sink.open(make_info(is_live=True))
    return sink


def has_said(server: RealServer, n: int) -> Callable[[], bool]:
    return lambda: server.said.qsize() >= n


def test_a_server_that_is_killed_and_comes_back_gets_the_stream_again(
    make_result: Make, make_info: Info, real_servers: Callable[..., RealServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = real_servers()
    sink = patient_sink(server.port, make_info)
    pusher = Pusher(sink, make_result)
    pusher.until(has_said(server, 5), 5)
    server.end()
    pusher.until(lambda: sink.counters["dropped_away"] >= 20, 5)
    again = real_servers(server.port)
    began = time.monotonic()
    pusher.until(has_said(again, 5), 5)
    assert time.monotonic() - began < 3
    pusher.until(lambda: any("is back after" in message for message in caplog.messages), 5)
    sink.close()
    assert again.said.get() == "picture key"
    assert sink.counters["reconnects"] == 1
    assert [("pictures are dropped" in m, "is back after" in m) for m in caplog.messages] == [
        (True, False),
        (False, True),
    ]
    assert "canary" not in caplog.text


def test_a_server_that_freezes_is_left_and_found_again(
    make_result: Make, make_info: Info, real_servers: Callable[..., RealServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = real_servers()
    # So much that the buffers between us are full soon.
    sink = patient_sink(server.port, make_info, bitrate_kbps=60_000)
    pusher = Pusher(sink, make_result)
    pusher.until(has_said(server, 5), 5)
    server.process.send_signal(signal.SIGSTOP)
    pusher.until(lambda: sink.counters["dropped_away"] >= 50, 30)
    server.process.send_signal(signal.SIGCONT)
    pusher.until(lambda: sink.counters["reconnects"] >= 1 and any("is back after" in m for m in caplog.messages), 10)
    sink.close()
    assert sum("pictures are dropped" in message for message in caplog.messages) == 1
    assert "canary" not in caplog.text


def test_a_frozen_server_does_not_hold_up_other_threads(make_result: Make, make_info: Info) -> None:
    """Its port is open, so that the attempt to connect goes on for the whole time-out."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        config = RtspConfig(url=f"rtsp://127.0.0.1:{frozen.getsockname()[1]}/live", timeout_s=1.0, wait_for_first=True)
        sink = RtspSink(config, class_names=())
        sink.open(make_info(is_live=True))
        writing = threading.Thread(target=sink.write, args=(make_result(0),))
        writing.start()
        longest = 0.0
        before = time.monotonic()
        while writing.is_alive():
            writing.join(0.01)
            now = time.monotonic()
            longest, before = max(longest, now - before), now
        sink.close()
    assert sink.counters["dropped_away"] == 1
    assert longest < 0.6


def test_a_server_may_come_later(make_result: Make, make_info: Info, real_servers: Callable[..., RealServer]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sink = patient_sink(port, make_info, wait_for_first=True)
    pusher = Pusher(sink, make_result)
    pusher.until(lambda: sink.counters["dropped_away"] >= 10, 5)
    server = real_servers(port)
    pusher.until(has_said(server, 5), 5)
    sink.close()
    assert sink.counters["reconnects"] == 0


def test_attempts_are_limited_and_spread(make_result: Make, make_info: Info) -> None:
    """Attempts at 0, 0.5, 1.5, 3.5 and 6.5 s: the waits double up to the cap."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    clock = [0.0]
    config = RtspConfig(
        url=f"rtsp://127.0.0.1:{port}/live", wait_for_first=True, max_attempts=5, max_delay_s=3.0, jitter=0.0
    )
    sink = RtspSink(config, class_names=(), now_s=lambda: clock[0])
    sink.open(make_info(is_live=True))
    for step in range(26):
        clock[0] = step / 4
        sink.write(make_result())
    clock[0] = 6.5
    with pytest.raises(SinkError, match="Connection refused"):
        sink.write(make_result())
    assert sink.counters == {"dropped_away": 27, "reconnects": 0}
    sink.close()
