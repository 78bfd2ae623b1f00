"""What is known of one annotated video: the common ground of the archive's workers and of all export formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.core.tracks import Tracks


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """A video of an archive.

    Attributes:
        name: its path below the archive's root, with `/`; the key of the video everywhere.
        path: where it lies now.
        width_px: of its frames, after rotation.
        height_px: of its frames, after rotation.
        fps: mean frame rate, from the media times of its first and last frame.
        n_frames: frames that were decoded.
    """

    name: str
    path: Path
    width_px: int
    height_px: int
    fps: float
    n_frames: int


@dataclass(frozen=True, slots=True, eq=False)
class FrameTracks:
    """The tracks of one frame. `frame` counts from 0; `pts_s` is its media time, or None."""

    frame: int
    pts_s: float | None
    tracks: Tracks


class AnnotatedVideo(Protocol):
    """One video with its tracks, read from disk as often as somebody iterates."""

    @property
    def facts(self) -> VideoFacts:
        """What is known of the video."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class_id, the same for the whole archive."""

    def frames(self) -> Iterator[FrameTracks]:
        """Every frame in order, those without tracks too. In memory that does not grow."""
