"""Which new tracks go on where a track broke off."""

from __future__ import annotations

from collections import deque

from pipeline.analytics.config import StitchConfig
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.likeness import WINDOW_S, Seen, Vanished
from pipeline.core.arrays import FloatArray, IntArray


class Stitcher:
    """Remembers how objects moved, and finds the new box that each vanished one may have become.

    The likeness of a new box and a vanished object of its class is how much the box overlaps (IoU) with the object's
    last box, or with that box moved on at the object's velocity, whichever is more; times the ratio of their heights
    and that of their widths, smaller by larger. It must be `min_iou` after a gap of a second or more, less in
    proportion after a shorter one, and 0.1 at the least: the longer the gap, the more likely that somebody else came.
    The most alike go first; each box and each object goes into one pair at most.

    Args:
        config: longest gap, least overlap.
        kernels: what does the work.
    """

    def __init__(self, config: StitchConfig, kernels: RuleKernels = DEFAULT) -> None:
        self._kernels = kernels
        self._gap_s = config.gap_s
        self._min_iou = config.min_iou
        self._seen: deque[Seen] = deque()

    def remember(self, time_s: float, slot: IntArray, xyxy: FloatArray) -> None:
        """Take the boxes of a frame: slot int64 (m,), xyxy float32 (m, 4) px. Nobody may change them any more."""
        self._seen.append((time_s, slot, xyxy))
        while self._seen[0][0] < time_s - self._gap_s - WINDOW_S:
            self._seen.popleft()

    def forget(self) -> None:
        """What was seen is of no use any more: the pictures have another size."""
        self._seen.clear()

    def match(self, time_s: float, xyxy: FloatArray, class_id: IntArray, vanished: Vanished) -> list[tuple[int, int]]:
        """Pairs of a row of the new boxes, xyxy float32 (n, 4) px with class_id int64 (n,), and a slot."""
        pairs: list[tuple[int, int]] = []
        alike = self._kernels.alike(time_s, xyxy, class_id, vanished, self._seen, self._min_iou)
        rows_left, columns_left = {row for _, row, _ in alike}, {column for _, _, column in alike}
        for _, row, column in sorted(alike, key=lambda pair: (-pair[0], pair[1], pair[2])):
            if row in rows_left and column in columns_left:
                rows_left.remove(row)
                columns_left.remove(column)
                pairs.append((row, int(vanished.slot[column])))
        return pairs
