"""All tracks of one source as a struct of arrays."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tracker.kalman import RealArray

Rows = NDArray[np.int64]

REAL_COLUMNS = 17
WHOLE_COLUMNS = 7


class TrackState(IntEnum):
    """The life of a track, in ByteTrack's words."""

    NEW = 0
    """Seen once; one more match confirms it, a miss removes it."""
    TRACKED = 1
    """Confirmed and matched in the newest frame."""
    LOST = 2
    """Confirmed and not matched lately; moves by prediction."""
    REMOVED = 3
    """Gone. Only ByteTrack's own code brings such a track back."""


class TrackTable:
    """One row per track: tracks seen in the newest frame first, then the lost ones, each group in order of arrival.

    Rows are kept in two blocks, so that one indexing operation per block reorders everything.

    Attributes:
        n_seen: number of rows that are not lost.
        mean, cov: float64 (n, 8) and (n, 6), see tracker.kalman.
        score: float64 (n,), confidence of the last match.
        vote: float64 (n,), by how much confidence the track's class leads.
        last_seen_s: float64 (n,), tracker time of the last match.
        track_id, class_id, state: int64 (n,).
        start_frame, last_frame: int64 (n,), number of the update that began it and that matched it last.
        detection_row: int64 (n,), row of the newest Detections, -1 = not matched.
        was_removed: int64 (n,), 1 = flagged removed at some time (ByteTrack's own code only).
    """

    def __init__(self) -> None:
        self._set(np.zeros((0, REAL_COLUMNS)), np.zeros((0, WHOLE_COLUMNS), np.int64), 0)

    def _set(self, real: RealArray, whole: Rows, n_seen: int) -> None:
        self._real, self._whole, self.n_seen = real, whole, n_seen
        self.mean, self.cov = real[:, :8], real[:, 8:14]
        self.score, self.vote, self.last_seen_s = real[:, 14], real[:, 15], real[:, 16]
        self.track_id, self.class_id, self.state = whole[:, 0], whole[:, 1], whole[:, 2]
        self.start_frame, self.last_frame, self.detection_row = whole[:, 3], whole[:, 4], whole[:, 5]
        self.was_removed = whole[:, 6]

    def __len__(self) -> int:
        return len(self._real)

    def extend(self, n: int) -> slice:
        """Add n rows of zeros at the end and return where they are."""
        before = len(self)
        real = np.concatenate([self._real, np.zeros((n, REAL_COLUMNS))])
        whole = np.concatenate([self._whole, np.zeros((n, WHOLE_COLUMNS), np.int64)])
        self._set(real, whole, self.n_seen)
        return slice(before, before + n)

    def arrange(self, seen: Rows, lost: Rows) -> None:
        """Keep the rows `seen` and then `lost`, in that order, and forget the others."""
        order = np.concatenate([seen, lost])
        self._set(self._real[order], self._whole[order], len(seen))
