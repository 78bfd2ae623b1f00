"""Clips: made ones are the same every time, short ones are repeated."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.benchmark.clip import make_clip, prepare_clip
from pipeline.core.errors import SourceError


def times_and_pictures(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [float(frame.time or 0) for frame in frames], [frame.to_ndarray(format="gray") for frame in frames]


def test_a_made_clip_is_the_same_every_time(tmp_path: Path, small_clip: Path) -> None:
    assert make_clip(tmp_path / "again.mp4", 40, (96, 128)).read_bytes() == small_clip.read_bytes()
    _, pictures = times_and_pictures(small_clip)
    assert len(pictures) == 40
    assert all(np.abs(a.astype(int) - b).mean() > 0.1 for a, b in pairwise(pictures)), "something must move"


def test_a_short_clip_is_repeated_without_decoding(tmp_path: Path, small_clip: Path) -> None:
    clip = prepare_clip(small_clip, tmp_path, min_frames=100)
    assert (clip.frames, clip.plays, clip.name) == (120, 3, "small.mp4")
    assert (clip.width_px, clip.height_px) == (128, 96)
    times, pictures = times_and_pictures(clip.path)
    assert len(times) == 120
    assert all(0.02 < b - a < 0.05 for a, b in pairwise(times))
    assert np.array_equal(pictures[3], pictures[83])


def test_a_long_clip_is_taken_as_it_is(tmp_path: Path, small_clip: Path) -> None:
    clip = prepare_clip(small_clip, tmp_path, min_frames=40)
    assert (clip.path, clip.plays) == (small_clip, 1)
    assert not list(tmp_path.iterdir())


def test_without_a_source_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.benchmark.clip.MADE_FRAMES", 3)
    clip = prepare_clip(None, tmp_path, min_frames=2)
    assert (clip.width_px, clip.height_px, clip.frames) == (1280, 720, 3)


@pytest.mark.parametrize("content", [None, b"", b"no video at all" * 9])
def test_what_is_no_video(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=r"x\.mp4"):
        prepare_clip(path, tmp_path)
