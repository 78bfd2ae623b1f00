"""What `annotate` wrote, read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.archive.archive import read_archive
from pipeline.archive.done import Done, read_done
from pipeline.archive.layout import video_folder
from pipeline.archive.record import AnnotatedVideo
from pipeline.core.errors import DatasetError, UsageError


@pytest.fixture
def out(tmp_path: Path, make_done: Callable[..., Done], write_results: Callable[[Path, Done], Path]) -> Path:
    """An archive of two videos, and a third one that is half done."""
    out = tmp_path / "out"
    for name in ("day1/clip10.mp4", "day1/clip2.mp4"):
        write_results(video_folder(out, name), make_done(name))
    video_folder(out, "half.mp4").mkdir()
    (out / "archive.json").write_text(json.dumps({"format": 1, "root": "/footage", "settings": {}}))
    return out


def test_videos_in_natural_order(out: Path) -> None:
    videos = read_archive(out)
    assert [video.facts.name for video in videos] == ["day1/clip2.mp4", "day1/clip10.mp4"]
    facts = videos[0].facts
    assert facts.path == Path("/footage/day1/clip2.mp4")
    assert (facts.width_px, facts.height_px, facts.fps, facts.n_frames) == (64, 48, 10.0, 2)
    one: AnnotatedVideo = videos[0]
    assert one.class_names == ("person", "car")


def test_frames_can_be_read_again_and_again(out: Path) -> None:
    video = read_archive(out)[0]
    for _ in range(2):
        first, second = video.frames()
        assert (first.frame, first.pts_s, second.frame, second.pts_s) == (0, 0.0, 1, None)
        assert first.tracks.track_id.tolist() == [3, 1]
        assert first.tracks.class_id.tolist() == [1, 0]
        assert first.tracks.xyxy.tolist() == [[1, 2, 3, 4.5], [5, 6, 7, 8]]
        assert first.tracks.detection_row.tolist() == [0, -1]
        assert len(second.tracks) == 0


def test_a_record_is_read_as_it_was_written(out: Path, make_done: Callable[..., Done]) -> None:
    assert read_done(out / "videos/day1/clip2.mp4") == make_done("day1/clip2.mp4")
    assert read_done(out / "videos/half.mp4") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1: wanted one JSON object"),
        ('{"frame":0,"pts_s":0}\n', "line 1: wanted a frame with its objects"),
        ('{"frame":0,"pts_s":0,"objects":[{"track_id":1}]}\n', "line 1: wanted a frame with its objects"),
    ],
)
def test_tracks_that_cannot_be_read(out: Path, text: str, told: str) -> None:
    (out / "videos/day1/clip2.mp4/tracks.jsonl").write_text(text)
    with pytest.raises(DatasetError, match=told):
        list(read_archive(out)[0].frames())


def test_tracks_that_are_gone(out: Path) -> None:
    (out / "videos/day1/clip2.mp4/tracks.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"wanted the tracks of day1/clip2\.mp4, found no file"):
        list(read_archive(out)[0].frames())


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 2}'])
def test_records_that_are_none(out: Path, text: str) -> None:
    (out / "videos/day1/clip2.mp4/done.json").write_text(text)
    with pytest.raises(DatasetError, match=r"done\.json: wanted"):
        read_archive(out)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"wanted a folder that `annotate` wrote, found no archive\.json"):
        read_archive(tmp_path)
    (tmp_path / "archive.json").write_text("[]")
    with pytest.raises(UsageError, match="wanted the settings of an archive"):
        read_archive(tmp_path)
