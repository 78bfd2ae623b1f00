"""Where a source's objects were between two of its outputs, as both outputs tell once the later one is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What a pipeline said of one frame.

    Attributes:
        index: number of the frame in its source.
        captured_ns: when the frame was captured.
        xyxy: float32 (n, 4) px.
        class_id, track_id: int64 (n,).
    """

    index: int
    captured_ns: int
    xyxy: FloatArray
    class_id: IntArray
    track_id: IntArray


class Between:
    """Objects from one output's frame (included) to a later one's (not included).

    One that both outputs hold moves in a straight line between them. One that only one of them holds stands still, and
    is there at the frames that are nearer to that output's.

    Args:
        before, after: of the same source; no id stands twice in either.

    Attributes:
        class_id, track_id: int64 (m,), of the objects.
    """

    def __init__(self, before: Said, after: Said) -> None:
        row, later_row = np.nonzero(before.track_id[:, None] == after.track_id)
        only_before, only_after = _others(row, len(before.track_id)), _others(later_row, len(after.track_id))
        self._n_both = len(row)
        self._n_before = len(row) + len(only_before)
        rows = np.concatenate([row, only_before])
        from_xyxy = np.concatenate([before.xyxy[rows], after.xyxy[only_after]]).astype(np.float64)
        to_xyxy = from_xyxy.copy()
        to_xyxy[: len(row)] = after.xyxy[later_row]
        self._from, self._step = from_xyxy, to_xyxy - from_xyxy
        self.class_id: IntArray = np.concatenate([before.class_id[rows], after.class_id[only_after]])
        self.track_id: IntArray = np.concatenate([before.track_id[rows], after.track_id[only_after]])

    def at(self, share: Float64Array) -> tuple[Float64Array, BoolArray]:
        """The objects at several moments.

        Args:
            share: float64 (q,), how much of the way to the later output has passed, 0 <= share < 1.

        Returns:
            xyxy float64 (q, m, 4), and which objects are there, bool (q, m).
        """
        xyxy = self._from + share[:, None, None] * self._step
        present = np.ones((len(share), len(self.track_id)), np.bool_)
        is_early = share < 0.5
        present[~is_early, self._n_both : self._n_before] = False
        present[is_early, self._n_before :] = False
        return xyxy, present


def _others(rows: IntArray, n: int) -> IntArray:
    left = np.ones(n, np.bool_)
    left[rows] = False
    return np.flatnonzero(left)
