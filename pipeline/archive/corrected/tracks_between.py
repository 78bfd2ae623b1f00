"""Boxes between keyframes, as CVAT makes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.corrected.labels import LabelBox
from pipeline.core.arrays import IntArray


@dataclass(slots=True)
class KeyframeTrack:
    """One object's keyframes, in any order until `settle`.

    Between two keyframes each coordinate follows a straight line. From a keyframe that is `outside` to the next one the
    object is not to be seen; after the last one it stays where it is, until the end.

    Attributes:
        label: its class.
        keys: (frame, left, top, right, bottom, outside, occluded), until they are settled.
        n_keys: their number after that.
    """

    label: str
    keys: list[tuple[int, float, float, float, float, bool, bool]] = field(default_factory=list)
    n_keys: int = 0
    _frames: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    _table: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 7)))

    def settle(self) -> None:
        """Sort the keyframes; of two of one frame, the later one in the file counts."""
        by_frame = {key[0]: key for key in self.keys}
        self._table = np.array([by_frame[frame] for frame in sorted(by_frame)], np.float64).reshape(-1, 7)
        self._frames = self._table[:, 0].astype(np.int64)
        self.n_keys = len(self._frames)
        self.keys = []

    @property
    def first_frame(self) -> int:
        """The first keyframe."""
        return int(self._frames[0])

    @property
    def last_frame(self) -> int:
        """The last frame with a keyframe to be seen, -1 = none; it may stay on after it."""
        seen = self._frames[self._table[:, 5] == 0]
        return int(seen[-1]) if len(seen) else -1

    @property
    def ends(self) -> int:
        """The frame from which on it is not to be seen, or a number beyond all."""
        return int(self._frames[-1]) if self._table[-1, 5] else np.iinfo(np.int64).max

    def at(self, frame: int) -> LabelBox | None:
        """Its box in a frame, None where it is not to be seen."""
        before = int(np.searchsorted(self._frames, frame, side="right")) - 1
        if before < 0 or self._table[before, 5]:
            return None
        xyxy = self._table[before, 1:5]
        if before + 1 < len(self._frames):
            start, stop = self._frames[before], self._frames[before + 1]
            share = (frame - start) / (stop - start)
            xyxy = xyxy + share * (self._table[before + 1, 1:5] - xyxy)
        left, top, right, bottom = xyxy.tolist()
        return LabelBox(self.label, (left, top, right, bottom), bool(self._table[before, 6]))


class TracksOfVideo:
    """Labels of a video that are tracks with keyframes. Implements `VideoLabels`.

    Args:
        names: what the video may be called.
        file: the annotations.
        size_wh: of its frames.
        tracks: with at least one keyframe each; they are settled here.
        covered: the labelled frames.
    """

    def __init__(
        self,
        names: Sequence[str],
        file: Path,
        size_wh: tuple[int, int] | None,
        tracks: Sequence[KeyframeTrack],
        covered: range,
    ) -> None:
        self.names = names
        self.file = file
        self.size_wh = size_wh
        self._tracks = tracks
        self._covered = covered
        for track in tracks:
            track.settle()
        self._first = np.array([track.first_frame for track in tracks], np.int64)
        self._ends = np.array([track.ends for track in tracks], np.int64)
        self._last_frame = max((track.last_frame for track in tracks), default=-1)

    @property
    def last_frame(self) -> int:
        """The last keyframe that is to be seen; -1 = none."""
        return self._last_frame

    @property
    def end(self) -> int | None:
        """The frame from which on nobody labelled anything."""
        return max(self._covered, default=-1) + 1

    def labels(self) -> Counter[str]:
        """How many keyframes have each label."""
        counts: Counter[str] = Counter()
        for track in self._tracks:
            counts[track.label] += track.n_keys
        return counts

    def covers(self, frame: int) -> bool:
        """Whether somebody labelled this frame."""
        return frame in self._covered

    def at(self, frame: int) -> list[LabelBox]:
        """The boxes of a frame, in the order of the file."""
        alive = np.flatnonzero((self._first <= frame) & (frame < self._ends))
        boxes = (self._tracks[number].at(frame) for number in alive.tolist())
        return [box for box in boxes if box is not None]
