"""What the dashboard knows: of every source what is newest, the last minutes, recent objects and events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence

from pipeline.core.frame import Frame
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from sinks.dashboard.history import History, HistoryStep
from sinks.dashboard.recent_events import RecentEvent, RecentEvents
from sinks.dashboard.recent_tracks import RecentTrack, RecentTracks
from sinks.objects import shown_objects


class _SourceBoard:
    def __init__(self, class_names: Sequence[str]) -> None:
        self.newest: FrameResult | None = None
        self.frame: Frame | None = None
        self.shown: FrameResult | None = None
        self.number = 0
        self.history = History()
        self.tracks = RecentTracks(class_names)

    def show(self) -> FrameResult | None:
        """The newest frame with what is known of it; made once, when it is first asked for."""
        if self.shown is None and self.newest is not None:
            frame = self.newer_frame(self.newest)
            self.shown = self.newest if frame is None else self.newest.on_frame(frame)
        return self.shown

    def newer_frame(self, result: FrameResult) -> Frame | None:
        """The newest frame that was seen, if it is newer than a result's."""
        frame = self.frame
        return frame if frame is not None and frame.captured_ns > result.frame.captured_ns else None


class Board:
    """Taken from by many threads, written by the sink's. Nothing in it grows without bound.

    Args:
        class_names: names by class_id.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = class_names
        self._lock = threading.Lock()
        self._sources: dict[str, _SourceBoard] = {}
        self._events = RecentEvents()
        self.on_result: Callable[[str], None] = lambda source_id: None
        """Called after every result, with its source."""
        self.on_event: Callable[[RecentEvent], None] = lambda event: None
        """Called with every event."""
        self.ap50_lost: Mapping[str, float] = {}
        """Share of AP50 that latency takes, by source; replaced whole. Charts keep it."""

    def take(self, result: FrameResult) -> None:
        """Note a result. Costs next to nothing where nobody came, left or did anything."""
        name = result.frame.source_id
        latency_ms = result.timeline.between_ms("captured", "emitted") or 0.0
        at_ns = result.timeline.emitted or result.frame.captured_ns
        with self._lock:
            source = self._sources.setdefault(name, _SourceBoard(self._class_names))
            source.newest, source.shown = result, None
            # A picture that is newer than this result need not be drawn again for it: the next one comes soon.
            source.number += source.number == 0 or source.newer_frame(result) is None
            n_objects, n_events = len(shown_objects(result)), len(result.events)
            source.history.add(at_ns, latency_ms, n_objects, n_events, self.ap50_lost.get(name, 0.0))
            if result.tracked:
                source.tracks.take(result, at_ns)
            told = [self._events.take(event, result.frame.image) for event in result.events]
        self.on_result(name)
        self._tell(told)

    def see(self, frame: Frame) -> None:
        """Note a frame that was just read: pictures show it, with the newest result's tracks moved to it."""
        with self._lock:
            source = self._sources.get(frame.source_id)
            if source is None:
                return
            source.frame, source.shown = frame, None
            source.number += 1
        self.on_result(frame.source_id)

    def end_source(self, closing: Closing) -> None:
        """Note the events that a source's end has ended."""
        with self._lock:
            told = [self._events.take(event, None) for event in closing.events]
        self._tell(told)

    def keep(self, source_ids: Collection[str]) -> None:
        """Let everything go that belongs to other sources than these."""
        with self._lock:
            for name in [name for name in self._sources if name not in source_ids]:
                del self._sources[name]
                self._events.forget(name)

    def newest(self, source_id: str) -> tuple[int, FrameResult] | None:
        """What pictures of a source show and its number, counted from 1; None before the first result.

        It is the newest result, or a newer frame with that result's tracks moved to it.
        """
        with self._lock:
            source = self._sources.get(source_id)
            shown = source.show() if source else None
            return (source.number, shown) if source and shown else None

    def history(self, source_id: str, now_ns: int) -> list[HistoryStep]:
        """The last minutes of a source, oldest first."""
        with self._lock:
            source = self._sources.get(source_id)
            return source.history.steps(now_ns) if source else []

    def tracks(self, source_id: str, limit: int) -> list[RecentTrack]:
        """Objects of a source, the last seen first."""
        with self._lock:
            source = self._sources.get(source_id)
            return source.tracks.newest(limit) if source else []

    def track_picture(self, source_id: str, track_id: int) -> bytes:
        """A JPEG of an object, empty where there is none."""
        with self._lock:
            source = self._sources.get(source_id)
            return source.tracks.picture(track_id) if source else b""

    def events(self, limit: int, source_id: str | None = None) -> list[RecentEvent]:
        """What happened, newest first; of one source, or of all."""
        with self._lock:
            return self._events.newest(limit, source_id)

    def event_picture(self, event_id: str) -> bytes:
        """A JPEG of what an event is about, empty where there is none."""
        with self._lock:
            return self._events.picture(event_id)

    def _tell(self, events: Sequence[RecentEvent | None]) -> None:
        for event in events:
            if event is not None:
                self.on_event(event)
