from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import SinkError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from sinks.recorder import RecorderConfig, RecorderSink
from sinks.retention import Limits, Retention

Make = Callable[..., FrameResult]
Info = Callable[..., StreamInfo]
STAMP = "%Y%m%dT%H%M%S.%fZ"


def numbered(i: int, shape_hw: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A grey picture whose brightness says which it is."""
    return np.full((*shape_hw, 3), i, np.uint8)


def number(picture: np.ndarray) -> int:
    return round(float(picture.mean()))


def make_sink(folder: Path, **settings: Any) -> RecorderSink:
    values = {"min_free_gb": 0.0, "threads": 1, "crf": 10, "segment_s": 2.0} | settings
    return RecorderSink(RecorderConfig(path=folder, **values), class_names=("person",))


def segments(folder: Path, source: str = "cam") -> list[Path]:
    return sorted(path for path in (folder / source).iterdir() if path.is_file())


def begun_utc(path: Path) -> datetime:
    return datetime.strptime(path.stem, STAMP).replace(tzinfo=UTC)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_segments_hold_every_frame_once(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable[[Path], Any], container: str
) -> None:
    sink = make_sink(tmp_path, container=container)
    sink.open(make_info())
    before = datetime.now(UTC)
    for i in range(125):
        sink.write(make_result(i, image=numbered(i), pts_s=i / 25))
    sink.close()
    sink.close()
    files = segments(tmp_path)
    videos = [read_video(path) for path in files]
    assert [path.suffix for path in files] == [f".{container}"] * 3
    assert [len(video.pictures) for video in videos] == [50, 50, 25]
    assert np.allclose([number(p) for video in videos for p in video.pictures], range(125), atol=2)
    assert all(video.pts_s == pytest.approx(np.arange(len(video.pts_s)) / 25, abs=1e-3) for video in videos)
    assert [video.duration_s for video in videos] == pytest.approx([2.0, 2.0, 1.0], abs=0.05)
    assert [(begun_utc(b) - begun_utc(a)).total_seconds() for a, b in pairwise(files)] == [2, 2]
    assert abs(begun_utc(files[0]) - before) < timedelta(seconds=2)
    assert sink.counters["segments"] == 3
    assert sink.counters["unwritten"] == 0


def test_segments_of_a_live_source_begin_at_round_times(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable[[Path], Any]
) -> None:
    sink = make_sink(tmp_path, segment_s=1.0)
    sink.open(make_info(is_live=True))
    pace = threading.Event()
    began = time.time()
    for i in range(60):
        # What was captured some time ago is named by when that was.
        sink.write(make_result(i, image=numbered(i), captured_ns=time.monotonic_ns() - 5_000_000_000))
        pace.wait(0.04)
    sink.close()
    files = segments(tmp_path)
    starts = [begun_utc(path).timestamp() for path in files]
    assert starts[0] == pytest.approx(began - 5, abs=0.1)
    assert all(start % 1 < 0.2 for start in starts[1:])
    assert len(files) >= 3
    assert sum(len(read_video(path).pictures) for path in files) == 60 - sink.counters["too_slow"]
    assert sink.counters["too_slow"] < 10


def test_the_bare_picture_or_with_what_was_found(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable[[Path], Any]
) -> None:
    for annotated in (True, False):
        folder = tmp_path / str(annotated)
        sink = make_sink(folder, annotated=annotated)
        sink.open(make_info())
        for i in range(3):
            sink.write(make_result(i, image=numbered(100, (120, 160)), boxes=[(20, 20, 100, 90)], pts_s=i / 25))
        sink.close()
        picture = read_video(segments(folder)[0]).pictures[-1]
        assert (picture.std() > 3) == annotated


def test_pictures_of_another_size_begin_another_segment(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable[[Path], Any]
) -> None:
    sink = make_sink(tmp_path, segment_s=60)
    sink.open(make_info())
    for i in range(20):
        shape = (48, 64) if i < 10 else (97, 129)
        sink.write(make_result(i, image=numbered(i * 10, shape), pts_s=i / 25))
    sink.close()
    videos = [read_video(path) for path in segments(tmp_path)]
    assert [video.pictures[0].shape[:2] for video in videos] == [(48, 64), (98, 130)]
    assert [len(video.pictures) for video in videos] == [10, 10]


def test_a_source_that_ends_and_comes_back_gets_new_segments(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable[[Path], Any]
) -> None:
    sink = make_sink(tmp_path)
    sink.open(make_info("a"))
    sink.open(make_info("b"))
    for i in range(10):
        sink.write(make_result(i, source_id="a", pts_s=i / 25))
        sink.write(make_result(i, source_id="b", pts_s=i / 25))
    sink.open(make_info("a"))
    sink.end_source(Closing("a", 0.4, 0))
    assert len(read_video(segments(tmp_path, "a")[0]).pictures) == 10
    for i in range(5):
        sink.write(make_result(i, source_id="a", pts_s=i / 25))
    sink.close()
    assert [len(read_video(path).pictures) for path in segments(tmp_path, "a")] == [10, 5]
    assert [len(read_video(path).pictures) for path in segments(tmp_path, "b")] == [10]
    assert sink.counters["segments"] == 3


def test_two_do_not_record_into_one_folder(tmp_path: Path, make_info: Info, make_result: Make) -> None:
    first, second = make_sink(tmp_path), make_sink(tmp_path)
    first.open(make_info())
    with pytest.raises(SinkError, match="another run that records"):
        second.open(make_info())
    second.close()
    first.close()
    with pytest.raises(SinkError, match="not open"):
        first.write(make_result())
    third = make_sink(tmp_path)
    third.open(make_info())
    third.close()


def test_a_place_that_is_no_folder(tmp_path: Path, make_info: Info) -> None:
    (tmp_path / "file").write_text("")
    sink = make_sink(tmp_path / "file")
    with pytest.raises(SinkError, match="wanted a folder to record into"):
        sink.open(make_info())
    sink.close()


# -- retention --------------------------------------------------------------------------------------------------------


def old_segment(folder: Path, source: str, age_s: float, n_bytes: int = 1000) -> Path:
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    path = folder / source / f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(n_bytes))
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def old_clip(folder: Path, source: str, age_s: float, name: str) -> Path:
    path = folder / "clips" / source / f"{name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(1000))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    old = [old_segment(tmp_path, name, age) for name, age in (("a", 500), ("b", 400), ("a", 300))]
    new = [old_segment(tmp_path, name, age) for name, age in (("a", 90), ("b", 10))]
    clips = [old_clip(tmp_path, "a", 5000, "0123456789abcdef"), old_clip(tmp_path, "a", 400, "1123456789abcdef")]
    foreign = [tmp_path / "a" / "holiday.mp4", tmp_path / "notes.txt", tmp_path / "a" / "20200101T000000.mp4"]
    for path in foreign:
        path.write_text("mine")
        os.utime(path, (1.0, 1.0))
    retention = Retention(tmp_path, Limits(keep_s=100, keep_clips_s=1000))
    retention.enforce()
    assert [path.exists() for path in old] == [False] * 3
    assert [path.exists() for path in [*new, *foreign]] == [True] * 5
    assert [path.exists() for path in clips] == [False, True]
    assert retention.n_deleted == 4


def test_the_oldest_of_all_sources_go_first_and_clips_last(tmp_path: Path) -> None:
    files = [old_segment(tmp_path, name, age) for name, age in (("a", 500), ("b", 400), ("a", 300))]
    clip = old_clip(tmp_path, "a", 5000, "0123456789abcdef")
    Retention(tmp_path, Limits(keep_bytes=3100)).enforce()
    assert [path.exists() for path in [*files, clip]] == [False, True, True, True]
    Retention(tmp_path, Limits(keep_bytes=1100)).enforce()
    assert [path.exists() for path in [*files, clip]] == [False, False, False, True]
    Retention(tmp_path, Limits(keep_bytes=0)).enforce()
    assert not clip.exists()


def test_a_finished_file_is_counted_in(tmp_path: Path) -> None:
    retention = Retention(tmp_path, Limits(keep_bytes=2500))
    files = []
    for age in (30, 20, 10):
        files.append(old_segment(tmp_path, "a", age))
        retention.add(files[-1])
        retention.enforce()
    assert [path.exists() for path in files] == [False, True, True]


def test_room_is_kept_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [old_segment(tmp_path, "a", age) for age in (50, 40, 30, 20)]

    def free_bytes(folder: Path) -> int:
        return 10_000 - sum(path.stat().st_size for path in folder.glob("*/*"))

    retention = Retention(tmp_path, Limits(min_free_bytes=7500), free_bytes=free_bytes)
    retention.enforce()
    assert [path.exists() for path in files] == [False, False, True, True]
    retention.add(old_segment(tmp_path, "a", 10))
    retention.enforce()
    assert [path.exists() for path in files] == [False, False, False, True]
    assert [message.count("the disk is full") for message in caplog.messages] == [1]


# -- a disk that is full ----------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("min_free_gb", [0.0, 0.0003])
def test_on_a_full_disk_the_oldest_go_and_recording_goes_on(
    tmp_path: Path,
    make_result: Make,
    make_info: Info,
    read_video: Callable[[Path], Any],
    caplog: pytest.LogCaptureFixture,
    min_free_gb: float,
) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(8)]
    with small_disk(tmp_path / "disk", 2_000_000) as folder:
        sink = make_sink(folder, segment_s=1.0, min_free_gb=min_free_gb)
        for name in ("a", "b"):
            sink.open(make_info(name))
        # Four times what the disk holds.
        for i in range(400):
            for name in ("a", "b"):
                sink.write(make_result(i, source_id=name, image=noise[i % 8], pts_s=i / 25))
        sink.close()
        files = [*segments(folder, "a"), *segments(folder, "b")]
        counters = sink.counters
        lengths = [len(read_video(path).pictures) for path in files]
    assert counters["deleted"] > 10
    assert len(files) >= 4
    assert all(n > 0 for n in lengths)
    last = max(begun_utc(path) for path in files)
    assert (last - min(begun_utc(path) for path in files)).total_seconds() < 10
    assert [message.count("the disk is full") for message in caplog.messages] == [1]
    if min_free_gb:
        # Room was made in time: nothing was lost.
        assert counters["unwritten"] == 0
        assert set(lengths) == {25}


def test_a_disk_that_takes_nothing_does_not_end_the_run(
    tmp_path: Path, make_result: Make, make_info: Info, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", 200_000) as folder:
        (folder / "foreign").write_bytes(bytes(200_000 - 8192))
        sink = make_sink(folder)
        sink.open(make_info())
        rng = np.random.default_rng(0)
        for i in range(100):
            sink.write(make_result(i, image=rng.integers(0, 255, (96, 128, 3), np.uint8), pts_s=i / 25))
        sink.close()
    assert sink.counters["unwritten"] > 0
    assert sum("recording stops" in message for message in caplog.messages) == 1
