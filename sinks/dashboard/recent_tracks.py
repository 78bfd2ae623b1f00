"""The objects of one source that were seen last, each with a small picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.result import FrameResult
from sinks.dashboard.thumbnail import thumbnail
from sinks.objects import class_name

MOST = 60
_MOST_PER_FRAME = 2
"""Small pictures made for one frame: a crowd that comes in at once is spread over some frames."""
_LARGER = 1.5
_PAUSE_NS = 1_000_000_000
"""A better picture of an object replaces its first one, but not more often than this."""


@dataclass(slots=True)
class RecentTrack:
    """One object.

    Attributes:
        track_id: the tracker's.
        class_name: at its last sighting.
        first_ns, last_ns: when it was seen first and last, on the run's clock.
        frames: in how many frames.
        confidence: at its last sighting.
        jpeg: of it, empty where there is none.
        jpeg_number: changes with `jpeg`.
    """

    track_id: int
    class_name: str
    first_ns: int
    last_ns: int
    frames: int = 0
    confidence: float = 0.0
    jpeg: bytes = b""
    jpeg_number: int = 0
    area_px: float = 0.0
    jpeg_ns: int = 0


class RecentTracks:
    """Keeps the newest `MOST` objects and all that are in view. Not for several threads at once.

    Args:
        class_names: names by class_id.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = class_names
        self._tracks: OrderedDict[int, RecentTrack] = OrderedDict()

    def take(self, result: FrameResult, at_ns: int) -> None:
        """Note the objects of a result."""
        tracks = result.tracks
        left = _MOST_PER_FRAME
        rows = zip(
            tracks.track_id.tolist(),
            tracks.class_id.tolist(),
            tracks.confidence.tolist(),
            tracks.detection_row.tolist(),
            tracks.xyxy.tolist(),
            strict=True,
        )
        for track_id, class_id, confidence, row, box in rows:
            track = self._tracks.get(track_id)
            if track is None:
                track = self._tracks[track_id] = RecentTrack(track_id, "", at_ns, at_ns)
            self._tracks.move_to_end(track_id)
            track.class_name = class_name(self._class_names, class_id)
            track.last_ns, track.confidence = at_ns, confidence
            track.frames += 1
            area_px = (box[2] - box[0]) * (box[3] - box[1])
            # A predicted box may show what has just hidden the object.
            if left and row >= 0 and self._is_better(track, area_px, at_ns):
                left -= 1
                track.area_px, track.jpeg_ns = area_px, at_ns
                track.jpeg = thumbnail(result.frame.image, box)
                track.jpeg_number += 1
        while len(self._tracks) > MOST and next(iter(self._tracks.values())).last_ns < at_ns:
            self._tracks.popitem(last=False)

    def newest(self, limit: int) -> list[RecentTrack]:
        """The last seen first."""
        return list(reversed(self._tracks.values()))[:limit]

    def picture(self, track_id: int) -> bytes:
        """A JPEG of the object, empty where there is none."""
        track = self._tracks.get(track_id)
        return track.jpeg if track else b""

    @staticmethod
    def _is_better(track: RecentTrack, area_px: float, at_ns: int) -> bool:
        return not track.jpeg or (area_px > _LARGER * track.area_px and at_ns - track.jpeg_ns >= _PAUSE_NS)
