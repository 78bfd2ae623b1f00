"""Sums from which the cost of latency follows: a few hundred numbers, however long a run is."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum

import numpy as np

from pipeline.core.arrays import Float64Array, IntArray
from pipeline.core.latency_cost import LatencyCost

BINS = 101
"""Scores are told apart to 0.01."""
NEW_COUNTS = 0.5
"""How much an object counts that had not been shown yet. Half of the tracks that begin are no new objects but ones that
the tracker had missed or lost: without latency it would miss those as well. Chosen on half of the sequences of
docs/streaming-accuracy.md, and checked on the others."""
_LEVELS = np.linspace(0, 1, 101)


def score_bins(scores: np.ndarray) -> IntArray:
    """The bin of each score in [0, 1], int64 (n,)."""
    bins: IntArray = (np.minimum(np.maximum(scores, 0), 1) * (BINS - 1) + 0.5).astype(np.int64)
    return bins


class Fate(IntEnum):
    """What became of a box."""

    FOUND = 0
    """It overlaps an object by 0.5, each object taken once."""
    WRONG = 1
    """It does not, and its object is still there."""
    GONE = 2
    """Its object is not there any more."""


@dataclass(slots=True)
class LossTally:
    """What was counted, over any number of frames. All are sums, so that tallies add up and old ones can fade.

    Attributes:
        frames, missed_frames: as in LatencyCost.
        age_ms, staleness_frames: sums over the frames that were not missed.
        pairs: boxes whose object was still there.
        iou: sum of their overlaps with it.
        pair_age_ms: sum of their ages.
        below_50, below_75: how many of them overlap it by less.
        boxes: boxes that stood.
        objects: objects that were there and had to be shown, new ones left out.
        new: objects that were there and had not been shown yet.
        returned: objects that were there and shown before, but not in what stood.
        fates: float64 (3, BINS), boxes by Fate and score.
    """

    frames: float = 0.0
    missed_frames: float = 0.0
    age_ms: float = 0.0
    staleness_frames: float = 0.0
    pairs: float = 0.0
    iou: float = 0.0
    pair_age_ms: float = 0.0
    below_50: float = 0.0
    below_75: float = 0.0
    boxes: float = 0.0
    objects: float = 0.0
    new: float = 0.0
    returned: float = 0.0
    fates: Float64Array = field(default_factory=lambda: np.zeros((len(Fate), BINS)))

    def add(self, other: LossTally, kept: float = 1.0) -> None:
        """Add another tally, after what is here has faded to a share of `kept`."""
        for name in _NAMES:
            setattr(self, name, getattr(self, name) * kept + getattr(other, name))

    def ap50(self) -> float | None:
        """AP50 of what stood, with what was said later taken for the truth; None where there was no object.

        Boxes that overlap no object any more count as false only as far as they outnumber the objects that came back:
        an object that the detector loses for a moment is lost as often without latency.
        """
        n_true = self.objects + NEW_COUNTS * self.new
        if n_true <= 0:
            return None
        n_gone = self._n_gone()
        share_gone = max(n_gone - self.returned, 0.0) / n_gone if n_gone else 0.0
        fates = self.fates[:, ::-1]
        found = np.cumsum(fates[Fate.FOUND])
        wrong = np.cumsum(fates[Fate.WRONG] + share_gone * fates[Fate.GONE])
        recall = found / n_true
        precision = np.divide(found, found + wrong, out=np.zeros(BINS), where=found > 0)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        # COCO's 101 levels of recall; the least bit below each, for sums of halves and thirds.
        reached = np.searchsorted(recall, _LEVELS - 1e-9)
        return float(np.append(precision, 0.0)[reached].mean())

    def cost(self, offline_ap50: float | None = None) -> LatencyCost:
        """The figures.

        Args:
            offline_ap50: AP50 that the pipeline reaches on such footage without latency, 0 to 1; None = not known.
        """
        ap50 = self.ap50()
        lost = None if ap50 is None else 1 - ap50
        points = None if lost is None or offline_ap50 is None else 100 * offline_ap50 * lost
        answered = self.frames - self.missed_frames
        return LatencyCost(
            frames=round(self.frames),
            missed_frames=round(self.missed_frames),
            age_ms=_share(self.age_ms, answered),
            staleness_frames=_share(self.staleness_frames, answered),
            mean_iou=_share(self.iou, self.pairs),
            iou_lost_per_100ms=_share(100 * (self.pairs - self.iou), self.pair_age_ms),
            below_50=_share(self.below_50, self.pairs),
            below_75=_share(self.below_75, self.pairs),
            not_yet_shown=_share(self.new, self.objects + self.new),
            gone=_share(max(self._n_gone() - self.returned, 0.0), self.boxes),
            ap50_kept=ap50,
            ap50_lost=lost,
            ap50_points_lost=points,
        )

    def _n_gone(self) -> float:
        return float(self.fates[Fate.GONE].sum())


_NAMES = tuple(one.name for one in fields(LossTally))


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 1e-9 else None
