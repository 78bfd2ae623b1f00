"""When a frame is shown in a recording: the source's own times, always going forward."""

from __future__ import annotations

from pipeline.core.frame import Frame, StreamInfo

TICKS_PER_S = 90_000
"""Time base of recordings: holds the frame times of all common frame rates and of RTP exactly."""
_ASSUMED_FPS = 25.0
_MAX_DRIFT_S = 5.0
"""A live source whose media time departs this much from the clock has begun anew."""


class MediaTime:
    """Times of one source's frames from the start of the recording.

    A file's frames keep their media time. Where they have none, a live source's frames are timed by when they were
    captured, and a file's by their number at the announced rate (25 per second where none is announced).
    A live source's recording begins at 0; when the source reconnects and its media time starts afresh, the recording
    goes on with the gap as long as it really was.

    Args:
        info: the source.
    """

    def __init__(self, info: StreamInfo) -> None:
        self._is_live = info.is_live
        self._frame_s = 1 / (info.declared_fps or _ASSUMED_FPS)
        self._offset_s: float | None = None
        self._last_s = 0.0
        self._last_captured_ns = 0
        self._last_ticks = -1

    def ticks(self, frame: Frame) -> int:
        """Time of the frame in 1/90000 s, 0 or more; later than that of the frame before, by 1 tick at least."""
        at_s = self._live_s(frame) if self._is_live else self._file_s(frame)
        self._last_s, self._last_captured_ns = at_s, frame.captured_ns
        self._last_ticks = max(self._last_ticks + 1, round(at_s * TICKS_PER_S))
        return self._last_ticks

    def _file_s(self, frame: Frame) -> float:
        return frame.pts_s if frame.pts_s is not None else frame.index * self._frame_s

    def _live_s(self, frame: Frame) -> float:
        begun = self._last_ticks >= 0
        elapsed_s = self._last_s + (frame.captured_ns - self._last_captured_ns) / 1e9 if begun else 0.0
        if frame.pts_s is None:
            return elapsed_s
        if self._offset_s is not None:
            at_s = frame.pts_s + self._offset_s
            if at_s > self._last_s and abs(at_s - elapsed_s) <= _MAX_DRIFT_S:
                return at_s
        self._offset_s = elapsed_s - frame.pts_s
        return elapsed_s
