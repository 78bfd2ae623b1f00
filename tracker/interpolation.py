"""Boxes for the frames in which a track was hidden, once the whole sequence is known: an offline step.

Source: ByteTrack (arXiv 2110.06864), section 4.2, tracklet interpolation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import ShapeError, UsageError

INTERPOLATED_SCORE = -1.0
"""Score of a row that no detection stands behind."""


def fill_gaps(rows: NDArray[np.float64], *, max_missing: int = 18, min_rows: int = 6) -> NDArray[np.float64]:
    """Add linearly interpolated boxes where a track is missing for a few frames.

    Args:
        rows: (n, 7) frame, id, left, top, width, height in px, score; in any order. Not modified.
        max_missing: longest gap that is filled, in frames (ByteTrack's n_dti - 2).
        min_rows: tracks with fewer rows stay as they are (ByteTrack's n_min + 1).

    Returns:
        (n + added, 7), sorted by frame, then id; added rows have the score -1.

    Raises:
        ShapeError: rows is not (n, 7).
        UsageError: a setting below 1, or an id stands twice in one frame.

    Example:
        >>> rows = np.array([[1, 7, 0, 0, 10, 20, 0.9], [3, 7, 4, 0, 10, 20, 0.8]])
        >>> fill_gaps(rows, min_rows=2)[1].tolist()
        [2.0, 7.0, 2.0, 0.0, 10.0, 20.0, -1.0]
    """
    if rows.ndim != 2 or rows.shape[1] != 7:
        raise ShapeError(f"fill_gaps: wanted rows (n, 7), found shape {rows.shape}")
    if max_missing < 1 or min_rows < 1:
        raise UsageError(f"fill_gaps: wanted max_missing and min_rows from 1, found {max_missing} and {min_rows}")
    rows = rows[np.lexsort((rows[:, 0], rows[:, 1]))]
    before, after = rows[:-1], rows[1:]
    same = before[:, 1] == after[:, 1]
    step = after[:, 0] - before[:, 0]
    if (same & (step == 0)).any():
        at = before[same & (step == 0)][0]
        raise UsageError(f"fill_gaps: wanted every id once per frame, found {at[1]:g} twice in frame {at[0]:g}")
    _, inverse, length = np.unique(rows[:, 1], return_inverse=True, return_counts=True)
    long_enough = length[inverse][:-1] >= min_rows
    gaps = np.flatnonzero(same & long_enough & (step > 1) & (step <= max_missing + 1))
    missing = step[gaps].astype(np.int64) - 1
    gap = np.repeat(gaps, missing)
    # 1, 2, ... within each gap.
    passed = np.arange(len(gap)) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    added = before[gap] + (passed / step[gap])[:, None] * (after[gap] - before[gap])
    added[:, 0] = before[gap, 0] + passed
    added[:, 6] = INTERPOLATED_SCORE
    filled = np.concatenate([rows, added])
    return filled[np.lexsort((filled[:, 1], filled[:, 0]))]
