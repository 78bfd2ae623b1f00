"""Where the published ByteTrack code and this tracker differ: each difference is one switch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quirks:
    """Behaviour of the published code that is worth reproducing only for comparison.

    Attributes:
        time_is_frames: every update is one nominal interval, and the buffer counts updates.
        thresholds_excluded: a score equal to high_score or low_score belongs to neither set.
        new_tracks_stand_still: a track seen once is not predicted, so its second match tells the filter no velocity.
        revives_removed: a track past its buffer can be found for one frame more; when it is lost again, it is forgotten
            at once.
        equal_age_drops_tracked: of two duplicates of one age the visible one goes.
        extent_px: what is added to the width and height of every box and overlap.
    """

    time_is_frames: bool
    thresholds_excluded: bool
    new_tracks_stand_still: bool
    revives_removed: bool
    equal_age_drops_tracked: bool
    extent_px: float


PUBLISHED = Quirks(
    time_is_frames=True,
    thresholds_excluded=True,
    new_tracks_stand_still=True,
    revives_removed=True,
    equal_age_drops_tracked=True,
    extent_px=1.0,
)
FIXED = Quirks(
    time_is_frames=False,
    thresholds_excluded=False,
    new_tracks_stand_still=False,
    revives_removed=False,
    equal_age_drops_tracked=False,
    extent_px=0.0,
)
