"""What every source does, whatever its kind. One line in `MAKERS` covers a new one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Source
from pipeline.core.url import Url
from sources.camera import CameraConfig, CameraSource
from sources.images import ImagesConfig, ImagesSource
from sources.network import NetworkConfig, NetworkSource
from sources.reconnect import ReconnectConfig, ReconnectingSource
from sources.replay import ReplayConfig, ReplaySource
from sources.video_file import VideoFileConfig, VideoFileSource

N = 12
CLOCK = MonotonicClock()
HUGE_S = 600.0


def video_file(place: Path) -> Source:
    return VideoFileSource(VideoFileConfig(path=place / "clip.mp4"), source_id="s", clock=CLOCK)


def images(place: Path) -> Source:
    return ImagesSource(ImagesConfig(path=str(place / "stills"), fps=10), source_id="s", clock=CLOCK)


def replay(place: Path) -> Source:
    return ReplaySource(ReplayConfig(speed=50), lambda: video_file(place), source_id="s", clock=CLOCK)


def network(place: Path) -> Source:
    """A pipe of MPEG-TS bytes over TCP: live."""
    config = NetworkConfig(url=Url((place / "url").read_text()), open_timeout_s=HUGE_S, read_timeout_s=HUGE_S)
    return NetworkSource(config, source_id="s", clock=CLOCK)


def reconnecting(place: Path) -> Source:
    return ReconnectingSource(ReconnectConfig(max_attempts=1), lambda: network(place), source_id="s", clock=CLOCK)


def camera(place: Path) -> Source:
    return CameraSource(CameraConfig(device="testsrc=size=160x120:rate=100"), source_id="s", clock=CLOCK)


MAKERS = {f.__name__: f for f in (video_file, images, replay, network, reconnecting, camera)}
LIVE = {"replay", "network", "reconnecting", "camera"}
ENDLESS = {"camera"}


class _StreamServer(threading.Thread):
    """Sends a recorded MPEG-TS to whoever connects, then keeps the connection open and silent."""

    def __init__(self, data: bytes) -> None:
        import socket

        super().__init__(name="stream-server")
        self._data = data
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.02)
        self._stop_event = threading.Event()
        self.port = self._server.getsockname()[1]

    def run(self) -> None:
        connections = []
        while not self._stop_event.is_set():
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            connections.append(connection)
            connection.sendall(self._data)
        for connection in connections:
            connection.close()
        self._server.close()

    def stop(self) -> None:
        self._stop_event.set()
        self.join()


@pytest.fixture(scope="module")
def _files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("contract")
    (place / "stills").mkdir()
    for i in range(N):
        cv2.imwrite(str(place / "stills" / f"{i}.png"), np.full((120, 160, 3), i, np.uint8))
    for name in ("clip.mp4", "clip.ts"):
        with av.open(str(place / name), "w") as out:
            stream = out.add_stream("libx264", rate=30, options={"bf": "0", "g": "6", "tune": "zerolatency"})
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            # More than N, because a silent live connection keeps its last frame in the demuxer.
            for i in range(N if name == "clip.mp4" else 4 * N):
                frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 5 * i, np.uint8), format="bgr24")
                frame.pts = i
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
    return place


@pytest.fixture
def place(_files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what the makers read, and a server for the network ones."""
    # A pattern generator of FFmpeg stands in for the camera, behind the same device interface.
    monkeypatch.setattr("sources.camera.DEVICE_FORMATS", dict.fromkeys(("linux", "darwin", "win32"), "lavfi"))
    server = _StreamServer((_files / "clip.ts").read_bytes())
    server.start()
    (_files / "url").write_text(f"tcp://127.0.0.1:{server.port}")
    yield _files
    server.stop()


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def source(kind: str, place: Path) -> Iterator[Source]:
    made = MAKERS[kind](place)
    yield made
    made.close()


