"""Making up for latency: which boxes each output gets, and on which picture."""

from __future__ import annotations

from enum import StrEnum

from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Clock, CompensatedSink, FrameWatchingSink, Sink
from pipeline.core.result import FrameResult


class Compensate(StrEnum):
    """To when the tracks of live sources are moved."""

    OFF = "off"
    """Boxes are those of their own frame."""
    EMIT = "emit"
    """Outputs of data get the tracks as they are when the result is handed to the outputs."""
    DISPLAY = "display"
    """Outputs of data get the tracks as they are when the output takes them; live pictures show the newest frame."""


class Compensation:
    """What each output gets of a live source. Used by all threads of a run.

    A recorded source that is read as fast as it goes has no latency: nothing of it is ever moved.

    Args:
        kind: the run's setting.
        clock: the clock that frames are stamped on.
    """

    def __init__(self, kind: Compensate, clock: Clock) -> None:
        self._kind = kind
        self._clock = clock
        # Each entry is written by one thread and replaced whole, so that readers need no lock.
        self._live: dict[str, bool] = {}
        self._newest: dict[str, FrameResult] = {}

    def opened(self, info: StreamInfo) -> None:
        """A source is open, for the first time or again."""
        self._live[info.source_id] = info.is_live

    def ended(self, source_id: str) -> None:
        """A source has ended: nothing that it gives later has to do with what it gave."""
        self._newest.pop(source_id, None)

    def note(self, result: FrameResult) -> None:
        """The newest result of a source, as it is emitted."""
        if self._kind is Compensate.DISPLAY and self._live.get(result.frame.source_id):
            self._newest[result.frame.source_id] = result

    def shows_frames(self, sink: Sink, source_id: str) -> bool:
        """Whether the sink gets the source's frames as they are read, in place of its results."""
        is_late = self._live.get(source_id, False)
        return is_late and self._kind is Compensate.DISPLAY and _is(sink, "pictures")

    def wants_frames(self, sink: Sink, source_id: str) -> bool:
        """Whether the sink is to hear of a frame that was just read; not before the source's first result."""
        watching = isinstance(sink, FrameWatchingSink) or self.shows_frames(sink, source_id)
        return watching and source_id in self._newest

    def view(self, frame: Frame) -> FrameResult | None:
        """A frame with what the newest result says about it; None where the source has ended."""
        newest = self._newest.get(frame.source_id)
        return None if newest is None else newest.on_frame(frame)

    def for_sink(self, sink: Sink, result: FrameResult) -> FrameResult:
        """The result as the sink gets it now."""
        is_late = self._live.get(result.frame.source_id, False)
        if self._kind is Compensate.OFF or not is_late or not _is(sink, "data"):
            return result
        emitted_ns = result.timeline.emitted
        if self._kind is Compensate.DISPLAY or emitted_ns is None:
            return result.moved_to(self._clock.now_ns())
        return result.moved_to(emitted_ns)


def is_compensated(sink: Sink, kind: Compensate) -> bool:
    """Whether a setting other than `off` makes a difference to a sink."""
    shows_newest = isinstance(sink, FrameWatchingSink) or _is(sink, "pictures")
    return _is(sink, "data") or (kind is Compensate.DISPLAY and shows_newest)


def _is(sink: Sink, what: str) -> bool:
    return isinstance(sink, CompensatedSink) and sink.compensated == what
