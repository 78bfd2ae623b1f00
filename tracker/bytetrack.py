"""ByteTrack: every detection box is associated, the ones with low scores too.

Source: ByteTrack (arXiv 2110.06864), section 3, algorithm 1.
"""

from __future__ import annotations

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from pipeline.core.tracks import Tracks
from tracker import kalman, kernels
from tracker.association import MatchRule
from tracker.quirks import FIXED, PUBLISHED
from tracker.step_clock import StepClock
from tracker.track_table import Real, TrackState, TrackTable, Whole

NEW, TRACKED, LOST, REMOVED = (int(state) for state in TrackState)
NONE = np.zeros(0, np.int64)

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
    """Gives the detections of one source ids that last. Implements pipeline.core.protocols.Tracker.

    One instance per source: ids count from 1 within the instance and are never used again, not even after `reset`.

    Args:
        config: the settings.
        backend: the inner loops to use, `cython` or `numpy`; None takes `tracker.kernels.BACKEND`.

    Raises:
        UsageError: `backend` is neither.
        BackendError: `cython` is wanted and not built.
    """

    def __init__(self, config: ByteTrackConfig | None = None, backend: str | None = None) -> None:
        self.config = config = config or ByteTrackConfig()
        self._kernels = kernels.load_kernels(backend) if backend else kernels.DEFAULT
        self._quirks = quirks = PUBLISHED if config.reference_compat else FIXED
        self._motion = kalman.Motion(1 / config.nominal_fps)
        self._buffer_frames = round(config.buffer_s * config.nominal_fps)
        extent = quirks.extent_px
        self._first = MatchRule(1 - config.min_iou, config.fuse_score, config.per_class, extent)
        self._second = MatchRule(1 - config.min_iou_low, False, config.per_class, extent)
        self._confirming = MatchRule(1 - config.min_iou_new, config.fuse_score, config.per_class, extent)
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget all tracks and the time; ids go on, so that none is used again."""
        self._table = TrackTable()
        self._clock = StepClock(self._motion.interval_s, self.config.buffer_s)
        self._frame = 0
        self._now_s = 0.0

    def __len__(self) -> int:
        """Number of tracks held, lost and new ones included."""
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
            UsageError: a box, a score or `pts_s` is not finite. The tracker is as it was before.
        """
        high, low = self._split(detections)
        self._pass_time(frame_index, pts_s)
        table = self._table
        is_new = table.state == NEW
        pool, fresh = (~is_new).nonzero()[0], is_new.nonzero()[0]

        rows, columns, missed, high = self._match(pool, high, detections, self._first)
        self._correct(rows, columns, detections)
        # The low boxes are for tracks that were seen a moment ago: a lost one is found by a good box only.
        missed = missed[table.state[missed] == TRACKED]
        rows, columns, _, _ = self._match(missed, low, detections, self._second)
        self._correct(rows, columns, detections)
        rows, columns, _, high = self._match(fresh, high, detections, self._confirming)
        self._correct(rows, columns, detections)

        strong = detections.confidence[high] >= np.float32(self.config.new_track_score)
        n_before = len(table)
        self._start(high[strong], detections)
        self._retire(n_before)
        self._remove_duplicates()
        return self._output()

    def _split(self, detections: Detections) -> tuple[Whole, Whole]:
        """Rows of the high and of the low detections."""
        xyxy, score, config = detections.xyxy, detections.confidence, self.config
        exclusive = self._quirks.thresholds_excluded
        high, low, broken = self._kernels.split(xyxy, score, config.low_score, config.high_score, exclusive)
        if broken >= 0:
            raise UsageError(
                f"ByteTracker.update: wanted finite boxes and scores, found {xyxy[broken].tolist()} with score "
                f"{score[broken]} in row {broken}; check the detector's output"
            )
        return high, low

    def _pass_time(self, frame_index: int, pts_s: float | None) -> None:
        """Predict every track over the time since the frame before, and forget those that were lost too long."""
        table, quirks = self._table, self._quirks
        if quirks.time_is_frames:
            dt_s, is_cut = self._motion.interval_s, False
        else:
            dt_s, is_cut = self._clock.step(frame_index, pts_s)
        self._frame += 1
        self._now_s += dt_s
        if is_cut:
            table.clear()
        elif table.n_seen < len(table) and not quirks.revives_removed:
            since_s = self._now_s - table.last_seen_s
            table.keep((table.state != LOST) | (since_s <= self.config.buffer_s + CLOCK_TOLERANCE_S))
        moves_new = not quirks.new_tracks_stand_still
        self._kernels.predict(table.real, table.whole, moves_new, dt_s, self._motion.step_noise(dt_s))

    def _match(
        self, rows: Whole, columns: Whole, detections: Detections, rule: MatchRule
    ) -> tuple[Whole, Whole, Whole, Whole]:
        """Associate tracks with detections: matched rows and columns, then the rows and the columns left over."""
        if not len(rows) or not len(columns):
            return NONE, NONE, rows, columns
        table, d = self._table, detections
        return self._kernels.match(table.real, table.whole, rows, d.xyxy, d.confidence, d.class_id, columns, rule)

    def _correct(self, rows: Whole, columns: Whole, detections: Detections) -> None:
        """Correct the matched tracks `rows` by the detections `columns`."""
        if not len(rows):
            return
        table, d = self._table, detections
        self._kernels.correct(table.real, table.whole, rows, d.xyxy, d.confidence, columns, self._frame, self._now_s)
        table.state[rows] = TRACKED
        if not self.config.per_class:
            self._vote(rows, d.class_id[columns], table.score[rows])

    def _vote(self, rows: Whole, seen: Whole, score: Real) -> None:
        """Weighted majority vote: a track's class changes once another one has gathered more confidence."""
        table = self._table
        before = table.class_id[rows]
        vote = table.vote[rows] + np.where(before == seen, score, -score)
        table.class_id[rows] = np.where(vote < 0, seen, before)
        table.vote[rows] = np.abs(vote)

    def _start(self, columns: Whole, detections: Detections) -> None:
        """Start a track, at the end of the table, for each of the detections `columns`."""
        n = len(columns)
        if not n:
            return
        table = self._table
        born = table.extend(n)
        measured = kalman.measurement(detections.xyxy[columns])
        table.mean[born], table.cov[born] = kalman.initiate(measured, self._motion)
        table.score[born] = table.vote[born] = detections.confidence[columns]
        table.class_id[born] = detections.class_id[columns]
        table.track_id[born] = np.arange(self._next_id, self._next_id + n)
        self._next_id += n
        # What is there when the tracker is switched on needs no second sighting.
        table.state[born] = TRACKED if self._frame == 1 else NEW
        table.start_frame[born] = table.last_frame[born] = self._frame
        table.last_seen_s[born] = self._now_s
        table.detection_row[born] = columns

    def _retire(self, n_before: int) -> None:
        """Sort the table into the tracks seen in this frame and the lost ones; forget new tracks without a match.

        Args:
            n_before: number of rows before tracks began in this frame.
        """
        table = self._table
        order, n_seen = self._kernels.rows_in_order(table.whole, table.n_seen, n_before)
        table.arrange(order, n_seen)
        if self._quirks.revives_removed:
            # The published code looks at its lost tracks after matching, and at those lost just now a frame later.
            missed_for = self._frame - table.last_frame
            late = (table.state >= LOST) & (missed_for > max(self._buffer_frames, 1))
            table.state[late] = REMOVED
            table.was_removed[late] = 1

    def _remove_duplicates(self) -> None:
        """Where a seen and a lost track overlap nearly fully, keep the one that has been followed longer."""
        table, n_seen = self._table, self._table.n_seen
        if not n_seen or n_seen == len(table):
            return
        seen, lost = self._kernels.duplicates(
            table.real, table.whole, n_seen, DUPLICATE_COST, self.config.per_class, self._quirks.extent_px
        )
        if not len(seen):
            return
        age = table.last_frame - table.start_frame
        lead = age[seen] - age[lost]
        lost_goes = lead > 0 if self._quirks.equal_age_drops_tracked else lead >= 0
        wanted = np.ones(len(table), np.bool_)
        wanted[lost[lost_goes]] = False
        wanted[seen[~lost_goes]] = False
        table.keep(wanted)

    def _output(self) -> Tracks:
        last_state = LOST if self.config.output_predicted else TRACKED
        xyxy, score, class_id, track_id, detection_row = self._kernels.select(
            self._table.real, self._table.whole, last_state
        )
        return Tracks(xyxy, score, class_id, track_id, detection_row)
