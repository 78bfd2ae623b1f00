"""All tracks of one source as a struct of arrays."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Whole = NDArray[np.int64]


class TrackState(IntEnum):
    """The life of a track, in ByteTrack's words. From LOST on, a track was not matched lately."""

    NEW = 0
    """Seen once; one more match confirms it, a miss removes it."""
    TRACKED = 1
    """Confirmed and matched in the newest frame."""
    LOST = 2
    """Confirmed and not matched lately; moves by prediction."""
    REMOVED = 3
    """Gone. Only ByteTrack's published code finds such a track again."""


# Columns of the block `real`. tracker/_fast.pyx holds the same numbers.
MEAN = slice(0, 8)
COV = slice(8, 14)
SCORE = 14
VOTE = 15
LAST_SEEN_S = 16
PLACE = slice(17, 21)
SPEED = slice(21, 25)
DOUBT = slice(25, 31)
REAL_COLUMNS = 31

# Columns of the block `whole`.
TRACK_ID = 0
CLASS_ID = 1
STATE = 2
START_FRAME = 3
LAST_FRAME = 4
DETECTION_ROW = 5
WAS_REMOVED = 6
WHOLE_COLUMNS = 7


class TrackTable:
    """One row per track: tracks seen in the newest frame first, then the lost ones, each group in order of arrival.

    Rows are kept in two blocks, so that one indexing operation per block reorders everything; the other attributes are
    views of their columns.

    Attributes:
        real: float64 (n, 31), whole: int64 (n, 7), both contiguous.
        n_seen: number of rows that are not lost.
        mean, cov: (n, 8) and (n, 6), see tracker.kalman.
        score: (n,), confidence of the last match.
        vote: (n,), by how much confidence the track's class leads.
        last_seen_s: (n,), tracker time of the last match. After it, tracker.velocity's filter: centre, width and height
            in px (PLACE), how fast they change in px/s (SPEED), and two covariances pp, pv, vv (DOUBT).
        track_id, class_id, state: (n,).
        start_frame, last_frame: (n,), number of the update that began the track, and of the one that matched it last.
        detection_row: (n,), row of the newest Detections, -1 = not matched.
        was_removed: (n,), 1 = was in state REMOVED at some time (published behaviour only).
    """

    def __init__(self) -> None:
        self.clear()

    def _set(self, real: Real, whole: Whole, n_seen: int) -> None:
        self.real, self.whole, self.n_seen = real, whole, n_seen
        self.mean, self.cov = real[:, MEAN], real[:, COV]
        self.score, self.vote, self.last_seen_s = real[:, SCORE], real[:, VOTE], real[:, LAST_SEEN_S]
        self.track_id, self.class_id, self.state = whole[:, TRACK_ID], whole[:, CLASS_ID], whole[:, STATE]
        self.start_frame, self.last_frame = whole[:, START_FRAME], whole[:, LAST_FRAME]
        self.detection_row, self.was_removed = whole[:, DETECTION_ROW], whole[:, WAS_REMOVED]

    def __len__(self) -> int:
        return len(self.real)

    def extend(self, n: int) -> slice:
        """Add n rows of zeros at the end and return where they are."""
        before = len(self)
        real = np.concatenate([self.real, np.zeros((n, REAL_COLUMNS))])
        whole = np.concatenate([self.whole, np.zeros((n, WHOLE_COLUMNS), np.int64)])
        self._set(real, whole, self.n_seen)
        return slice(before, before + n)

    def clear(self) -> None:
        """Forget all rows."""
        self._set(np.zeros((0, REAL_COLUMNS)), np.zeros((0, WHOLE_COLUMNS), np.int64), 0)

    def arrange(self, order: Whole, n_seen: int) -> None:
        """Keep the rows `order`, in that order, of which the first `n_seen` are not lost, and forget the others."""
        self._set(self.real.take(order, axis=0), self.whole.take(order, axis=0), n_seen)

    def keep(self, wanted: NDArray[np.bool_]) -> None:
        """Keep the rows where `wanted` (n,) is true, in their order."""
        if not wanted.all():
            self.arrange(np.flatnonzero(wanted), int(np.count_nonzero(wanted[: self.n_seen])))
