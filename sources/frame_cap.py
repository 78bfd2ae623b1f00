"""No more frames of a source than wanted."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.control import SourceState
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Source

SLACK = 0.1
"""A frame may come so much of the interval early: a camera's own rate trembles."""


class FrameCap:
    """Reads a source completely and hands on at most `max_fps` frames per second, evenly.

    Frames left out are counted as `over_cap` and have no number, as if the camera had never sent them.

    Args:
        source: what is read.
        max_fps: most frames per second of media time (capture time where there is none), above 0.
    """

    def __init__(self, source: Source, max_fps: float) -> None:
        self._source = source
        self._interval_s = 1 / max_fps
        self._due_s: float | None = None
        self._index = 0
        self._over = 0

    @property
    def source_id(self) -> str:
        """Unique name of the source within the run."""
        return self._source.source_id

    @property
    def state(self) -> SourceState | None:
        """What the source itself says it is doing."""
        state: SourceState | None = getattr(self._source, "state", None)
        return state

    @property
    def attempts(self) -> int | None:
        """How often the source itself tried to connect."""
        attempts: int | None = getattr(self._source, "attempts", None)
        return attempts

    @property
    def counters(self) -> Mapping[str, int]:
        """Those of the source, and `over_cap`: frames left out."""
        return {**self._source.counters, "over_cap": self._over}

    def open(self) -> StreamInfo:
        """Open the source. Raises SourceError."""
        info = self._source.open()
        fps = min(info.declared_fps or 1 / self._interval_s, 1 / self._interval_s)
        return StreamInfo(info.source_id, info.width_px, info.height_px, fps, info.is_live, info.n_frames)

    def read(self) -> Frame | None:
        """The next frame that is due; None at the end or after `interrupt`. Raises SourceError."""
        while (frame := self._source.read()) is not None:
            at_s = frame.pts_s if frame.pts_s is not None else frame.captured_ns / 1e9
            if self._due_s is not None and at_s < self._due_s - SLACK * self._interval_s:
                self._over += 1
                continue
            # After a gap the schedule begins anew; otherwise it goes on, lest the rate be rounded down.
            late = self._due_s is None or at_s > self._due_s + self._interval_s
            self._due_s = (at_s if late or self._due_s is None else self._due_s) + self._interval_s
            self._index += 1
            return self._numbered(frame)
        return None

    def _numbered(self, frame: Frame) -> Frame:
        return Frame(
            frame.source_id, self._index - 1, frame.image, frame.pts_s, frame.captured_ns, frame.clock, frame.n_breaks
        )

    def interrupt(self) -> None:
        """Make a blocked `open` or `read` return."""
        self._source.interrupt()

    def close(self) -> None:
        """Close the source. Idempotent."""
        self._source.close()
