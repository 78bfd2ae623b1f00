"""RTSP streams that lose packets, change, come over the wrong transport, and readers that are slow."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from pipeline.core.clock import MonotonicClock
from pipeline.core.detections import Detections
from pipeline.core.errors import SourceError
from pipeline.core.frame import Frame
from pipeline.core.url import Url
from pipeline.runtime.runner import Runner
from sources import rtsp_transport
from sources.network import NetworkConfig, NetworkSource

pytestmark = pytest.mark.timeout(60)
FRAME_MS = 40


def source_of(url: str, **config: object) -> NetworkSource:
    return NetworkSource(NetworkConfig(**{"url": Url(url), **config}), source_id="net", clock=MonotonicClock())


def take(source: NetworkSource, n: int) -> list[Frame]:
    return [frame for _ in range(n) if (frame := source.read()) is not None]


@pytest.mark.parametrize("loss", [0.02, 0.3])
def test_pictures_with_lost_packets_are_left_out(rtsp_server: Callable, stamped: ModuleType, loss: float) -> None:
    """Half a picture must not pass for a whole one: the stamp in its upper half would be gone."""
    server = rtsp_server("--loss", str(loss), "--fps", "50")
    source = source_of(server.url())
    source.open()
    ages, end = [], time.monotonic() + 3
    while time.monotonic() < end:
        ages += [stamped.age_ms(frame.image) for frame in take(source, 1)]
    source.close()
    spoilt = sum(age > 2000 for age in ages)
    assert len(ages) >= 3
    assert source.counters["corrupt"] > 3
    # FFmpeg does not notice every lost picture.
    assert spoilt <= max(1, 0.02 * len(ages))


def test_b_frames_come_in_order(rtsp_server: Callable, stamped: ModuleType) -> None:
    source = source_of(rtsp_server("--b-frames", "2").url())
    source.open()
    made = [stamped.read(frame.image)[0] for frame in take(source, 40)]
    source.close()
    assert np.all(np.diff(made) > 0)


def test_the_size_may_change_in_the_middle(rtsp_server: Callable, stamped: ModuleType) -> None:
    server = rtsp_server()
    source = source_of(server.url())
    source.open()
    take(source, 5)
    server.change_size()
    frames = take(source, 40)
    source.close()
    assert frames[-1].shape_hw == (270, 480)
    assert stamped.age_ms(frames[-1].image) < 2000
    assert source.counters["corrupt"] == 0


def test_udp_that_brings_nothing_gives_way_to_tcp_once(
    rtsp_server: Callable, fault_proxy: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reader's ports are changed on the way: as behind a firewall, it never sees a packet."""
    monkeypatch.setattr(rtsp_transport, "UDP_TRIAL_S", 1.0)
    server = rtsp_server()
    proxy = fault_proxy(server.port)
    asked: list[bytes] = []

    def never_seen(data: bytes) -> bytes:
        asked.extend(re.findall(rb"^Transport: \S+", data, re.MULTILINE))
        return re.sub(rb"client_port=\d+-\d+", b"client_port=9-10", data)

    proxy.rewrite = never_seen
    url = server.url(port=proxy.port)
    memory = rtsp_transport.RtspTransport("udp")
    config = NetworkConfig(url=Url(url), transport="udp")
    for _ in range(2):
        source = NetworkSource(config, source_id="net", clock=MonotonicClock(), transport=memory)
        source.open()
        assert len(take(source, 10)) == 10
        source.close()
    assert memory.current == "tcp"
    assert ["UDP" in str(transport) for transport in asked] == [True, False, False]
    assert [r.message for r in caplog.records].count(
        f"{url}: no picture came over UDP (a firewall?); using TCP from now on"
    ) == 1


def test_a_server_that_refuses_udp_is_read_over_tcp(rtsp_server: Callable) -> None:
    source = source_of(rtsp_server("--only", "tcp").url(), transport="udp")
    source.open()
    assert len(take(source, 5)) == 5
    source.close()


def test_a_server_that_is_busy_with_the_refused_session_is_asked_again(
    rtsp_server: Callable, fault_proxy: Callable
) -> None:
    """The first connection is refused for UDP; the second one asks for what no server has (551)."""
    server = rtsp_server("--only", "tcp")
    proxy = fault_proxy(server.port)
    proxy.rewrite = lambda data: (
        data.replace(b"CSeq:", b"Require: the-moon\r\nCSeq:") if proxy.n_connections == 2 else data
    )
    source = source_of(server.url(port=proxy.port), transport="udp")
    source.open()
    assert len(take(source, 5)) == 5
    source.close()
    # The server itself may be busy, too.
    assert proxy.n_connections >= 3


def test_a_server_that_stays_busy_fails_within_the_open_time_out(rtsp_server: Callable, fault_proxy: Callable) -> None:
    server = rtsp_server()
    proxy = fault_proxy(server.port)
    proxy.rewrite = lambda data: data.replace(b"CSeq:", b"Require: the-moon\r\nCSeq:")
    source = source_of(server.url(port=proxy.port), open_timeout_s=0.7)
    begun_s = time.monotonic()
    with pytest.raises(SourceError, match="5XX") as raised:
        source.open()
    source.close()
    assert time.monotonic() - begun_s < 2
    assert raised.value.retryable
    assert 2 <= proxy.n_connections <= 3


def test_a_first_frame_comes_soon_after_a_key_frame(rtsp_server: Callable) -> None:
    server = rtsp_server("--gop", "1")
    warm = source_of(server.url())
    warm.open()
    begun_s = time.monotonic()
    source = source_of(server.url())
    source.open()
    took_s = time.monotonic() - begun_s
    source.close()
    warm.close()
    assert took_s < 0.5


class SlowDetector:
    """Two frames a second; notes how old each frame is when it gets it."""

    class_names = ("thing",)

    def __init__(self, stamped: ModuleType) -> None:
        self._stamped = stamped
        self.ages_ms: list[int] = []

    def warmup(self) -> None: ...

    def detect(self, frames: list[Frame]) -> list[Detections]:
        self.ages_ms += [self._stamped.age_ms(frame.image) for frame in frames]
        threading.Event().wait(0.5)
        return [Detections.empty() for _ in frames]

    def close(self) -> None: ...


def test_a_slow_detector_gets_fresh_frames(rtsp_server: Callable, stamped: ModuleType) -> None:
    detector = SlowDetector(stamped)
    source = source_of(rtsp_server().url())
    read, read_ages_ms = source.read, []

    def noting_read() -> Frame | None:
        frame = read()
        if frame is not None:
            read_ages_ms.append(stamped.age_ms(frame.image))
        return frame

    source.read = noting_read
    runner = Runner([source], detector)
    timer = threading.Timer(10, runner.stop)
    timer.start()
    report = runner.run()
    timer.join()
    account = report.sources["net"]
    assert 15 <= account.emitted <= 25
    assert account.dropped["newer"] == account.produced - account.emitted > 180
    # A frame's age when it is decoded is the camera's, the network's and the decoder's, on a machine that may be busy.
    for q in (50, 90):
        assert np.percentile(detector.ages_ms[1:], q) <= 2 * FRAME_MS + np.percentile(read_ages_ms, q)
