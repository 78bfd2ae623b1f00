"""Network streams against real servers on this machine: RTSP, HTTP files, MJPEG, HLS, UDP, TCP."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.core.clock import MonotonicClock
from pipeline.core.control import SourceState
from pipeline.core.errors import SourceError
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.url import Url
from sources.network import NetworkConfig, NetworkSource
from sources.network_errors import NoSuchStreamError
from sources.reconnect import ReconnectConfig, ReconnectingSource

Clip = Callable[..., Path]
Number = Callable[[np.ndarray], int]
PASSWORD = "canary-hunter2"


def source_of(url: str, **config: object) -> NetworkSource:
    settings = NetworkConfig(**{"url": Url(url), "open_timeout_s": 10, "read_timeout_s": 10, **config})
    return NetworkSource(settings, source_id="net", clock=MonotonicClock())


@contextmanager
def opened(url: str, **config: object) -> Iterator[NetworkSource]:
    source = source_of(url, **config)
    try:
        source.open()
        yield source
    finally:
        source.close()


def take(source: NetworkSource | ReconnectingSource, n: int) -> list[Frame]:
    frames = []
    while len(frames) < n and (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def failing(url: str, **config: object) -> SourceError:
    source = source_of(url, **config)
    with pytest.raises(SourceError) as raised:
        source.open()
    source.close()
    text = str(raised.value)
    assert "\n" not in text
    assert PASSWORD not in text
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))
    return raised.value


def check_live(frames: list[Frame]) -> None:
    assert [f.index for f in frames] == list(range(len(frames)))
    assert all(f.clock is CaptureClock.RECEIVE for f in frames)
    assert all(a.captured_ns <= b.captured_ns and a.pts_s < b.pts_s for a, b in pairwise(frames))
    assert not frames[0].image.flags.writeable


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# -- RTSP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
def test_rtsp_gives_frames(rtsp_server: Callable, transport: str, digest: bool) -> None:
    arguments = ["--user", "viewer", "--password", PASSWORD] + (["--digest"] if digest else [])
    server = rtsp_server(*arguments)
    source = source_of(server.url(f"viewer:{PASSWORD}@"), transport=transport)
    info = source.open()
    frames = take(source, 20)
    source.close()
    assert (info.width_px, info.height_px, info.is_live, info.n_frames) == (320, 240, True, None)
    check_live(frames)
    assert frames[0].pts_s == pytest.approx(0, abs=0.2)
    assert frames[-1].pts_s == pytest.approx(19 / 25, abs=0.3)


def test_rtsp_says_what_is_wrong_without_the_password(rtsp_server: Callable) -> None:
    server = rtsp_server("--user", "viewer", "--password", "other")
    wrong = failing(server.url(f"viewer:{PASSWORD}@"))
    assert "401" in str(wrong)
    assert wrong.retryable is False
    missing = failing(server.url("viewer:other@", path="/none"))
    assert "404" in str(missing)
    assert isinstance(missing, NoSuchStreamError)


def test_a_killed_rtsp_server_is_a_disconnect_that_may_pass(rtsp_server: Callable) -> None:
    server = rtsp_server()
    with opened(server.url()) as source:
        take(source, 3)
        server.kill()
        with pytest.raises(SourceError, match=r"ended after frame|broke after frame") as raised:
            take(source, 1000)
    assert raised.value.retryable is True


def test_a_frozen_rtsp_server_is_found_within_the_read_time_out(rtsp_server: Callable) -> None:
    server = rtsp_server()
    with opened(server.url(), read_timeout_s=1.0) as source:
        take(source, 3)
        server.freeze()
        begun_s = time.monotonic()
        with pytest.raises(SourceError, match="nothing came for 1 s after frame") as raised:
            take(source, 1000)
        assert time.monotonic() - begun_s < 4
        assert raised.value.retryable is True
    server.thaw()


def test_a_frozen_rtsp_server_ends_an_open_in_time(rtsp_server: Callable) -> None:
    server = rtsp_server()
    server.freeze()
    error = failing(server.url(), open_timeout_s=1.0)
    server.thaw()
    assert "no answer from 127.0.0.1" in str(error)
    assert error.retryable is True


def test_interrupt_ends_a_read_from_a_frozen_server_at_once(rtsp_server: Callable) -> None:
    server = rtsp_server()
    with opened(server.url(), read_timeout_s=60) as source:
        take(source, 3)
        server.freeze()
        timer = threading.Timer(0.5, source.interrupt)
        timer.start()
        begun_s = time.monotonic()
        assert len(take(source, 1000)) < 100
        assert time.monotonic() - begun_s < 5
        timer.join()
    server.thaw()


def test_a_stream_comes_back_after_its_server_does(rtsp_server: Callable) -> None:
    server = rtsp_server()
    clock = MonotonicClock()
    config = NetworkConfig(url=Url(server.url()), open_timeout_s=5, read_timeout_s=5)
    source = ReconnectingSource(
        ReconnectConfig(first_delay_s=0.1, max_delay_s=0.2, jitter=0),
        lambda: NetworkSource(config, source_id="inner", clock=clock),
        source_id="net",
        clock=clock,
    )
    source.open()
    before = take(source, 5)
    server.kill()
    starter = threading.Thread(target=server.start)
    starter.start()
    after = take(source, 30)
    starter.join()
    assert source.state is SourceState.LIVE
    source.close()
    check_live([*before, *after])
    assert source.counters["reconnects"] >= 1


# -- HTTP -------------------------------------------------------------------------------------------------------------


def test_a_file_over_http_is_a_recording(clip: Clip, http_server, number: Number) -> None:
    clip("movie.mp4", n=40)
    source = source_of(http_server.url("movie.mp4"))
    info = source.open()
    frames = take(source, 100)
    assert source.read() is None
    source.close()
    assert (info.is_live, info.n_frames) == (False, 40)
    assert [number(f.image) for f in frames] == list(range(40))
    assert frames[0].clock is CaptureClock.FILE


def test_mjpeg_over_http_is_live_and_its_end_a_disconnect(http_server, number: Number) -> None:
    source = source_of(http_server.url("mjpeg/20"))
    assert source.open().is_live is True
    frames: list[Frame] = []
    with pytest.raises(SourceError, match=r"(ended|broke) after frame") as raised:
        frames.extend(iter(source.read, None))
    source.close()
    assert raised.value.retryable is True
    check_live(frames)
    assert [number(f.image) for f in frames] == list(range(len(frames)))
    assert len(frames) >= 19


@pytest.mark.parametrize(
    ("path", "says", "retryable"),
    [
        ("status/401", "401", False),
        ("status/403", "403", False),
        ("missing.mp4", "404", False),
        ("status/500", "5XX", True),
        ("page", "cannot read", False),
    ],
)
def test_http_says_what_is_wrong(http_server, path: str, says: str, retryable: bool) -> None:
    error = failing(http_server.url(path, f"viewer:{PASSWORD}@"))
    assert says in str(error)
    assert error.retryable is retryable


def test_a_server_that_never_answers_is_given_up_in_time(http_server) -> None:
    begun_s = time.monotonic()
    error = failing(http_server.url("hang"), open_timeout_s=1.0)
    assert "no answer" in str(error)
    assert error.retryable is True
    assert time.monotonic() - begun_s < 4


def test_interrupt_ends_an_open_at_once(http_server) -> None:
    source = source_of(http_server.url("hang"), open_timeout_s=60)
    timer = threading.Timer(0.3, source.interrupt)
    timer.start()
    begun_s = time.monotonic()
    with pytest.raises(SourceError, match="interrupted"):
        source.open()
    assert time.monotonic() - begun_s < 5
    timer.join()
    source.close()


def _write_hls(clip: Clip, tmp_path: Path, *, finished: bool) -> None:
    clip(
        "index.m3u8",
        n=60,
        options={"g": "10", "bf": "0"},
        format="hls",
        container={"hls_time": "0.5", "hls_list_size": "0", "hls_segment_filename": str(tmp_path / "part%d.ts")},
    )
    playlist = tmp_path / "index.m3u8"
    if not finished:
        playlist.write_text(playlist.read_text().replace("#EXT-X-ENDLIST\n", ""))


def test_a_finished_hls_playlist_is_a_recording(clip: Clip, http_server, tmp_path: Path, number: Number) -> None:
    _write_hls(clip, tmp_path, finished=True)
    with opened(http_server.url("index.m3u8")) as source:
        frames = take(source, 100)
        assert source.read() is None
    assert [number(f.image) for f in frames] == list(range(60))


def test_an_open_hls_playlist_is_live_and_can_be_interrupted(clip: Clip, http_server, tmp_path: Path) -> None:
    _write_hls(clip, tmp_path, finished=False)
    source = source_of(http_server.url("index.m3u8"))
    assert source.open().is_live is True
    timer = threading.Timer(1.0, source.interrupt)
    timer.start()
    begun_s = time.monotonic()
    frames = take(source, 1000)
    assert time.monotonic() - begun_s < 5
    timer.join()
    source.close()
    check_live(frames)
    assert len(frames) > 10


def test_a_playlist_cannot_lead_to_a_file_of_this_machine(clip: Clip, http_server, tmp_path: Path) -> None:
    secret = clip("secret.ts", n=5)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    (tmp_path / "evil.m3u8").write_text(playlist)
    failing(http_server.url("evil.m3u8"), open_timeout_s=3, read_timeout_s=3)


def test_the_user_may_say_whether_it_is_live(clip: Clip, http_server) -> None:
    clip("movie.mp4", n=10)
    with opened(http_server.url("movie.mp4"), live=True) as source:
        frames = take(source, 10)
        with pytest.raises(SourceError, match="stream ended"):
            source.read()
    check_live(frames)


# -- UDP and others ---------------------------------------------------------------------------------------------------


def test_mpegts_over_udp(drawn: Callable, number: Number, free_port: int) -> None:
    stop = threading.Event()

    def send() -> None:
        with av.open(f"udp://127.0.0.1:{free_port}?pkt_size=1316", "w", format="mpegts") as out:
            stream = out.add_stream("libx264", rate=50, options={"g": "10", "bf": "0", "tune": "zerolatency"})
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            i = 0
            while not stop.wait(0.01):
                frame = av.VideoFrame.from_ndarray(drawn(i % 1024, 160, 120), format="bgr24")
                frame.pts = i
                out.mux(stream.encode(frame))
                i += 1

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with opened(f"udp://127.0.0.1:{free_port}") as source:
            frames = take(source, 30)
    finally:
        stop.set()
        sender.join()
    check_live(frames)
    numbers = [number(f.image) for f in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 30))


def test_udp_where_nobody_sends_is_given_up_in_time(free_port: int) -> None:
    error = failing(f"udp://127.0.0.1:{free_port}", open_timeout_s=0.5)
    assert "no answer" in str(error)
    assert error.retryable is True


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "http", "tcp"])
def test_a_closed_port_is_refused_and_may_pass(scheme: str, free_port: int) -> None:
    error = failing(f"{scheme}://viewer:{PASSWORD}@127.0.0.1:{free_port}/live")
    assert "refused" in str(error)
    assert str(free_port) in str(error)
    assert error.retryable is True


def test_an_unknown_host_is_named() -> None:
    error = failing(f"rtsp://viewer:{PASSWORD}@no-such-host.invalid/live")
    assert "no-such-host.invalid" in str(error)


def test_a_protocol_that_this_ffmpeg_lacks_is_named() -> None:
    error = failing(f"srt://127.0.0.1:9?passphrase={PASSWORD}", open_timeout_s=1)
    if "does not have this protocol" not in str(error):
        pytest.skip("this build of FFmpeg has SRT")
    assert error.retryable is False


@pytest.mark.parametrize("url", [f"ftp://viewer:{PASSWORD}@host/a", f"viewer:{PASSWORD}@host"])
def test_other_schemes_are_refused_by_the_configuration(url: str) -> None:
    with pytest.raises(ValueError, match="wanted a URL of rtsp") as raised:
        NetworkConfig(url=url)  # type: ignore[arg-type]
    assert PASSWORD not in str(raised.value)


def test_the_configuration_does_not_show_credentials() -> None:
    config = NetworkConfig(url=f"rtsp://viewer:{PASSWORD}@cam/live")  # type: ignore[arg-type]
    assert PASSWORD not in repr(config) + str(config)
    assert config.url.reveal() == f"rtsp://viewer:{PASSWORD}@cam/live"
