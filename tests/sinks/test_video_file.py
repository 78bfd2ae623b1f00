from __future__ import annotations

import itertools
import logging
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipeline.core.errors import SinkError, UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.draw import DrawConfig
from sinks.mp4_repair import cut_torn_end
from sinks.video_file import CONTAINERS, VideoFileConfig, VideoFileSink

Make = Callable[..., FrameResult]
Info = Callable[..., StreamInfo]
ROOT = Path(__file__).resolve().parents[2]
BLOCKS = ((230, 40, 30), (20, 200, 60), (40, 60, 220), (128, 128, 128))
"""BGR."""


def blocks(height: int = 96, width: int = 128) -> np.ndarray:
    """Four coloured quarters."""
    image = np.zeros((height, width, 3), np.uint8)
    for (row, column), color in zip(itertools.product((0, 1), (0, 1)), BLOCKS, strict=True):
        top, left = row * height // 2, column * width // 2
        image[top : top + height // 2 + 1, left : left + width // 2 + 1] = color
    return image


def noise(index: int, side: int = 256) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 255, (side, side, 3), np.uint8)


def write(path: Path, info: StreamInfo, results: list[FrameResult], **config: Any) -> None:
    sink = VideoFileSink(VideoFileConfig(path=path, **config), class_names=("person",))
    sink.open(info)
    for result in results:
        sink.write(result)
    sink.close()


