"""What latency costs a source, as far as its own results tell: no labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatencyCost:
    """What stood when each frame of a source arrived, against what the same pipeline said of that frame later.

    Shares are 0 to 1; None where there was nothing to take a share of.

    Attributes:
        frames: frames that were asked about, those that were dropped included.
        missed_frames: of these, the ones at whose arrival nothing had been shown yet.
        age_ms: mean age of the frame behind what stood then.
        staleness_frames: the same in frames.
        mean_iou: of a box that stood, with where its object was.
        iou_lost_per_100ms: what 100 ms of age take from that IoU, on average.
        below_50, below_75: share of boxes that overlap their object by less than 0.5 and 0.75 (IoU).
        not_yet_shown: share of objects that were there and not shown, having come since.
        gone: share of boxes whose object was not there any more.
        ap50_kept: the AP50 of what stood, with what was said later taken for the truth.
        ap50_lost: share of the pipeline's AP50 that latency takes, 1 - ap50_kept.
        ap50_points_lost: the same in points of AP50 (0 to 100), None where the pipeline's AP50 without latency was not
            given.
    """

    frames: int
    missed_frames: int
    age_ms: float | None
    staleness_frames: float | None
    mean_iou: float | None
    iou_lost_per_100ms: float | None
    below_50: float | None
    below_75: float | None
    not_yet_shown: float | None
    gone: float | None
    ap50_kept: float | None
    ap50_lost: float | None
    ap50_points_lost: float | None = None

    @staticmethod
    def shown(costs: Mapping[str, LatencyCost]) -> LatencyCost | None:
        """The one to show where there is room for one: that of a display, else that of emission."""
        return costs.get("display") or costs.get("emission")
