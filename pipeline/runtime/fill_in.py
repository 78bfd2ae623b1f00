"""Tracks for frames that were not detected: those of the last detected frame, moved on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.frame import Frame
from pipeline.core.motion import TrackMotion
from pipeline.core.tracks import Tracks


@dataclass(frozen=True, slots=True)
class _Known:
    """What the tracker said last of a source."""

    tracks: Tracks
    motion: TrackMotion | None
    index: int
    pts_s: float | None
    interval_s: float


class FillIn:
    """Remembers the last tracks of every source. Called by one thread."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def remember(self, frame: Frame, tracks: Tracks, motion: TrackMotion | None, interval_s: float) -> None:
        """The tracker's word on a detected frame.

        Args:
            frame: the frame.
            tracks: its tracks.
            motion: where they are going, row by row, or None.
            interval_s: from frame to frame where there is no media time, as the tracker assumes (s).
        """
        self._known[frame.source_id] = _Known(tracks, motion, frame.index, frame.pts_s, interval_s)

    def forget(self, source_id: str) -> None:
        """Nothing is known of the source any more."""
        self._known.pop(source_id, None)

    def at(self, frame: Frame) -> tuple[Tracks, TrackMotion | None]:
        """The last tracks, moved to this frame's time; ids stay, and every `detection_row` is -1.

        Boxes that have left the picture are left out. Where the tracker does not say how its tracks move, they stay
        where they were.
        """
        known = self._known.get(frame.source_id)
        if known is None or not len(known.tracks):
            return Tracks.empty(), None
        tracks, motion = known.tracks, known.motion
        xyxy = tracks.xyxy
        if motion is not None:
            ahead_s = _seconds_since(known, frame)
            xyxy = motion.moved(xyxy, ahead_s)
            motion = TrackMotion(motion.velocity, motion.std_after(ahead_s), motion.std_px_s)
        none = np.full(len(tracks), -1, np.int64)
        moved = Tracks(xyxy, tracks.confidence, tracks.class_id, tracks.track_id, none)
        height, width = frame.shape_hw
        inside = (xyxy[:, 2] > 0) & (xyxy[:, 3] > 0) & (xyxy[:, 0] < width) & (xyxy[:, 1] < height)
        if inside.all():
            return moved, motion
        if motion is not None:
            motion = TrackMotion(motion.velocity[inside], motion.std_px[inside], motion.std_px_s[inside])
        return moved.select(inside), motion


def _seconds_since(known: _Known, frame: Frame) -> float:
    """As the tracker counts: by media time, or by frames where there is none or it runs back."""
    if known.pts_s is not None and frame.pts_s is not None and frame.pts_s > known.pts_s:
        return frame.pts_s - known.pts_s
    return max(frame.index - known.index, 0) * known.interval_s
