"""Frames of a recorded video, by the numbers that `annotate` gave them."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from pipeline.core.clock import MonotonicClock
from pipeline.core.frame import Frame
from sources.video_file import VideoFileConfig, VideoFileSource


def video_frames(path: Path) -> Generator[Frame]:
    """All frames in order, through the reader that `annotate` and `run` use, so that `Frame.index` means the same.

    Raises:
        SourceError: no such video, or it cannot be read.
    """
    source = VideoFileSource(VideoFileConfig(path=path), source_id=path.name, clock=MonotonicClock())
    source.open()
    try:
        while (frame := source.read()) is not None:
            yield frame
    finally:
        source.close()
