"""Where each track has been in the last seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.core.result import FrameResult
from pipeline.core.tracks import Tracks

MAX_POINTS = 48
"""Points kept of one track, whatever the frame rate. Drawing costs in proportion; more cannot be seen."""
_FAR_PX = 1e5
"""A box may reach far outside the picture; nothing farther than this is drawn."""
_JITTER_S = 1.0
"""Times of capture and of the source differ by the network's jitter; what lies farther back is a new beginning."""


@dataclass(slots=True)
class _Trail:
    points: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=MAX_POINTS))
    """Time (s), x, y (px)."""


class Trails:
    """The paths of one source's tracks; tracks that are gone are forgotten after `keep_s`.

    Args:
        keep_s: length of the paths in seconds of the source's time.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._trails: dict[int, _Trail] = {}
        self._latest_s = float("-inf")
        self._measured_ns: int | None = None

    def __len__(self) -> int:
        return len(self._trails)

    def add_result(self, result: FrameResult, at_s: float) -> None:
        """Note where the tracks of a result were measured; `at_s` is its frame's time.

        Of tracks that were moved off the frame they were found in it takes what was detected there, once: places that
        were only foreseen, and corrected by the next result, would make zigzags.
        """
        found_ns = result.timeline.captured
        if result.boxes_at_ns is None or found_ns is None:
            self.add(result.tracks, at_s)
        elif found_ns != self._measured_ns:
            self._measured_ns = found_ns
            found_s = at_s - (result.frame.captured_ns - found_ns) / 1e9
            if found_s > self._latest_s - _JITTER_S:
                found_s = max(found_s, self._latest_s)
            detected = result.tracks.select(result.tracks.detection_row >= 0)
            self.add(replace(detected, xyxy=result.detections.xyxy[detected.detection_row]), found_s)

    def add(self, tracks: Tracks, at_s: float) -> None:
        """Note where the tracks stand (the middle of their lower edge) at a time in seconds."""
        if at_s < self._latest_s:
            # The stream began anew, so the old times mean nothing any more.
            self._trails.clear()
        self._latest_s = at_s
        for track_id, (x, y) in zip(tracks.track_id.tolist(), _feet(tracks).tolist(), strict=True):
            self._append(self._trails.setdefault(track_id, _Trail()).points, (at_s, x, y))
        self._forget(at_s - self._keep_s)

    def path(self, track_id: int) -> NDArray[np.float32]:
        """(k, 2) float32 positions of a track in px, oldest first; k may be 0."""
        trail = self._trails.get(track_id)
        if trail is None:
            return np.zeros((0, 2), np.float32)
        return np.array(list(trail.points), np.float64)[:, 1:].astype(np.float32)

    def path_to(self, tracks: Tracks, row: int) -> NDArray[np.float32]:
        """The path of a track to where it stands now, (k, 2) float32 px; k may be 0."""
        path, foot = self.path(int(tracks.track_id[row])), _feet(tracks)[row]
        if not len(path) or (path[-1] == foot).all():
            return path
        return np.vstack([path, foot])

    def _append(self, points: deque[tuple[float, float, float]], point: tuple[float, float, float]) -> None:
        # The newest point always follows the object; older ones keep a distance in time, so that MAX_POINTS suffice.
        if len(points) >= 2 and points[-1][0] - points[-2][0] < self._keep_s / (MAX_POINTS - 2):
            points.pop()
        points.append(point)

    def _forget(self, before_s: float) -> None:
        for track_id in list(self._trails):
            points = self._trails[track_id].points
            while points and points[0][0] < before_s:
                points.popleft()
            if not points:
                del self._trails[track_id]


def _feet(tracks: Tracks) -> NDArray[np.float32]:
    """(n, 2) middles of the lower edges in px."""
    feet: NDArray[np.float32] = np.stack([(tracks.xyxy[:, 0] + tracks.xyxy[:, 2]) / 2, tracks.xyxy[:, 3]], axis=1)
    return feet.clip(-_FAR_PX, _FAR_PX)
