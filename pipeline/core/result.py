"""All that is known about one frame: what sinks get."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.core.detections import Detections
from pipeline.core.event import Event
from pipeline.core.frame import Frame
from pipeline.core.motion import TrackMotion
from pipeline.core.scene import Scene
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks


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
