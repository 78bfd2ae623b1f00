"""Which recordings can be tuned on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.core.errors import SourceError, UsageError
from pipeline.tune.clip import Clip, open_clip


def test_a_stretch_from_the_beginning(small_clip: Path) -> None:
    clip = open_clip(str(small_clip), seconds=0.5)
    assert (clip.n_frames, clip.is_whole, clip.fps, clip.name) == (15, False, "30", "small.mp4")
    assert (clip.stream.fps, clip.stream.width_px, clip.stream.height_px) == (Fraction(30), 128, 96)
    assert [frame.index for frame in clip.frames()] == list(range(15))
    whole = open_clip(str(small_clip), seconds=60)
    assert (whole.n_frames, whole.is_whole) == (40, True)
    assert whole.digest == clip.digest
    assert Clip(**clip.to_json()) == clip
    assert clip.source_settings() == {"replay": {"loop": True}}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(12):
        cv2.imwrite(str(folder / f"{k}.png"), np.full((24, 32, 3), k, np.uint8))
    return folder


def test_pictures_need_a_rate(pictures: Path) -> None:
    with pytest.raises(UsageError, match="wanted pictures per second, found none in it; name them with --fps"):
        open_clip(str(pictures), seconds=60)
    clip = open_clip(str(pictures), seconds=60, fps=29.97)
    assert (clip.fps, clip.n_frames) == ("30000/1001", 12)
    assert clip.source_settings() == {"replay": {"loop": True, "fps": 29.97}}
    (pictures / "5.png").write_bytes((pictures / "5.png").read_bytes() + b"x")
    assert open_clip(str(pictures), seconds=60, fps=29.97).digest != clip.digest


def _video(path: Path, times: list[int]) -> Path:
    """Frames at these hundredths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for at in times:
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")
            frame.pts, frame.time_base = at, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_what_cannot_be_tuned_on(tmp_path: Path, small_clip: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"broken\.mp4: wanted a video file"):
        open_clip(str(broken), seconds=60)
    with pytest.raises(SourceError, match=r"none\.mp4"):
        open_clip(str(tmp_path / "none.mp4"), seconds=60)
    with pytest.raises(UsageError, match=r"wanted one recording .* found a live source"):
        open_clip("rtsp://localhost/stream", seconds=60)
    (tmp_path / "two").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "two" / name).write_bytes(small_clip.read_bytes())
    with pytest.raises(UsageError, match=r"wanted one recording .* found 2 sources"):
        open_clip(str(tmp_path / "two"), seconds=60)
    with pytest.raises(UsageError, match="wanted 10 frames or more to tune on, found 6"):
        open_clip(str(small_clip), seconds=0.2)
    uneven = _video(tmp_path / "uneven.mkv", [4 * k for k in range(20)] + [100 + 4 * k for k in range(20)])
    with pytest.raises(UsageError, match=r"wanted a steady .* found frame 20 .* frames too late"):
        open_clip(str(uneven), seconds=60)
