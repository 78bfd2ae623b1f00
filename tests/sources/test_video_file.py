"""Recorded files: containers, codecs, pixel formats, rotation, time, damage."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.clock import MonotonicClock, SimulatedClock
from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from sources.video_file import VideoFileConfig, VideoFileSource

Clip = Callable[..., Path]
Number = Callable[[np.ndarray], int]


def source_of(path: Path, **config: object) -> VideoFileSource:
    return VideoFileSource(VideoFileConfig(path=path, **config), source_id="clip", clock=MonotonicClock())


def play(path: Path, **config: object) -> tuple[StreamInfo, list[Frame], dict[str, int]]:
    source = source_of(path, **config)
    try:
        info = source.open()
        frames = list(iter(source.read, None))
        return info, frames, dict(source.counters)
    finally:
        source.close()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.mp4", {}),
        ("a.mov", {"codec": "mpeg4"}),
        ("a.mkv", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
        ("a.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.ts", {}),
        ("a.mpg", {"codec": "mpeg2video", "fps": 25}),
        ("a.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("a.mkv", {"codec": "ffv1"}),
        ("a.h264", {"format": "h264", "fps": 25}),
    ],
    ids=lambda v: v if isinstance(v, str) else v.get("codec", "libx264"),
)
def test_every_container_and_codec_gives_every_frame_in_order(clip: Clip, number: Number, name: str, how: dict) -> None:
    info, frames, counters = play(clip(name, n=40, **how))
    assert [number(f.image) for f in frames] == list(range(40))
    assert [f.index for f in frames] == list(range(40))
    assert info == StreamInfo("clip", 160, 120, info.declared_fps, False, info.n_frames)
    assert counters["corrupt"] == 0
    assert counters["truncated"] == 0
    times = [f.pts_s for f in frames]
    assert times[0] == pytest.approx(0, abs=1e-9)
    fps = how.get("fps", 30)
    assert np.diff(times) == pytest.approx(1 / fps, abs=2e-3)


@pytest.mark.parametrize(
    ("pix_fmt", "codec"),
    [
        ("yuv420p", "libx264"),
        ("yuvj420p", "libx264"),
        ("yuv422p", "libx264"),
        ("yuv444p", "libx264"),
        ("yuv420p10le", "libx264"),
        ("gray", "libx264"),
        ("gray10le", "ffv1"),
        ("yuva420p", "ffv1"),
        ("bgra", "ffv1"),
        ("bgr0", "ffv1"),
        ("gbrp14le", "ffv1"),
        ("yuv444p16le", "ffv1"),
        ("yuv411p", "ffv1"),
        ("nv12", "libx264"),
    ],
)
def test_every_pixel_format_becomes_bgr_bytes(
    clip: Clip, drawn: Callable[..., np.ndarray], pix_fmt: str, codec: str
) -> None:
    _, frames, _ = play(clip("a.mkv", n=3, pix_fmt=pix_fmt, codec=codec))
    assert len(frames) == 3
    for i, frame in enumerate(frames):
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert not frame.image.flags.writeable
        wanted = drawn(i, 160, 120).astype(int)
        if pix_fmt.startswith("gray"):
            assert np.ptp(frame.image.astype(int), axis=2).max() <= 1
            wanted[-24:, :24] = frame.image[-24:, :24]
        assert np.abs(frame.image.astype(int) - wanted).mean() < 6


@pytest.mark.parametrize("size", [(161, 121), (129, 97), (322, 242)])
def test_odd_sizes_come_whole(clip: Clip, number: Number, size: tuple[int, int]) -> None:
    info, frames, _ = play(clip("a.mkv", n=3, size=size, pix_fmt="yuv444p"))
    assert (info.width_px, info.height_px) == size
    assert frames[0].image.shape == (size[1], size[0], 3)
    assert frames[0].image.flags.c_contiguous
    assert [number(f.image) for f in frames] == [0, 1, 2]


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_a_turned_clip_comes_upright(
    clip: Clip, number: Number, drawn: Callable[..., np.ndarray], rotation: int
) -> None:
    info, frames, _ = play(clip(n=5, size=(144, 256), rotation=rotation))
    assert (info.width_px, info.height_px) == (144, 256)
    assert [number(f.image) for f in frames] == [0, 1, 2, 3, 4]
    assert np.abs(frames[3].image.astype(int) - drawn(3, 144, 256)).mean() < 6
    assert frames[0].image.flags.c_contiguous


def test_a_mirrored_clip_comes_the_right_way_round(clip: Clip, number: Number) -> None:
    _, frames, _ = play(clip(n=3, hflip=True))
    assert [number(f.image) for f in frames] == [0, 1, 2]


def test_non_square_pixels_stay_as_they_are_stored(clip: Clip) -> None:
    info, frames, _ = play(clip(n=2, size=(180, 144), aspect=Fraction(16, 11)))
    assert (info.width_px, info.height_px) == (180, 144)
    assert frames[0].shape_hw == (144, 180)


def test_b_frames_come_in_display_order(clip: Clip, number: Number) -> None:
    _, frames, _ = play(clip(n=60, options={"bf": "3", "b_strategy": "0", "g": "30"}))
    assert [number(f.image) for f in frames] == list(range(60))
    assert np.diff([f.pts_s for f in frames]) == pytest.approx(1 / 30, abs=1e-6)


def test_a_variable_frame_rate_is_kept(clip: Clip) -> None:
    pts = [0, 1, 2, 10, 11, 40, 100]
    _, frames, counters = play(clip(n=len(pts), pts=pts))
    assert [f.pts_s for f in frames] == pytest.approx([p / 30 for p in pts], abs=1e-6)
    assert counters["pts_repaired"] == 0


def test_time_starts_at_zero_where_the_stream_starts_late(clip: Clip) -> None:
    _, frames, _ = play(clip("late.ts", n=5, pts=[3000 + i for i in range(5)]))
    assert frames[0].pts_s == pytest.approx(0, abs=1e-9)


def test_files_joined_end_to_end_go_on_in_time(clip: Clip, tmp_path: Path, number: Number) -> None:
    one = clip("one.ts", n=30)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() * 2)
    _, frames, counters = play(joined)
    # FFmpeg takes the last picture before the seam for damaged, since the packet counter jumps there.
    assert len(frames) + counters["corrupt"] == 60
    assert [number(f.image) for f in frames[-30:]] == list(range(30))
    assert (np.diff([f.pts_s for f in frames]) > 0).all()
    assert frames[-1].pts_s == pytest.approx(59 / 30, abs=0.1)


def test_a_sound_track_is_ignored_and_the_picture_kept(clip: Clip, number: Number) -> None:
    _, frames, _ = play(clip(n=10, audio=True))
    assert [number(f.image) for f in frames] == list(range(10))


def test_captured_ns_is_the_clock_when_the_frame_was_handed_over(clip: Clip) -> None:
    clock = SimulatedClock(5)
    source = VideoFileSource(VideoFileConfig(path=clip(n=3)), source_id="s", clock=clock)
    source.open()
    first = source.read()
    clock.advance(100)
    second = source.read()
    source.close()
    assert (first.captured_ns, second.captured_ns) == (5, 105)
    assert first.clock is CaptureClock.FILE


# -- damage -----------------------------------------------------------------------------------------------------------


def test_damage_in_the_middle_is_counted_and_the_rest_is_played(clip: Clip, number: Number) -> None:
    path = clip("a.avi", n=60, codec="mjpeg", pix_fmt="yuvj420p", size=(320, 240))
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data) - 3) if data[i : i + 3] == b"\xff\xd8\xff"]
    for start in starts[20:23]:
        data[start : start + 2400] = b"\x00" * 2400
    path.write_bytes(bytes(data))
    _, frames, counters = play(path)
    assert [number(f.image) for f in frames] == [*range(20), *range(23, 60)]
    assert counters["corrupt"] == 3


def test_damaged_h264_plays_on_to_its_end_in_silence(
    clip: Clip, number: Number, capfd: pytest.CaptureFixture[str]
) -> None:
    path = clip("a.ts", n=120, size=(320, 240), options={"g": "10", "bf": "0"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    rng = np.random.default_rng(0)
    data[middle : middle + 3000] = rng.integers(0, 256, 3000, np.uint8).tobytes()
    path.write_bytes(bytes(data))
    _, frames, counters = play(path)
    assert counters["corrupt"] > 0
    assert number(frames[-1].image) == 119
    assert len(frames) > 80
    assert capfd.readouterr() == ("", "")


def test_a_file_cut_off_in_its_pictures_plays_as_far_as_it_goes_and_says_so(
    clip: Clip, number: Number, caplog: pytest.LogCaptureFixture
) -> None:
    path = clip(n=200, options={"g": "10", "bf": "0"}, container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        _, frames, counters = play(path)
    assert 30 < len(frames) < 190
    assert [number(f.image) for f in frames] == list(range(len(frames)))
    assert counters["truncated"] == 1
    assert "cut off" in caplog.text


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda clip, folder: folder / "missing.mp4", "found nothing there"),
        (lambda clip, folder: folder, "found a folder"),
        (lambda clip, folder: _write(folder / "empty.mp4", b""), "empty file"),
        (lambda clip, folder: _write(folder / "notes.txt", b"plain text\n" * 50), "found text"),
        (lambda clip, folder: _write(folder / "text.mp4", b"plain text\n" * 50), "cannot read"),
        (lambda clip, folder: _cut(clip(n=30), 0.5), "moov atom not found"),
        (lambda clip, folder: _sound(folder / "sound.m4a"), "found audio"),
    ],
    ids=["missing", "folder", "empty", "text", "text called mp4", "no moov", "sound only"],
)
def test_what_cannot_be_played_is_one_clear_line(
    clip: Clip, tmp_path: Path, make: Callable[[Clip, Path], Path], says: str
) -> None:
    path = make(clip, tmp_path)
    source = source_of(path)
    with pytest.raises(SourceError, match=says) as raised:
        source.open()
    source.close()
    text = str(raised.value)
    assert str(path) in text
    assert "\n" not in text
    assert raised.value.retryable is False


def test_a_colon_in_the_name_is_not_a_protocol(clip: Clip, tmp_path: Path) -> None:
    path = clip(n=2).rename(tmp_path / "cam:1 50%.mp4")
    assert len(play(path)[1]) == 2


def test_a_name_relative_to_the_working_folder_is_opened(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip("here.mp4", n=2)
    monkeypatch.chdir(tmp_path)
    assert len(play(Path("here.mp4"))[1]) == 2


# -- order of calls ---------------------------------------------------------------------------------------------------


def test_open_twice_and_read_before_open_are_errors_of_use(clip: Clip) -> None:
    source = source_of(clip(n=2))
    with pytest.raises(UsageError, match="not open"):
        source.read()
    source.open()
    with pytest.raises(UsageError, match="twice"):
        source.open()
    source.close()
    source.close()


def test_interrupt_from_another_thread_ends_the_reading(clip: Clip) -> None:
    source = source_of(clip(n=300))
    source.open()
    got = [source.read()]
    thread = threading.Thread(target=source.interrupt)
    thread.start()
    thread.join()
    assert source.read() is None
    source.close()
    assert got[0].index == 0


def test_frames_stay_valid_after_close(clip: Clip, number: Number) -> None:
    _, frames, _ = play(clip(n=20))
    assert [number(f.image) for f in frames] == list(range(20))


# -- hardware ---------------------------------------------------------------------------------------------------------


def test_a_hardware_decoder_that_is_not_here_is_a_clear_error(clip: Clip) -> None:
    source = source_of(clip(n=2), hw_decode="vulkan")
    with pytest.raises(SourceError, match=r"hardware decoder 'vulkan'.*auto or none"):
        source.open()
    source.close()


def test_auto_decodes_and_says_with_what(clip: Clip, number: Number, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="sources"):
        _, frames, _ = play(clip(n=5), hw_decode="auto")
    assert [number(f.image) for f in frames] == [0, 1, 2, 3, 4]
    assert "decoding" in caplog.text


def test_real_clips_play_to_their_end(data_dir: Path) -> None:
    info, frames, counters = play(data_dir / "clips" / "mmdetection_demo.mp4")
    assert (info.width_px, info.height_px, len(frames)) == (1280, 720, 67)
    assert counters == {"corrupt": 0, "pts_repaired": 0, "truncated": 0}


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _cut(path: Path, part: float) -> Path:
    data = path.read_bytes()
    return _write(path, data[: int(len(data) * part)])


def _sound(path: Path) -> Path:
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path
