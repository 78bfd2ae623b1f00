"""How much time passed between two frames, from timestamps that may lie."""

from __future__ import annotations

import math
import statistics
from collections import deque

from pipeline.core.errors import UsageError

REMEMBERED_INTERVALS = 9
CUT_INTERVALS = 1.5


class StepClock:
    """Turns frame numbers and media times into time steps.

    The step is the difference of the media times. Where there is none (a time is missing, stands still or runs back,
    as when a file loops or a camera sets its clock), it is the number of frames times the frame interval: the median of
    the last nine, and the nominal one until two times were seen.

    Args:
        nominal_interval_s: frame interval assumed until timestamps say otherwise.
        max_gap_s: a longer step is a cut, unless frames simply are that far apart.
    """

    def __init__(self, nominal_interval_s: float, max_gap_s: float) -> None:
        self._nominal_s = nominal_interval_s
        self._max_gap_s = max_gap_s
        self._intervals_s: deque[float] = deque(maxlen=REMEMBERED_INTERVALS)
        self._last_index: int | None = None
        self._last_pts_s: float | None = None

    @property
    def interval_s(self) -> float:
        """The frame interval as it is known now."""
        return statistics.median(self._intervals_s) if self._intervals_s else self._nominal_s

    def step(self, frame_index: int, pts_s: float | None) -> tuple[float, bool]:
        """Seconds since the frame before, 0 for the first, and whether the step is a cut.

        Raises:
            UsageError: `pts_s` is not a finite number.
        """
        if pts_s is not None and not math.isfinite(pts_s):
            raise UsageError(f"pts_s: wanted seconds or None, found {pts_s} at frame {frame_index}")
        last_index, last_pts_s = self._last_index, self._last_pts_s
        self._last_index, self._last_pts_s = frame_index, pts_s
        if last_index is None:
            return 0.0, False
        frames = max(frame_index - last_index, 1)
        dt_s = 0.0 if pts_s is None or last_pts_s is None else pts_s - last_pts_s
        measured = dt_s > 0
        if not measured:
            dt_s = frames * self.interval_s
        # Whether it is a cut is judged by the intervals before it; the first step has none to be judged by.
        is_cut = dt_s > self._max_gap_s and bool(self._intervals_s) and dt_s > CUT_INTERVALS * self.interval_s
        if measured:
            self._intervals_s.append(dt_s / frames)
        return dt_s, is_cut
