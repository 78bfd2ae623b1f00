"""What one step of the tracker needs to know, worked out once from the settings: the same for both builds."""

from __future__ import annotations

from dataclasses import dataclass

from tracker.association import MatchRule
from tracker.kalman import Motion
from tracker.quirks import Quirks

DUPLICATE_COST = 0.15
"""A tracked and a lost track whose boxes overlap by more than 1 - this are one object (ByteTrack's code)."""
CLOCK_TOLERANCE_S = 1e-6
"""Times are sums of floats: a track is not forgotten for a rounding error."""


@dataclass(frozen=True, slots=True)
class StepRules:
    """Settings and quirks as `HeldTracks.step` wants them.

    Attributes:
        low_score, high_score, new_track_score: thresholds; compared as float32, as the scores are.
        first, second, confirming: the three association stages.
        per_class: tracks and detections of different classes have nothing to do with each other.
        output_predicted: lost tracks are given out too.
        buffer_s: how long a lost track is kept.
        buffer_frames: the same in nominal frames; only the published behaviour counts them.
        motion: the filter's noise.
        quirks: what of the published code is reproduced.
    """

    low_score: float
    high_score: float
    new_track_score: float
    first: MatchRule
    second: MatchRule
    confirming: MatchRule
    per_class: bool
    output_predicted: bool
    buffer_s: float
    buffer_frames: int
    motion: Motion
    quirks: Quirks
