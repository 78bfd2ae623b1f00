"""ByteTrack: every detection box is associated, the ones with low scores too.

Source: ByteTrack (arXiv 2110.06864), section 3, algorithm 1.
"""

from __future__ import annotations

import math

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from pipeline.core.motion import TrackMotion
from pipeline.core.tracks import Tracks
from tracker import kernels
from tracker.association import MatchRule
from tracker.kalman import Motion
from tracker.quirks import FIXED, PUBLISHED, Quirks
from tracker.rules import StepRules
from tracker.step_clock import StepClock
from tracker.track_table import TrackState


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
    """Gives the detections of one source ids that last. Implements pipeline.core.protocols.ForecastingTracker.

    One instance per source: ids count from 1 within the instance and are never used again, not even after `reset`.

    Args:
        config: the settings.
        backend: the build to use, `cython` or `numpy`; None takes `tracker.kernels.BACKEND`.

    Raises:
        UsageError: `backend` is neither.
        BackendError: `cython` is wanted and not built.
    """

    def __init__(self, config: ByteTrackConfig | None = None, backend: str | None = None) -> None:
        self.config = config = config or ByteTrackConfig()
        self._quirks = PUBLISHED if config.reference_compat else FIXED
        self._interval_s = 1 / config.nominal_fps
        build = kernels.load_kernels(backend) if backend else kernels.DEFAULT
        self._tracks = build(_step_rules(config, self._quirks))
        self._clock = StepClock(self._interval_s, config.buffer_s)

    def reset(self) -> None:
        """Forget all tracks and the time; ids go on, so that none is used again."""
        self._tracks.clear()
        self._clock = StepClock(self._interval_s, self.config.buffer_s)

    def __len__(self) -> int:
        """Number of tracks held, lost and new ones included."""
        return len(self._tracks)

    def count(self, state: TrackState) -> int:
        """Number of tracks held in a state."""
        return self._tracks.count(state)

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
        broken = self._tracks.read(detections)
        if broken >= 0:
            raise UsageError(
                f"ByteTracker.update: wanted finite boxes and scores, found {detections.xyxy[broken].tolist()} with "
                f"score {detections.confidence[broken]} in row {broken}; check the detector's output"
            )
        if self._quirks.time_is_frames:
            dt_s, is_cut = self._interval_s, False
        else:
            dt_s, is_cut = self._clock.step(frame_index, pts_s)
        return Tracks.unchecked(*self._tracks.step(dt_s, is_cut))

    @property
    def interval_s(self) -> float:
        """The interval that it assumes from frame to frame where there is no media time (s), as it is known now."""
        return self._clock.interval_s

    def motion(self) -> TrackMotion:
        """How the tracks that the last `update` returned move, row by row; empty before it and after `reset`.

        The velocity is not that of the filter that matches boxes, but of one beside it that is made to look ahead: see
        tracker.velocity. Asking costs a few microseconds.
        """
        return TrackMotion(*self._tracks.motion())


def _step_rules(config: ByteTrackConfig, quirks: Quirks) -> StepRules:
    def rule(least: float, fuse_score: bool) -> MatchRule:
        # Whatever is wanted, boxes that do not overlap (cost 1) never match.
        max_cost = min(1 - least, math.nextafter(1, 0))
        return MatchRule(max_cost, fuse_score, config.per_class, quirks.extent_px)

    return StepRules(
        low_score=config.low_score,
        high_score=config.high_score,
        new_track_score=config.new_track_score,
        first=rule(config.min_iou, config.fuse_score),
        second=rule(config.min_iou_low, False),
        confirming=rule(config.min_iou_new, config.fuse_score),
        per_class=config.per_class,
        output_predicted=config.output_predicted,
        buffer_s=config.buffer_s,
        buffer_frames=round(config.buffer_s * config.nominal_fps),
        motion=Motion(1 / config.nominal_fps),
        quirks=quirks,
    )