@pytest.mark.parametrize("suffix", list(CONTAINERS))
def test_a_variable_frame_rate_is_kept(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    steps = [(0.02, 0.04, 0.1, 0.001)[i % 4] for i in range(80)]
    pts_s = list(itertools.accumulate(steps, initial=0.48))
    write(path, make_info(fps=25.0), [make_result(i, pts_s=t, image=blocks()) for i, t in enumerate(pts_s)])
    video = read_video(path)
    tick_s = 0.0006 if suffix == ".mkv" else 1 / 90_000
    assert video.pts_s == pytest.approx(pts_s, abs=tick_s)
    begin_s = 0 if suffix == ".mkv" else 0.48
    assert video.duration_s == pytest.approx(pts_s[-1] - begin_s + steps[-1], abs=0.002)
    assert max(b - a for a, b in itertools.pairwise([*video.keyframes_s, video.pts_s[-1]])) <= 1.2


def test_colors_come_back_as_bt709(tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable) -> None:
    path = tmp_path / "out.mp4"
    write(path, make_info(), [make_result(i, image=blocks()) for i in range(5)], crf=10)
    video = read_video(path)
    assert (video.colorspace, video.color_range, video.codec) == (1, 1, "h264")
    for y, x, color in ((20, 20, BLOCKS[0]), (20, 100, BLOCKS[1]), (70, 20, BLOCKS[2]), (70, 100, BLOCKS[3])):
        assert np.abs(video.pictures[2][y, x].astype(int) - color).max() <= 6


def test_what_was_found_is_drawn(tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable) -> None:
    plain, drawn = tmp_path / "plain.mp4", tmp_path / "drawn.mp4"
    results = [make_result(i, boxes=[(20, 30, 90, 80)], image=blocks()) for i in range(3)]
    off = DrawConfig(boxes=False, labels=False, ids=False, confidence=False, trails=False)
    write(plain, make_info(), results, draw=off)
    write(drawn, make_info(), results)
    difference = np.abs(read_video(drawn).pictures[1].astype(int) - read_video(plain).pictures[1]).max(axis=2)
    assert difference[30, 30:80].mean() > 30
    assert difference[50:60, 40:70].max() < 30


@pytest.mark.parametrize(("hw", "even_hw"), [((97, 131), (98, 132)), ((96, 131), (96, 132)), ((9, 17), (10, 18))])
def test_odd_sizes_are_padded(
    tmp_path: Path,
    make_result: Make,
    make_info: Info,
    read_video: Callable,
    hw: tuple[int, int],
    even_hw: tuple[int, int],
) -> None:
    write(tmp_path / "out.mp4", make_info(), [make_result(i, image=blocks(*hw)) for i in range(3)])
    assert read_video(tmp_path / "out.mp4").pictures[0].shape == (*even_hw, 3)


def test_a_change_of_size_is_scaled_into_the_first(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = [(96, 128)] * 3 + [(200, 100)] * 3
    with caplog.at_level(logging.WARNING):
        write(tmp_path / "out.mp4", make_info(), [make_result(i, image=blocks(*s)) for i, s in enumerate(sizes)])
    video = read_video(tmp_path / "out.mp4")
    assert {picture.shape for picture in video.pictures} == {(96, 128, 3)}
    assert len(video.pictures) == 6
    assert len(caplog.records) == 1


def test_a_live_source_is_timed_by_its_clock_with_its_gaps(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable
) -> None:
    captured_ms = [5000, 5040, 5120, 9000, 9040]
    results = [make_result(i, captured_ns=ms * 1_000_000) for i, ms in enumerate(captured_ms)]
    write(tmp_path / "out.mp4", make_info(is_live=True), results)
    assert read_video(tmp_path / "out.mp4").pts_s == pytest.approx([0, 0.04, 0.12, 4.0, 4.04], abs=1e-4)


@pytest.mark.parametrize(
    ("config", "codec"),
    [({"codec": "hevc"}, "hevc"), ({"bitrate_kbps": 300}, "h264"), ({"preset": "ultrafast", "threads": 1}, "h264")],
)
def test_encoder_settings(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable, config: dict[str, Any], codec: str
) -> None:
    write(tmp_path / "out.mp4", make_info(), [make_result(i, image=blocks()) for i in range(10)], **config)
    video = read_video(tmp_path / "out.mp4")
    assert (len(video.pictures), video.codec) == (10, codec)


def test_crf_and_bitrate_change_the_size(tmp_path: Path, make_result: Make, make_info: Info) -> None:
    results = [make_result(i, pts_s=i / 25, image=noise(i, 128)) for i in range(50)]
    sizes = {}
    for name, config in (("fine", {"crf": 12}), ("coarse", {"crf": 40}), ("rate", {"bitrate_kbps": 400})):
        write(tmp_path / f"{name}.mp4", make_info(), results, **config)
        sizes[name] = (tmp_path / f"{name}.mp4").stat().st_size
    assert sizes["fine"] > 2 * sizes["coarse"]
    assert sizes["rate"] < sizes["fine"]


def test_a_run_without_frames_leaves_no_file(tmp_path: Path, make_info: Info) -> None:
    write(tmp_path / "out.mp4", make_info(), [])
    assert list(tmp_path.iterdir()) == []


def test_one_frame_is_a_video(tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable) -> None:
    write(tmp_path / "out.mp4", make_info(), [make_result(0, image=blocks())])
    assert len(read_video(tmp_path / "out.mp4").pictures) == 1


def test_a_file_that_exists_is_refused_at_once(tmp_path: Path, make_info: Info) -> None:
    (tmp_path / "out.mp4").write_text("precious")
    sink = VideoFileSink(VideoFileConfig(path=tmp_path / "out.mp4"), class_names=())
    with pytest.raises(SinkError, match="--exist-ok"):
        sink.open(make_info())
    sink.close()
    assert (tmp_path / "out.mp4").read_text() == "precious"


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.mp4 .*found the suffix '\.avi'"):
        VideoFileSink(VideoFileConfig(path=tmp_path / "out.avi"), class_names=())


# -- what survives ----------------------------------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
import numpy as np
from pipeline.core.detections import Detections
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from sinks.video_file import VideoFileConfig, VideoFileSink

path, live = Path(sys.argv[1]), sys.argv[2] == "live"
sink = VideoFileSink(VideoFileConfig(path=path, threads=1), class_names=())
sink.open(StreamInfo("cam", 128, 128, 25.0, live, None))
noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
for i in range(200):
    frame = Frame("cam", i, np.roll(noise, i, 0), i / 25, i * 40_000_000, CaptureClock.FILE)
    sink.write(FrameResult(frame, Detections.empty(), Tracks.empty(), Timeline()))
print("written", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(("kind", "lost_s"), [("live", 1.1), ("file", 2.2)])
def test_a_killed_run_leaves_a_film_up_to_the_last_seconds(
    tmp_path: Path, read_video: Callable, suffix: str, kind: str, lost_s: float
) -> None:
    path = tmp_path / f"out{suffix}"
    arguments = [sys.executable, "-c", KILLED, str(path), kind]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.kill()
    video = read_video(path)
    assert video.pts_s == pytest.approx([i / 25 for i in range(len(video.pts_s))], abs=0.0006)
    assert video.pts_s[-1] >= 199 / 25 - lost_s


@contextmanager
def files_up_to(n_bytes: int) -> Iterator[None]:
    """A limit of a file's size stands for the disk's: the system refuses the same call, with another number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_noise(sink: VideoFileSink, make_result: Make) -> None:
    for i in range(500):
        sink.write(make_result(i, pts_s=i / 25, image=noise(i)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_ends_in_one_line_and_a_playable_file(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    sink = VideoFileSink(VideoFileConfig(path=path, threads=1), class_names=())
    sink.open(make_info())
    with files_up_to(2_000_000):
        with pytest.raises(SinkError, match=r"out\.\w+: wanted to write this file, found: File too large") as caught:
            write_noise(sink, make_result)
        sink.close()
    assert "\n" not in str(caught.value)
    assert len(read_video(path).pts_s) >= 25
    with pytest.raises(SinkError, match="not open"):
        sink.write(make_result(501))


def test_a_disk_that_is_full_from_the_beginning_leaves_no_file(
    tmp_path: Path, make_result: Make, make_info: Info
) -> None:
    sink = VideoFileSink(VideoFileConfig(path=tmp_path / "out.mp4", threads=1), class_names=())
    sink.open(make_info())
    with files_up_to(1000):
        with pytest.raises(SinkError, match="File too large"):
            write_noise(sink, make_result)
        sink.close()
    assert list(tmp_path.iterdir()) == []


def box(kind: bytes, n_bytes: int) -> bytes:
    return (8 + n_bytes).to_bytes(4) + kind + bytes(n_bytes)


@pytest.mark.parametrize(
    ("whole", "torn"),
    [
        (box(b"ftyp", 8) + box(b"moov", 9) + box(b"mdat", 50), box(b"moof", 20) + box(b"mdat", 40)[:30]),
        (box(b"moov", 9) + box(b"mdat", 50), box(b"moof", 20)),
        (box(b"moov", 9) + box(b"mdat", 50), b"\x00\x00"),
        (box(b"moov", 9) + b"\x00\x00\x00\x01mdat" + (20).to_bytes(8) + b"1234", box(b"moof", 20)[:9]),
        (box(b"moov", 9) + box(b"mdat", 50), b""),
    ],
)
def test_a_torn_fragment_is_cut_off(tmp_path: Path, whole: bytes, torn: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(whole + torn)
    assert cut_torn_end(path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"abc", box(b"ftyp", 8) + box(b"mdat", 40)[:20], bytes(100)])
def test_a_file_without_a_whole_fragment_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert not cut_torn_end(path)
    assert path.read_bytes() == content


# -- real footage -----------------------------------------------------------------------------------------------------


def test_real_footage_keeps_frames_times_and_pictures(
    tmp_path: Path, data_dir: Path, make_result: Make, read_video: Callable
) -> None:
    clip = data_dir / "clips" / "mmdetection_demo.mp4"
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        frames = [(float(f.pts * f.time_base), f.to_ndarray(format="bgr24")) for f in container.decode(stream)]
        info = StreamInfo("demo", stream.width, stream.height, float(stream.average_rate or 30), False, None)
    results = [
        make_result(i, pts_s=t, image=picture, boxes=[(100 + 5 * i, 300, 220 + 5 * i, 420)])
        for i, (t, picture) in enumerate(frames)
    ]
    write(tmp_path / "out.mp4", info, results, draw=DrawConfig(labels=False, ids=False, confidence=False))
    video = read_video(tmp_path / "out.mp4")
    assert video.pts_s == pytest.approx([t for t, _ in frames], abs=1 / 90_000)
    assert video.pictures[30].shape == frames[30][1].shape
    assert cv2.PSNR(video.pictures[30][500:], frames[30][1][500:]) > 32
