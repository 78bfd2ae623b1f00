"""Which frames of a source are looked at for a data set."""

from __future__ import annotations

from typing import Literal

from detector.data.near_duplicates import Fingerprint, difference, fingerprint
from pipeline.core.frame import Frame

Reason = Literal["interval", "scene"]

CUT_SHARE = 0.3
"""Least share of the picture that changes from one frame to the next where a scene begins."""
CUT_RATIO = 3.0
"""A cut also changes so many times what the frames before it did: fast motion is none."""
SETTLED_FRAMES = 3
"""So many frames after a cut a picture is taken: blended frames are over then, and tracks have begun."""
MEMORY = 0.8
"""How much the past counts in the usual change between frames, per frame."""
CLOCK_TOLERANCE_S = 1e-6


class FrameSampler:
    """Chooses frames of one source at equal steps of media time, where scenes begin, or both.

    Args:
        every_s: step (s); 0 = none. Of a source without media time (still images) every frame is chosen.
        scenes: whether a frame near the beginning of every scene is chosen.
    """

    def __init__(self, every_s: float, scenes: bool) -> None:
        self._every_s = every_s
        self._scenes = scenes
        self._first_s: float | None = None
        self._due_s = 0.0
        self._before: Fingerprint | None = None
        self._usual = 0.0
        self._until_settled = 0

    def why(self, frame: Frame) -> Reason | None:
        """Why the next frame of the source is chosen, or None if it is not. Every frame must be shown in its order."""
        shows_scene = self._scenes and self._shows_new_scene(frame)
        if self._every_s and self._is_due(frame.pts_s):
            return "interval"
        return "scene" if shows_scene else None

    def _is_due(self, pts_s: float | None) -> bool:
        if pts_s is None:
            return True
        if self._first_s is None:
            self._first_s = self._due_s = pts_s
        if pts_s < self._due_s - CLOCK_TOLERANCE_S:
            return False
        steps = int((pts_s - self._first_s + CLOCK_TOLERANCE_S) / self._every_s) + 1
        self._due_s = self._first_s + steps * self._every_s
        return True

    def _shows_new_scene(self, frame: Frame) -> bool:
        if self._begins_scene(frame):
            # Among still images there is nothing to wait for.
            self._until_settled = 1 if frame.pts_s is None else SETTLED_FRAMES
        self._until_settled -= 1
        return self._until_settled == 0

    def _begins_scene(self, frame: Frame) -> bool:
        now, before = fingerprint(frame.image), self._before
        self._before = now
        if before is None:
            return True
        change = difference(now, before)
        if change >= CUT_SHARE and change >= CUT_RATIO * self._usual:
            # The change of the cut itself is no motion.
            self._usual = 0.0
            return True
        self._usual = MEMORY * self._usual + (1 - MEMORY) * change
        return False
