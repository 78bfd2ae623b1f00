"""The time that rules live by: media time or capture time, and never one that runs back."""

from __future__ import annotations

import statistics
from collections import deque

from pipeline.core.frame import Frame, StreamInfo

NOMINAL_FPS = 30.0
REMEMBERED_INTERVALS = 9
TOLERATED_S = 0.5
"""Media time may stand still or step back this far; further is a new start."""


class RuleClock:
    """Gives each frame of one source its time.

    A live source's time is the capture time. A recorded source's is the media time as long as it grows. Where it stands
    still or steps back a little, the rules' time stands still. Where it starts anew (a looping file) or is missing (a
    folder of pictures), time goes on by the number of frames times the frame interval: the median of the last nine, and
    the declared one until two media times were seen.

    Args:
        info: what the source said of itself.
    """

    def __init__(self, info: StreamInfo) -> None:
        self._is_live = info.is_live
        self._nominal_s = 1 / (info.declared_fps or NOMINAL_FPS)
        self._intervals_s: deque[float] = deque(maxlen=REMEMBERED_INTERVALS)
        self._time_s: float | None = None
        self._index = 0
        self._offset_s = 0.0

    def time_s(self, frame: Frame) -> float:
        """Time of the next frame (s), never before that of the frame before."""
        if self._is_live:
            self._time_s = max(frame.captured_ns / 1e9, self._time_s or 0.0)
            return self._time_s
        if self._time_s is None:
            self._time_s, self._index = frame.pts_s or 0.0, frame.index
            return self._time_s
        frames = max(frame.index - self._index, 1)
        pts_s = None if frame.pts_s is None else frame.pts_s + self._offset_s
        if pts_s is not None and pts_s > self._time_s:
            self._intervals_s.append((pts_s - self._time_s) / frames)
            self._time_s, self._index = pts_s, frame.index
            return self._time_s
        expected_s = self._time_s + frames * self._interval_s
        if pts_s is None or expected_s - pts_s > TOLERATED_S:
            self._offset_s += 0.0 if pts_s is None else expected_s - pts_s
            self._time_s, self._index = expected_s, frame.index
        return self._time_s

    @property
    def _interval_s(self) -> float:
        return statistics.median(self._intervals_s) if self._intervals_s else self._nominal_s
