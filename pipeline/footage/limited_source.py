"""A source that ends after some time."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Source


class LimitedSource:
    """Another source up to a duration.

    Args:
        inner: the source.
        duration_s: media time from its first frame on (time of arrival where it has none), or None for no limit.
    """

    def __init__(self, inner: Source, duration_s: float | None) -> None:
        self._inner = inner
        self._duration_s = duration_s
        self._first_s: float | None = None

    @property
    def source_id(self) -> str:
        """That of the inner source."""
        return self._inner.source_id

    @property
    def counters(self) -> Mapping[str, int]:
        """Those of the inner source."""
        return self._inner.counters

    def open(self) -> StreamInfo:
        """Open the inner source. Raises SourceError."""
        return self._inner.open()

    def read(self) -> Frame | None:
        """The next frame; None at the end of the inner source or of the duration. Raises SourceError."""
        frame = self._inner.read()
        if frame is None or self._duration_s is None:
            return frame
        at_s = frame.captured_ns / 1e9 if frame.pts_s is None else frame.pts_s
        if self._first_s is None:
            self._first_s = at_s
        return frame if at_s - self._first_s < self._duration_s else None

    def interrupt(self) -> None:
        """Interrupt the inner source."""
        self._inner.interrupt()

    def close(self) -> None:
        """Close the inner source. Idempotent."""
        self._inner.close()
