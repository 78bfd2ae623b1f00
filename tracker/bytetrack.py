"""ByteTrack: every detection box is associated, the ones with low scores too.

Source: ByteTrack (arXiv 2110.06864), section 3, algorithm 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from pipeline.core.tracks import Tracks
from tracker.association import NEVER, Assignment, associate
from tracker.kalman import Motion, RealArray
from tracker.kernels import Kernels, choose_kernels
from tracker.quirks import FIXED, PUBLISHED, Quirks
from tracker.step_clock import StepClock
from tracker.track_table import TrackState, TrackTable

Rows = NDArray[np.int64]

DUPLICATE_COST = 0.15
"""A tracked and a lost track whose boxes overlap by more than 1 - this are one object (ByteTrack's code)."""
CLOCK_TOLERANCE_S = 1e-6
"""Times are sums of floats: a track is not forgotten for a rounding error."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ByteTrackConfig:
    """Settings of ByteTracker. docs/tracking.md maps them to ByteTrack's own names.

    Raises:
        pydantic.ValidationError: a value out of bounds, or scores that are not low <= high <= new.
    """

    high_score: float = Field(
        default=0.5, ge=0, le=1, description="detections from this score on are matched first (score)"
    )
    low_score: float = Field(default=0.1, ge=0, le=1, description="detections below this score are ignored (score)")
    new_track_score: float = Field(
        default=0.6, ge=0, le=1, description="score that a detection needs to start a track (score)"
    )
    min_iou: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="least similarity (IoU, times score if fuse_score) of a first-stage match (ratio)",
    )
    min_iou_low: float = Field(
        default=0.5, gt=0, le=1, description="least IoU of a match with a low-score detection (ratio)"
    )
    min_iou_new: float = Field(
        default=0.3, gt=0, le=1, description="least similarity of the match that confirms a new track (ratio)"
    )
    fuse_score: bool = Field(
        default=True, description="multiply IoU by score in the first stage; ByteTrack: off for MOT20"
    )
    per_class: bool = Field(default=True, description="never match a track with a detection of another class")
    buffer_s: float = Field(default=1.0, ge=0, description="how long a lost track can be found again (s)")
    nominal_fps: float = Field(
        default=30.0,
        gt=0,
        description="frame rate at which motion noise is ByteTrack's, assumed where times are missing (1/s)",
    )
    output_predicted: bool = Field(default=False, description="also give lost tracks, where they are predicted to be")
    reference_compat: bool = Field(
        default=False, description="behave as ByteTrack's published code, its defects included"
    )

    @model_validator(mode="after")
    def _scores_in_order(self) -> ByteTrackConfig:
        if not self.low_score <= self.high_score <= self.new_track_score:
            raise ValueError(
                "wanted low_score <= high_score <= new_track_score, found "
                f"{self.low_score}, {self.high_score}, {self.new_track_score}; change one of them"
            )
        return self


class ByteTracker:
    """Gives detections of one source ids that last. Implements pipeline.core.protocols.Tracker.

    One instance per source: ids count from 1 within the instance and are never used again, not even after `reset`.

    Args:
        config: the settings.
        kernels: the inner loops; by default the compiled ones where they are built (see tracker.kernels).
    """

    def __init__(self, config: ByteTrackConfig | None = None, kernels: Kernels | None = None) -> None:
        self.config = config or ByteTrackConfig()
        self._kernels = kernels or choose_kernels()
        self._quirks: Quirks = PUBLISHED if self.config.reference_compat else FIXED
        self._motion = Motion(1 / self.config.nominal_fps)
        self._buffer_frames = round(self.config.buffer_s * self.config.nominal_fps)
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget all tracks and the time; ids go on, so that none is used again."""
        self._table = TrackTable()
        self._clock = StepClock(self._motion.interval_s, self.config.buffer_s)
        self._frame = 0
        self._now_s = 0.0

    def __len__(self) -> int:
        """Number of tracks held, lost and unconfirmed ones included."""
        return len(self._table)

    def count(self, state: TrackState) -> int:
        """Number of tracks held in a state."""
        return int(np.count_nonzero(self._table.state == state))

    def update(self, detections: Detections, frame_index: int, pts_s: float | None) -> Tracks:
        """Take the detections of the next frame and return its confirmed tracks.

        Boxes without area are ignored: they overlap nothing.

        Args:
            detections: the frame's boxes, in any order. Not modified.
            frame_index: number of the frame in its source; where frames were dropped it jumps.
            pts_s: media time in seconds, or None. Times that stand still or run back are replaced by an estimate.

        Raises:
            UsageError: a box or score is not finite, or `pts_s` is not.
        """
        self._frame += 1
        self._pass_time(frame_index, pts_s)
        boxes, score = self._checked(detections)
        high, low = self._split(boxes, score)
        class_id = detections.class_id
        table = self._table
        table.detection_row[:] = -1

        pool = np.flatnonzero(table.state != TrackState.NEW)
        first = self._match(pool, high, boxes, score, class_id, self.config.min_iou, self.config.fuse_score)
        left = np.setdiff1d(pool, first.tracks, assume_unique=True)
        left = left[table.state[left] == TrackState.TRACKED]
        second = self._match(left, low, boxes, score, class_id, self.config.min_iou_low, False)
        fresh = np.flatnonzero(table.state == TrackState.NEW)
        high = np.setdiff1d(high, first.detections, assume_unique=True)
        third = self._match(fresh, high, boxes, score, class_id, self.config.min_iou_new, self.config.fuse_score)
        high = np.setdiff1d(high, third.detections, assume_unique=True)

        was = table.state.copy()
        rows = np.concatenate([first.tracks, second.tracks, third.tracks])
        matched = np.concatenate([first.detections, second.detections, third.detections])
        self._correct(rows, matched, boxes, score, class_id)
        born = self._start(high[score[high] >= np.float32(self.config.new_track_score)], boxes, score, class_id)
        self._retire(was, rows, born)
        self._remove_duplicates()
        return self._output()

    def _pass_time(self, frame_index: int, pts_s: float | None) -> None:
        """Predict every track over the time since the frame before, and forget those that were lost too long."""
        table, state = self._table, TrackState
        if self._quirks.time_is_frames:
            dt_s, is_cut = self._motion.interval_s, False
        else:
            dt_s, is_cut = self._clock.step(frame_index, pts_s)
        self._now_s += dt_s
        if is_cut:
            table.arrange(np.zeros(0, np.int64), np.zeros(0, np.int64))
        elif not self._quirks.revives_removed:
            limit_s = self.config.buffer_s + CLOCK_TOLERANCE_S
            alive = (table.state != state.LOST) | (self._now_s - table.last_seen_s <= limit_s)
            if not alive.all():
                rows = np.flatnonzero(alive)
                table.arrange(rows[rows < table.n_seen], rows[rows >= table.n_seen])
        # A lost track keeps its height: an old trend in size soon makes the box absurd.
        table.mean[table.n_seen :, 7] = 0
        moving = table.state != state.NEW if self._quirks.new_tracks_stand_still else table.state != state.REMOVED
        self._kernels.predict(table.mean, table.cov, np.flatnonzero(moving), dt_s, self._motion)

    def _checked(self, detections: Detections) -> tuple[RealArray, NDArray[np.float32]]:
        boxes, score = detections.xyxy.astype(np.float64), detections.confidence
        finite = np.isfinite(boxes).all(axis=1) & np.isfinite(score)
        if not finite.all():
            row = int(np.argmin(finite))
            raise UsageError(
                f"ByteTracker.update: wanted finite boxes and scores, found {boxes[row].tolist()} with score "
                f"{score[row]} in row {row}; check the detector's output"
            )
        return boxes, score

    def _split(self, boxes: RealArray, score: NDArray[np.float32]) -> tuple[Rows, Rows]:
        """Rows of the high and of the low detections."""
        low_score, high_score = np.float32(self.config.low_score), np.float32(self.config.high_score)
        usable = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        if self._quirks.thresholds_excluded:
            high, low = score > high_score, (score > low_score) & (score < high_score)
        else:
            high, low = score >= high_score, (score >= low_score) & (score < high_score)
        return np.flatnonzero(usable & high), np.flatnonzero(usable & low)

    def _match(
        self,
        rows: Rows,
        columns: Rows,
        boxes: RealArray,
        score: NDArray[np.float32],
        class_id: Rows,
        min_similarity: float,
        fuse: bool,
    ) -> Assignment:
        """Associate the tracks `rows` with the detections `columns`; the result is in table rows and detection rows."""
        if not rows.size or not columns.size:
            none = np.zeros(0, np.int64)
            return Assignment(none, none)
        tracks = self._kernels.boxes(self._table.mean[rows])
        cost = self._kernels.iou_cost(tracks, boxes[columns], self._quirks.extent_px)
        if fuse:
            cost = self._kernels.fuse_score(cost, score[columns].astype(np.float64))
        if self.config.per_class:
            cost[self._table.class_id[rows][:, None] != class_id[columns][None, :]] = NEVER
        found = associate(cost, 1 - min_similarity)
        return Assignment(rows[found.tracks], columns[found.detections])

    def _correct(self, rows: Rows, matched: Rows, boxes: RealArray, score: NDArray[np.float32], class_id: Rows) -> None:
        table = self._table
        self._kernels.correct(table.mean, table.cov, rows, self._kernels.measurement(boxes[matched]))
        table.score[rows] = score[matched]
        table.state[rows] = TrackState.TRACKED
        table.last_frame[rows] = self._frame
        table.last_seen_s[rows] = self._now_s
        table.detection_row[rows] = matched
        if not self.config.per_class:
            self._vote(rows, class_id[matched], table.score[rows])

    def _vote(self, rows: Rows, seen: Rows, score: RealArray) -> None:
        """Weighted majority vote: a track's class changes once another one has gathered more confidence."""
        table = self._table
        agrees = table.class_id[rows] == seen
        vote = table.vote[rows] + np.where(agrees, score, -score)
        table.class_id[rows] = np.where(vote < 0, seen, table.class_id[rows])
        table.vote[rows] = np.abs(vote)

    def _start(self, columns: Rows, boxes: RealArray, score: NDArray[np.float32], class_id: Rows) -> Rows:
        """Start a track for each of the detections `columns`; their table rows."""
        table, n = self._table, len(columns)
        if not n:
            return columns
        born = table.extend(n)
        table.mean[born], table.cov[born] = self._kernels.initiate(
            self._kernels.measurement(boxes[columns]), self._motion
        )
        table.score[born] = table.vote[born] = score[columns]
        table.class_id[born] = class_id[columns]
        table.track_id[born] = np.arange(self._next_id, self._next_id + n)
        self._next_id += n
        # What is there when the tracker is switched on needs no second sighting.
        table.state[born] = TrackState.TRACKED if self._frame == 1 else TrackState.NEW
        table.start_frame[born] = table.last_frame[born] = self._frame
        table.last_seen_s[born] = self._now_s
        table.detection_row[born] = columns
        return np.arange(born.start, born.stop)

    def _retire(self, was: Rows, rows: Rows, born: Rows) -> None:
        """Sort the table into the tracks seen in this frame and the lost ones; forget new tracks without a match.

        Args:
            was: states before the frame, of the rows there were.
            rows: table rows that were matched.
            born: table rows that began in this frame.
        """
        table, n = self._table, len(was)
        missed = np.ones(n, np.bool_)
        missed[rows] = False
        found = np.flatnonzero(~missed & ((was == TrackState.LOST) | (was == TrackState.REMOVED)))
        kept = np.flatnonzero(~missed[: table.n_seen])
        lost_before = table.n_seen + np.flatnonzero(missed[table.n_seen :])
        lost_now = np.flatnonzero(missed & (was == TrackState.TRACKED))
        table.state[lost_now] = TrackState.LOST
        lost = np.concatenate([lost_before, lost_now])
        if self._quirks.revives_removed:
            # The published code takes tracks off its list one frame late, by a list of ids that is never cleared.
            lost = lost[table.was_removed[lost] == 0]
            late = lost_before[self._frame - table.last_frame[lost_before] > self._buffer_frames]
            table.state[late] = TrackState.REMOVED
            table.was_removed[late] = 1
        table.arrange(np.concatenate([kept, born, found]), lost)

    def _remove_duplicates(self) -> None:
        """Where a tracked and a lost track overlap nearly fully, keep the one that has been followed longer."""
        table = self._table
        n_seen = table.n_seen
        if not n_seen or n_seen == len(table):
            return
        box = self._kernels.boxes(table.mean)
        cost = self._kernels.iou_cost(box[:n_seen], box[n_seen:], self._quirks.extent_px)
        if self.config.per_class:
            cost[table.class_id[:n_seen, None] != table.class_id[None, n_seen:]] = NEVER
        seen, lost = np.nonzero(cost < DUPLICATE_COST)
        if not seen.size:
            return
        age = table.last_frame - table.start_frame
        margin = age[seen] - age[n_seen + lost]
        lost_goes = margin > 0 if self._quirks.equal_age_drops_tracked else margin >= 0
        keep = np.ones(len(table), np.bool_)
        keep[n_seen + lost[lost_goes]] = False
        keep[seen[~lost_goes]] = False
        rows = np.flatnonzero(keep)
        table.arrange(rows[rows < n_seen], rows[rows >= n_seen])

    def _output(self) -> Tracks:
        table = self._table
        shown = table.state == TrackState.TRACKED
        if self.config.output_predicted:
            shown |= table.state == TrackState.LOST
        rows = np.flatnonzero(shown)
        return Tracks(
            xyxy=self._kernels.boxes(table.mean[rows]).astype(np.float32),
            confidence=table.score[rows].astype(np.float32),
            class_id=table.class_id[rows],
            track_id=table.track_id[rows],
            detection_row=table.detection_row[rows],
        )
