from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    sink = RtspSink(RtspConfig(url=url, timeout_s=TIMEOUT_S, crf=5, threads=1), class_names=("person",))
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
