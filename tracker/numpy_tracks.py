"""The tracks of one source and what a frame does to them, in NumPy: the same results as tracker/_fast.pyx."""

from __future__ import annotations

import numpy as np

from pipeline.core.detections import Detections
from tracker import kalman, velocity
from tracker import numpy_kernels as kernels
from tracker.association import MatchRule
from tracker.numpy_kernels import Float32, Real, Whole
from tracker.rules import CLOCK_TOLERANCE_S, DUPLICATE_COST, StepRules
from tracker.track_table import TrackState, TrackTable
from tracker.velocity import Drift, Noise

NAME = "numpy"

NEW, TRACKED, LOST, REMOVED = (int(state) for state in TrackState)
NONE = np.zeros(0, np.int64)


class HeldTracks:
    """The tracks of one source. Implements tracker.kernels.HeldTracks.

    Args:
        rules: what a step asks for.
    """

    def __init__(self, rules: StepRules) -> None:
        self._rules = rules
        self._last_shown = LOST if rules.output_predicted else TRACKED
        self._next_id = 1
        self.clear()

    def clear(self) -> None:
        """Forget all tracks and the time; ids go on, so that none is used again."""
        self._table = TrackTable()
        self._drift, self._noise = Drift(), Noise()
        self._seen, self._high, self._low = Detections.empty(), NONE, NONE
        self._frame = 0
        self._now_s = 0.0

    def __len__(self) -> int:
        """Number of tracks held, lost and new ones included."""
        return len(self._table)

    def count(self, state: int) -> int:
        """Number of tracks held in a state."""
        return int(np.count_nonzero(self._table.state == state))

    def read(self, detections: Detections) -> int:
        """Take the detections of the next frame; return the first row that is not finite, or -1."""
        rules = self._rules
        self._seen = detections
        self._high, self._low, broken = kernels.split(
            detections.xyxy,
            detections.confidence,
            rules.low_score,
            rules.high_score,
            rules.quirks.thresholds_excluded,
        )
        return broken

    def step(self, dt_s: float, is_cut: bool) -> tuple[Float32, Float32, Whole, Whole, Whole]:
        """Do to the tracks what the detections read last ask for.

        Args:
            dt_s: seconds since the frame before.
            is_cut: forget all tracks first.

        Returns:
            corners in px, score, class, id and detection row of the tracks to show; read-only.
        """
        self._pass_time(dt_s, is_cut)
        table, rules = self._table, self._rules
        is_new = table.state == NEW
        pool, fresh = np.flatnonzero(~is_new), np.flatnonzero(is_new)

        missed, high = self._match(pool, self._high, rules.first)
        # The low boxes are for tracks that were seen a moment ago: a lost one is found by a good box only.
        self._match(missed[table.state[missed] == TRACKED], self._low, rules.second)
        _, high = self._match(fresh, high, rules.confirming)
        self._follow(dt_s)

        strong = self._seen.confidence[high] >= np.float32(rules.new_track_score)
        n_before = len(table)
        self._start(high[strong])
        self._retire(n_before)
        self._remove_duplicates()
        return kernels.select(table.real, table.whole, self._last_shown)

    def motion(self) -> tuple[Float32, Float32, Float32]:
        """How the tracks to show move, row by row: the fields of pipeline.core.motion.TrackMotion; read-only."""
        rows = kernels.shown_rows(self._table.whole, self._last_shown)
        fields = [
            field.astype(np.float32) for field in velocity.motion(self._table.real[rows], self._drift, self._noise)
        ]
        for field in fields:
            field.setflags(write=False)
        return fields[0], fields[1], fields[2]

    def _pass_time(self, dt_s: float, is_cut: bool) -> None:
        """Predict every track over the time since the frame before, and forget those that were lost too long."""
        table, rules = self._table, self._rules
        self._frame += 1
        self._now_s += dt_s
        if is_cut:
            table.clear()
            self._drift = Drift()
        elif table.n_seen < len(table) and not rules.quirks.revives_removed:
            since_s = self._now_s - table.last_seen_s
            table.keep((table.state != LOST) | (since_s <= rules.buffer_s + CLOCK_TOLERANCE_S))
        moves_new = not rules.quirks.new_tracks_stand_still
        kernels.predict(table.real, table.whole, moves_new, dt_s, rules.motion.step_noise(dt_s))
        velocity.pass_time(table.real, self._drift, dt_s)

    def _match(self, rows: Whole, columns: Whole, rule: MatchRule) -> tuple[Whole, Whole]:
        """Associate tracks with detections and correct the tracks; return the rows and the columns left over."""
        if not len(rows) or not len(columns):
            return rows, columns
        table, seen = self._table, self._seen
        xyxy, score, class_id = seen.xyxy, seen.confidence, seen.class_id
        matched, by, missed, left = kernels.match(table.real, table.whole, rows, xyxy, score, class_id, columns, rule)
        if len(matched):
            kernels.correct(table.real, table.whole, matched, xyxy, score, by, self._frame, self._now_s)
            if not self._rules.per_class:
                self._vote(matched, class_id[by], table.score[matched])
        return missed, left

    def _follow(self, dt_s: float) -> None:
        """Learn the velocity of the tracks that were matched."""
        table, seen = self._table, self._seen
        rows = np.flatnonzero(table.detection_row >= 0)
        columns = table.detection_row[rows]
        score = seen.confidence[columns].astype(np.float64)
        measured = velocity.measurement(seen.xyxy[columns])
        velocity.learn(table.real, rows, measured, score, self._drift, self._noise, dt_s)

    def _vote(self, rows: Whole, seen: Whole, score: Real) -> None:
        """Weighted majority vote: a track's class changes once another one has gathered more confidence."""
        table = self._table
        before = table.class_id[rows]
        vote = table.vote[rows] + np.where(before == seen, score, -score)
        table.class_id[rows] = np.where(vote < 0, seen, before)
        table.vote[rows] = np.abs(vote)

    def _start(self, columns: Whole) -> None:
        """Start a track, at the end of the table, for each of the detections `columns`."""
        n = len(columns)
        if not n:
            return
        table, seen = self._table, self._seen
        born = table.extend(n)
        measured = kalman.measurement(seen.xyxy[columns])
        table.mean[born], table.cov[born] = kalman.initiate(measured, self._rules.motion)
        table.score[born] = table.vote[born] = seen.confidence[columns]
        velocity.begin(table.real[born], velocity.measurement(seen.xyxy[columns]), table.score[born], self._noise)
        table.class_id[born] = seen.class_id[columns]
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
        order, n_seen = kernels.rows_in_order(table.whole, table.n_seen, n_before)
        table.arrange(order, n_seen)
        if self._rules.quirks.revives_removed:
            # The published code looks at its lost tracks after matching, and at those lost just now a frame later.
            missed_for = self._frame - table.last_frame
            late = (table.state >= LOST) & (missed_for > max(self._rules.buffer_frames, 1))
            table.state[late] = REMOVED
            table.was_removed[late] = 1

    def _remove_duplicates(self) -> None:
        """Where a seen and a lost track overlap nearly fully, keep the one that has been followed longer."""
        table, n_seen = self._table, self._table.n_seen
        if not n_seen or n_seen == len(table):
            return
        seen, lost = kernels.duplicates(
            table.real, table.whole, n_seen, DUPLICATE_COST, self._rules.per_class, self._rules.quirks.extent_px
        )
        if not len(seen):
            return
        age = table.last_frame - table.start_frame
        lead = age[seen] - age[lost]
        lost_goes = lead > 0 if self._rules.quirks.equal_age_drops_tracked else lead >= 0
        wanted = np.ones(len(table), np.bool_)
        wanted[lost[lost_goes]] = False
        wanted[seen[~lost_goes]] = False
        table.keep(wanted)
