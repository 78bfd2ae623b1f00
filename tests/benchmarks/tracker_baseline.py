"""ByteTrack as its authors lay it out, in plain NumPy and SciPy: what bench_tracker.py measures the tracker against.

One object per track and per detection, an 8 x 8 covariance each, one Cholesky factorisation per matched track, lists of
tracks that are joined and subtracted every frame, and a dense overlap matrix for each of the three associations. It
gives the published ids (tests/tracker/test_baseline.py).

Source: ByteTrack (arXiv 2110.06864), section 3, and DeepSORT's filter (arXiv 1703.07402), section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import lap
import numpy as np
from scipy.linalg import lapack

TRACKED, LOST, REMOVED = range(3)
LOW_SCORE, MAX_COST_LOW, MAX_COST_NEW, MAX_COST_DUPLICATE = 0.1, 0.5, 0.7, 0.15
POSITION_STD, VELOCITY_STD = 1 / 20, 1 / 160

MOTION = np.eye(8) + np.eye(8, k=4)


def start_filter(measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (8,) and covariance (8, 8) of a track seen for the first time at (cx, cy, aspect, height)."""
    p, v = 2 * POSITION_STD * measured[3], 10 * VELOCITY_STD * measured[3]
    std = np.array([p, p, 1e-2, p, v, v, 1e-5, v])
    return np.concatenate([measured, np.zeros(4)]), np.diag(std**2)


