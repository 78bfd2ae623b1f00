"""Tracking and analytics: what is kept of each source from frame to frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.core.event import Event
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.protocols import Analyst, Clock, ForecastingTracker, Tracker
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing, Scene
from pipeline.core.tracks import Tracks
from pipeline.runtime.detect_stage import DetectedFrame
from pipeline.runtime.fill_in import FillIn
from pipeline.runtime.statistics import RunStatistics

TrackerFactory = Callable[[StreamInfo], Tracker]
NOMINAL_INTERVAL_S = 1 / 30
"""From frame to frame where there is no media time and the tracker does not say what it assumes."""
AnalystFactory = Callable[[StreamInfo], Analyst | None]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is remembered of a source's last frame."""

    n_breaks: int
    captured_ns: int
    shape_hw: tuple[int, int]


class TrackStage:
    """Turns detected frames into results. Called by one thread.

    Args:
        tracker_factory: makes each source's own tracker; None = detection only.
        analyst_factory: makes each source's analytics, or None for a source without rules; None = no analytics.
        info_of: what a source said of itself.
        clock: clock of the stamps.
        statistics: gets the durations of `track` and `analyse`.
        new_ids_after_s: a source that broke and came back after longer than this gets new ids (s): other people may
            stand there now.
    """

    def __init__(
        self,
        tracker_factory: TrackerFactory | None,
        analyst_factory: AnalystFactory | None,
        info_of: Callable[[str], StreamInfo],
        clock: Clock,
        statistics: RunStatistics,
        new_ids_after_s: float = 1.0,
    ) -> None:
        self._tracker_factory = tracker_factory
        self._analyst_factory = analyst_factory
        self._info_of = info_of
        self._clock = clock
        self._statistics = statistics
        self._trackers: dict[str, Tracker] = {}
        self._forecasters: dict[str, ForecastingTracker] = {}
        self._analysts: dict[str, Analyst | None] = {}
        self._next_index: dict[str, int] = {}
        self._ended: set[str] = set()
        self._new_ids_after_s = new_ids_after_s
        self._before: dict[str, _Seen] = {}
        self._fill_in = FillIn()

    def result(self, item: DetectedFrame) -> FrameResult:
        """The frame with its tracks and what happened at it."""
        frame = item.frame
        tracks, motion = self._track(item)
        events, scene = self._analyse(item, tracks)
        dropped_before = frame.index - self._next_index.get(frame.source_id, 0)
        self._next_index[frame.source_id] = frame.index + 1
        return FrameResult(
            frame,
            item.detections,
            tracks,
            item.timeline,
            dropped_before,
            events,
            tracked=self._tracker_factory is not None,
            scene=scene,
            motion=motion,
            filled=item.passed,
        )

    def end(self, source_id: str) -> Closing | None:
        """The source has ended: what its analytics say of it. Should it come back, its ids go on where they were."""
        self._next_index.pop(source_id, None)
        self._ended.add(source_id)
        self._fill_in.forget(source_id)
        analyst = self._analysts.pop(source_id, None)
        return None if analyst is None else analyst.finish()

    def _track(self, item: DetectedFrame) -> tuple[Tracks, TrackMotion | None]:
        tracks: Tracks = Tracks.empty()
        motion: TrackMotion | None = None
        if self._tracker_factory is not None:
            frame = item.frame
            tracker = self._tracker_of(frame.source_id, self._tracker_factory)
            if self._is_another_scene(frame):
                tracker.reset()
                self._fill_in.forget(frame.source_id)
            began_ns = self._clock.now_ns()
            if item.passed:
                tracks, motion = self._fill_in.at(frame)
            else:
                tracks = tracker.update(item.detections, frame.index, frame.pts_s)
                forecaster = self._forecasters.get(frame.source_id)
                motion = None if forecaster is None else forecaster.motion()
                self._fill_in.remember(frame, tracks, motion, getattr(tracker, "interval_s", NOMINAL_INTERVAL_S))
            self._statistics.stage("track").add(self._clock.now_ns() - began_ns)
        item.timeline.stamp("track_end", self._clock.now_ns())
        return tracks, motion

    def _tracker_of(self, source_id: str, make: TrackerFactory) -> Tracker:
        tracker = self._trackers.get(source_id)
        if tracker is None:
            self._trackers[source_id] = tracker = make(self._info_of(source_id))
            # Asked once: it costs more than the answer of the tracker itself.
            if isinstance(tracker, ForecastingTracker):
                self._forecasters[source_id] = tracker
        return tracker

    def _is_another_scene(self, frame: Frame) -> bool:
        """Whether what was tracked before this frame says nothing about it."""
        name = frame.source_id
        now = _Seen(frame.n_breaks, frame.captured_ns, frame.shape_hw)
        before = self._before.get(name, now)
        self._before[name] = now
        if name in self._ended:
            self._ended.remove(name)
            return True
        # Boxes of another picture size are in other pixels.
        if before.shape_hw != now.shape_hw:
            return True
        gap_s = (now.captured_ns - before.captured_ns) / 1e9
        return before.n_breaks != now.n_breaks and gap_s > self._new_ids_after_s

    def _analyse(self, item: DetectedFrame, tracks: Tracks) -> tuple[tuple[Event, ...], Scene | None]:
        if self._analyst_factory is None:
            return (), None
        name = item.frame.source_id
        if name not in self._analysts:
            self._analysts[name] = self._analyst_factory(self._info_of(name))
        analyst = self._analysts[name]
        if analyst is None:
            return (), None
        began_ns = self._clock.now_ns()
        events, scene = analyst.update(item.frame, tracks)
        self._statistics.stage("analyse").add(self._clock.now_ns() - began_ns)
        return events, scene