def take(source: Source, n: int) -> list[Frame]:
    frames: list[Frame] = []
    while len(frames) < n and (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def test_it_is_a_source(source: Source) -> None:
    assert isinstance(source, Source)
    assert source.source_id == "s"
    assert all(isinstance(v, int) for v in source.counters.values())


def test_open_says_what_comes(source: Source, kind: str) -> None:
    info = source.open()
    assert isinstance(info, StreamInfo)
    assert (info.source_id, info.width_px, info.height_px) == ("s", 160, 120)
    assert info.is_live is (kind in LIVE)


def test_frames_are_numbered_read_only_and_in_order(source: Source) -> None:
    info = source.open()
    frames = take(source, N)
    assert [f.index for f in frames] == list(range(N))
    for frame in frames:
        assert frame.source_id == "s"
        assert frame.image.shape == (info.height_px, info.width_px, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert not frame.image.flags.writeable
    assert all(a.captured_ns <= b.captured_ns for a, b in pairwise(frames))
    assert frames[0].pts_s == pytest.approx(0, abs=0.2)
    assert all(a.pts_s < b.pts_s for a, b in pairwise(frames))


def test_frames_do_not_share_memory(source: Source) -> None:
    source.open()
    first, second = take(source, 2)
    kept = first.image.copy()
    take(source, 5)
    assert not np.shares_memory(first.image, second.image)
    assert np.array_equal(first.image, kept)


def test_the_end_of_a_recording_is_none_again_and_again(source: Source, kind: str) -> None:
    if kind in LIVE - {"replay"}:
        pytest.skip("a live stream has no clean end")
    source.open()
    assert len(take(source, 100)) == N
    assert source.read() is None
    assert source.read() is None


def test_open_twice_is_refused(source: Source) -> None:
    source.open()
    with pytest.raises(UsageError, match="twice"):
        source.open()


def test_read_needs_open(source: Source) -> None:
    with pytest.raises(UsageError, match="not open"):
        source.read()


def test_close_is_idempotent_and_needs_no_open(source: Source) -> None:
    source.close()
    source.close()


def test_read_after_close_is_refused(source: Source) -> None:
    source.open()
    source.close()
    source.close()
    with pytest.raises(UsageError, match="not open"):
        source.read()


def test_after_an_interrupt_read_gives_nothing_and_close_works(source: Source) -> None:
    source.open()
    take(source, 2)
    source.interrupt()
    source.interrupt()
    assert source.read() is None


def test_an_interrupt_before_open_makes_open_fail_soon(source: Source) -> None:
    source.interrupt()
    with pytest.raises(SourceError, match="interrupted"):
        source.open()


def test_an_interrupt_from_another_thread_ends_the_reading(source: Source) -> None:
    source.open()
    ended = threading.Event()

    def read_all() -> None:
        while source.read() is not None:
            pass
        ended.set()

    reader = threading.Thread(target=read_all)
    reader.start()
    timer = threading.Timer(0.2, source.interrupt)
    timer.start()
    assert ended.wait(10)
    reader.join()
    timer.join()


FAILING: dict[str, Callable[[Path], Source]] = {
    "video_file": lambda p: VideoFileSource(VideoFileConfig(path=p / "no.mp4"), source_id="s", clock=CLOCK),
    "images": lambda p: ImagesSource(ImagesConfig(path=str(p / "no")), source_id="s", clock=CLOCK),
    "replay": lambda p: ReplaySource(ReplayConfig(), lambda: FAILING["video_file"](p), source_id="s", clock=CLOCK),
    "network": lambda p: NetworkSource(NetworkConfig(url=Url("tcp://127.0.0.1:1")), source_id="s", clock=CLOCK),
    "reconnecting": lambda p: ReconnectingSource(
        ReconnectConfig(max_attempts=1), lambda: FAILING["network"](p), source_id="s", clock=CLOCK
    ),
    "camera": lambda p: CameraSource(CameraConfig(device="no such filter"), source_id="s", clock=CLOCK),
}


def test_close_after_a_failed_open(kind: str, place: Path) -> None:
    source = FAILING[kind](place)
    with pytest.raises(SourceError) as raised:
        source.open()
    assert "\n" not in str(raised.value)
    source.close()
    source.close()
