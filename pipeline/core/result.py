"""All that is known about one frame: what sinks get."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pipeline.core.detections import Detections
from pipeline.core.event import Event
from pipeline.core.frame import Frame
from pipeline.core.motion import TrackMotion
from pipeline.core.scene import Scene
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks

HORIZON_S = 1.0
"""Boxes are moved no farther ahead: what moves evenly for a second need not do so for two."""
STALE_S = 5.0
"""A result says nothing about a picture that is so much newer."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """One frame with what was found in it. Shared by all sinks; nobody changes it.

    Attributes:
        frame: the frame as it was read.
        detections: the detector's boxes.
        tracks: the tracker's boxes and ids.
        timeline: the frame's instants, `emitted` included by the time a sink sees it.
        dropped_before: frames of the same source that were dropped since the result before this one.
        events: what analytics saw happen at this frame.
        tracked: False in a run without a tracker: sinks then show the detections instead of the tracks.
        scene: lines, zones and their counts after this frame, or None in a run without analytics.
        motion: where the tracks are going, row by row; None where the tracker does not say.
        boxes_at_ns: the instant for which the tracks' boxes hold where they were moved off their frame; else None.
        filled: the frame was not detected: no detections, and the tracks are those of an earlier frame, moved on to it.
    """

    frame: Frame
    detections: Detections
    tracks: Tracks
    timeline: Timeline
    dropped_before: int = 0
    events: tuple[Event, ...] = field(default=())
    tracked: bool = True
    scene: Scene | None = None
    motion: TrackMotion | None = None
    boxes_at_ns: int | None = None
    filled: bool = False

    def moved_to(self, at_ns: int) -> FrameResult:
        """The result with its tracks where they are at an instant (ns, on the clock of `captured_ns`).

        They are moved forward by up to `HORIZON_S`, and `boxes_at_ns` says to when. Frame, detections, events and scene
        stay. Itself where nothing is known of the tracks' motion.
        """
        captured_ns = self.frame.captured_ns
        at_ns = min(max(at_ns, captured_ns), captured_ns + round(HORIZON_S * 1e9))
        return self._moved((at_ns - captured_ns) / 1e9, at_ns)

    def on_frame(self, frame: Frame) -> FrameResult:
        """What is known of a later frame of the same source: that frame, with the tracks moved on to it.

        Events are left out, for they belong to their own frame. Tracks are too where they say nothing about the frame:
        its size is another one, the source broke in between, or it is newer by `STALE_S`.
        """
        before = self.frame
        is_other = before.shape_hw != frame.shape_hw or before.n_breaks != frame.n_breaks
        if is_other or frame.captured_ns - before.captured_ns >= STALE_S * 1e9:
            nothing, none = Tracks.empty(), Detections.empty()
            return replace(self, frame=frame, events=(), tracks=nothing, detections=none, motion=None, boxes_at_ns=None)
        gap_ns = frame.captured_ns - before.captured_ns
        ahead_s = gap_ns / 1e9
        if before.pts_s is not None and frame.pts_s is not None and frame.pts_s > before.pts_s:
            # The time that the tracker counts in; that of the capture has the network's jitter in it.
            ahead_s = frame.pts_s - before.pts_s
        at_ns = before.captured_ns + min(gap_ns, round(HORIZON_S * 1e9))
        return replace(self._moved(min(ahead_s, HORIZON_S), at_ns), frame=frame, events=())

    def _moved(self, ahead_s: float, at_ns: int) -> FrameResult:
        """With the tracks so many seconds ahead of their frame."""
        if self.motion is None:
            return self
        held_s = 0.0 if self.boxes_at_ns is None else (self.boxes_at_ns - self.frame.captured_ns) / 1e9
        step_s = ahead_s - held_s
        tracks = replace(self.tracks, xyxy=self.motion.moved(self.tracks.xyxy, step_s))
        motion = replace(self.motion, std_px=self.motion.std_after(step_s))
        return replace(self, tracks=tracks, motion=motion, boxes_at_ns=at_ns)
