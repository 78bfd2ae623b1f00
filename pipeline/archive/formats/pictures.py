"""Pictures out of annotated videos, each with the tracks of its own frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2

from pipeline.archive.every import Every
from pipeline.archive.record import AnnotatedVideo, FrameTracks
from pipeline.archive.video_frames import video_frames
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import DatasetError
from pipeline.core.frame import Frame

JPEG_QUALITY = 95
_SAME_TIME_S = 1e-4
"""Media times are written with six decimals."""


def pictured(video: AnnotatedVideo, every: Every) -> Iterator[tuple[FrameTracks, ImageArray]]:
    """The chosen frames of a video: their tracks, and the very picture that the tracks were found in.

    Raises:
        SourceError: the video is gone or cannot be read.
        DatasetError: it is not the one that was annotated.
    """
    facts = video.facts
    count, before = 0, -1
    with closing(video_frames(facts.path)) as frames:
        # Tracks first: `annotate --max-frames` leaves frames over.
        for one, frame in zip(video.frames(), frames, strict=False):
            _check_same(video, one, frame)
            count += 1
            turn = every.turn(one.frame, one.frame / facts.fps if one.pts_s is None else one.pts_s)
            if turn != before:
                yield one, frame.image
            before = turn
    if count != facts.n_frames:
        raise _changed(video, f"{count} frames instead of {facts.n_frames}")


def _check_same(video: AnnotatedVideo, one: FrameTracks, frame: Frame) -> None:
    facts = video.facts
    if frame.shape_hw != (facts.height_px, facts.width_px):
        raise _changed(
            video, f"{frame.shape_hw[1]}x{frame.shape_hw[0]} px instead of {facts.width_px}x{facts.height_px}"
        )
    if frame.index != one.frame:
        raise _changed(video, f"frame {frame.index} in place of frame {one.frame}")
    if one.pts_s is not None and frame.pts_s is not None and abs(frame.pts_s - one.pts_s) > _SAME_TIME_S:
        raise _changed(video, f"frame {one.frame} at {frame.pts_s:.3f} s instead of {one.pts_s:.3f} s")


def _changed(video: AnnotatedVideo, found: str) -> DatasetError:
    return DatasetError(
        f"{video.facts.path}: wanted the video that was annotated, found {found}; annotate it again, or put it back"
    )


def write_picture(path: Path, image: ImageArray) -> None:
    """Write a JPEG file and make its folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    path.write_bytes(encoded.tobytes())
