"""Detections of chosen frames through the default tracker, as a run passes them on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.config.build import tracker_factory
from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.protocols import ForecastingTracker
from pipeline.core.tracks import Tracks
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.stream import Stream


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """A frame's tracks, and where they are going."""

    tracks: Tracks
    motion: TrackMotion


def track(frames: Iterable[tuple[int, Detections]], stream: Stream) -> Iterator[Tracked]:
    """Track a stream of which some frames were looked at.

    Args:
        frames: number of each frame and what was found in it, by rising numbers.
        stream: the stream.
    """
    tracker = _tracker(stream)
    for frame, detections in frames:
        tracks = tracker.update(detections, frame, frame * stream.interval_s)
        yield Tracked(tracks, tracker.motion())


def track_every_frame(frames: Sequence[Detections], stream: Stream) -> list[Boxes]:
    """The tracks' boxes of every frame."""
    return [Boxes.of_tracks(one.tracks) for one in track(enumerate(frames), stream)]


def _tracker(stream: Stream) -> ForecastingTracker:
    factory = tracker_factory({})
    info = StreamInfo(stream.name, stream.width_px, stream.height_px, float(stream.fps), True, stream.n_frames)
    tracker = None if factory is None else factory(info)
    if not isinstance(tracker, ForecastingTracker):
        raise UsageError("tune: wanted the default tracker to tell where tracks are going, found one that does not")
    return tracker