def correct_filter(mean: np.ndarray, cov: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance after a measurement."""
    p = POSITION_STD * mean[3]
    innovation_cov = cov[:4, :4] + np.diag(np.array([p, p, 1e-1, p]) ** 2)
    factor, _ = lapack.dpotrf(innovation_cov, lower=True)
    gain = lapack.dpotrs(factor, cov[:4], lower=True)[0].T
    return mean + gain @ (measured - mean[:4]), cov - gain @ innovation_cov @ gain.T


@dataclass(eq=False, slots=True)
class Track:
    """A track, or a detection that may become one."""

    measured: np.ndarray
    score: float
    mean: np.ndarray = field(init=False)
    cov: np.ndarray = field(init=False)
    track_id: int = 0
    state: int = TRACKED
    confirmed: bool = False
    start_frame: int = 0
    last_frame: int = 0

    @classmethod
    def at(cls, xyxy: np.ndarray, score: float) -> Track:
        """A detection."""
        width, height = xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]
        measured = np.array([xyxy[0] + width / 2, xyxy[1] + height / 2, width / height, height])
        track = cls(measured, score)
        track.mean = measured
        return track

    def start(self, track_id: int, frame: int) -> None:
        """Become a track; those of the first frame need no second sighting."""
        self.mean, self.cov = start_filter(self.measured)
        self.track_id, self.start_frame, self.last_frame = track_id, frame, frame
        self.confirmed = frame == 1

    def take(self, detection: Track, frame: int) -> None:
        """Be the detection in this frame."""
        self.mean, self.cov = correct_filter(self.mean, self.cov, detection.measured)
        self.score, self.last_frame = detection.score, frame
        self.state, self.confirmed = TRACKED, True


def predict(tracks: list[Track]) -> None:
    """Move all tracks on by one frame."""
    if not tracks:
        return
    mean = np.concatenate([t.mean for t in tracks]).reshape(-1, 8)
    cov = np.concatenate([t.cov for t in tracks]).reshape(-1, 8, 8)
    mean[[t.state != TRACKED for t in tracks], 7] = 0
    p, v, one = POSITION_STD * mean[:, 3], VELOCITY_STD * mean[:, 3], np.ones(len(tracks))
    variance = np.column_stack([p, p, 1e-2 * one, p, v, v, 1e-5 * one, v]) ** 2
    mean = mean @ MOTION.T
    cov = MOTION @ cov @ MOTION.T + variance[:, :, None] * np.eye(8)
    for track, m, c in zip(tracks, mean, cov, strict=True):
        track.mean, track.cov = m, c


def corners(tracks: list[Track]) -> np.ndarray:
    """Corners (n, 4) in px."""
    mean = np.concatenate([t.mean[:4] for t in tracks]).reshape(-1, 4)
    half = np.column_stack([mean[:, 2] * mean[:, 3], mean[:, 3]]) / 2
    return np.concatenate([mean[:, :2] - half, mean[:, :2] + half], axis=1)


def overlap_cost(a: list[Track], b: list[Track]) -> np.ndarray:
    """1 - IoU (n, m); corners are pixel indices and both belong to the box."""
    if not a or not b:
        return np.zeros((len(a), len(b)))
    p, q = corners(a), corners(b)
    both = 1.0
    for low, high in ((0, 2), (1, 3)):
        side = np.minimum(p[:, None, high], q[:, high])
        side -= np.maximum(p[:, None, low], q[:, low])
        side += 1
        both *= np.maximum(side, 0, out=side)
    area_p, area_q = (p[:, 2:] - p[:, :2] + 1).prod(axis=1), (q[:, 2:] - q[:, :2] + 1).prod(axis=1)
    return 1 - both / (area_p[:, None] + area_q - both)


def associate(cost: np.ndarray, max_cost: float) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Matched pairs at least total cost, then the rows and the columns left over."""
    if cost.size == 0:
        return [], list(range(cost.shape[0])), list(range(cost.shape[1]))
    _, column_of, row_of = lap.lapjv(cost, extend_cost=True, cost_limit=max_cost)
    pairs = [(int(i), int(j)) for i, j in enumerate(column_of) if j >= 0]
    return pairs, np.flatnonzero(column_of < 0).tolist(), np.flatnonzero(row_of < 0).tolist()


def joined(first: list[Track], then: list[Track]) -> list[Track]:
    """Each track once, in order."""
    return list(dict.fromkeys([*first, *then]))


def without(tracks: list[Track], others: list[Track]) -> list[Track]:
    """The tracks that are not among the others."""
    gone = set(others)
    return [t for t in tracks if t not in gone]


def without_duplicates(tracked: list[Track], lost: list[Track]) -> tuple[list[Track], list[Track]]:
    """Of a tracked and a lost track on one object, only the one that has been followed longer."""
    gone = []
    for i, j in np.argwhere(overlap_cost(tracked, lost) < MAX_COST_DUPLICATE):
        a, b = tracked[i], lost[j]
        gone.append(b if a.last_frame - a.start_frame > b.last_frame - b.start_frame else a)
    return without(tracked, gone), without(lost, gone)


class BaselineTracker:
    """The published tracker's steps.

    Args:
        high_score: the published `track_thresh`; a new track needs 0.1 more.
        max_cost: the published `match_thresh`.
        buffer_frames: for how many frames a lost track is kept.
        fuse_score: multiply overlap by score; the published code does, except for MOT20.
    """

    def __init__(
        self, high_score: float = 0.5, max_cost: float = 0.8, buffer_frames: int = 30, fuse_score: bool = True
    ) -> None:
        self.high_score, self.new_track_score = high_score, high_score + 0.1
        self.max_cost, self.buffer_frames, self.fuse_score = max_cost, buffer_frames, fuse_score
        self.frame = self.last_id = 0
        self.tracked: list[Track] = []
        self.lost: list[Track] = []
        self.removed: list[Track] = []

    def cost(self, tracks: list[Track], detections: list[Track]) -> np.ndarray:
        """Cost of the stages for detections with high scores."""
        cost = overlap_cost(tracks, detections)
        if not self.fuse_score or not cost.size:
            return cost
        return 1 - (1 - cost) * np.array([d.score for d in detections])

    def update(self, xyxy: np.ndarray, scores: np.ndarray) -> list[Track]:
        """Take the boxes (n, 4) px and scores (n,) of the next frame; the confirmed tracks seen in it."""
        self.frame += 1
        is_high = scores > self.high_score
        is_low = (scores > LOW_SCORE) & (scores < self.high_score)
        high = [Track.at(box, score) for box, score in zip(xyxy[is_high], scores[is_high], strict=True)]
        low = [Track.at(box, score) for box, score in zip(xyxy[is_low], scores[is_low], strict=True)]
        confirmed = [t for t in self.tracked if t.confirmed]
        seen_once = [t for t in self.tracked if not t.confirmed]
        seen: list[Track] = []
        found: list[Track] = []
        lost_now: list[Track] = []
        removed_now: list[Track] = []

        pool = joined(confirmed, self.lost)
        predict(pool)
        pairs, missed, left = associate(self.cost(pool, high), self.max_cost)
        for i, j in pairs:
            (seen if pool[i].state == TRACKED else found).append(pool[i])
            pool[i].take(high[j], self.frame)

        again = [pool[i] for i in missed if pool[i].state == TRACKED]
        pairs, missed, _ = associate(overlap_cost(again, low), MAX_COST_LOW)
        for i, j in pairs:
            again[i].take(low[j], self.frame)
            seen.append(again[i])
        for i in missed:
            again[i].state = LOST
            lost_now.append(again[i])

        high = [high[j] for j in left]
        pairs, missed, left = associate(self.cost(seen_once, high), MAX_COST_NEW)
        for i, j in pairs:
            seen_once[i].take(high[j], self.frame)
            seen.append(seen_once[i])
        for i in missed:
            seen_once[i].state = REMOVED
            removed_now.append(seen_once[i])

        for j in left:
            if high[j].score >= self.new_track_score:
                self.last_id += 1
                high[j].start(self.last_id, self.frame)
                seen.append(high[j])
        for track in self.lost:
            if self.frame - track.last_frame > self.buffer_frames:
                track.state = REMOVED
                removed_now.append(track)

        still = [t for t in self.tracked if t.state == TRACKED]
        self.tracked = joined(joined(still, seen), found)
        self.lost = without(without(self.lost, self.tracked) + lost_now, self.removed)
        self.removed += removed_now
        self.tracked, self.lost = without_duplicates(self.tracked, self.lost)
        return [t for t in self.tracked if t.confirmed]
