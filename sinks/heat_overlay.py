"""Presence as a soft coloured layer: the more time objects spent at a place, the warmer and the less see-through."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageArray
from sinks.tint import Tint

_EVERY_S = 0.5
"""The layer is made anew this often; presence grows slowly."""
_FULL_SHARE = 0.95
"""Cells above this quantile of those that were visited are as warm as can be: one parked car must not hide the rest."""
_GAMMA = 0.45
"""Below 1, so that seldom visited places show beside busy ones."""
_MOST_OPAQUE = 0.72
_FIRST_COLOR = 70
"""Where on the colour map (0-255) presence begins: what lies before it is nearly black."""


class HeatOverlay:
    """The heat map of one source."""

    def __init__(self) -> None:
        self._made_s = float("-inf")
        self._shape_hw = (0, 0)
        self._tint: Tint | None = None

    def draw(self, image: ImageArray, presence_s: FloatArray, at_s: float) -> None:
        """Lay the map over `image`, uint8 (h, w, 3) BGR, which is changed.

        Args:
            image: the picture.
            presence_s: float32 (rows, cols): seconds of presence in square cells, the first at the left top.
            at_s: time of the frame (s).
        """
        if not 0 <= at_s - self._made_s < _EVERY_S or self._shape_hw != image.shape[:2]:
            self._made_s, self._shape_hw = at_s, image.shape[:2]
            self._tint = _heat_tint(presence_s.copy(), image.shape[:2])
        if self._tint is not None:
            self._tint.lay_on(image)


def _heat_tint(presence_s: FloatArray, shape_hw: tuple[int, int]) -> Tint | None:
    visited = presence_s[presence_s > 0]
    if not len(visited):
        return None
    warmth = (np.minimum(presence_s / np.quantile(visited, _FULL_SHARE), 1.0) ** _GAMMA).astype(np.float32)
    height, width = shape_hw
    rows, columns = warmth.shape
    # The last row of square cells may reach beyond the picture.
    full_height = max(height, round(rows * width / columns))
    soft = cv2.GaussianBlur(warmth, (0, 0), 0.8, borderType=cv2.BORDER_REPLICATE)
    large = cv2.resize(soft, (width, full_height), interpolation=cv2.INTER_CUBIC)[:height]
    levels = np.clip(large * 255, 0, 255).astype(np.uint8)
    x, y, w, h = cv2.boundingRect((levels > _opaque_from()).astype(np.uint8))
    if not w:
        return None
    part = levels[y : y + h, x : x + w]
    kept: ImageArray = np.asarray(cv2.applyColorMap(part, _KEPT), np.uint8)
    return Tint(x, y, kept, np.asarray(cv2.applyColorMap(part, _ADDED), np.uint8))


def _opacity() -> FloatArray:
    """By level 0-255, float32 (256,): nothing at first, then quickly more, so that the layer has no hard rim."""
    level = np.arange(256, dtype=np.float32) / 255
    rising = np.clip((level - 0.05) / 0.45, 0, 1)
    return (_MOST_OPAQUE * rising * rising * (3 - 2 * rising)).astype(np.float32)


def _opaque_from() -> int:
    """The highest level that cannot be seen."""
    return int(np.flatnonzero(_KEPT[:, 0, 0] == 255).max())


def _tables() -> tuple[ImageArray, ImageArray]:
    """(kept, added) of a Tint by level, each uint8 (256, 1, 3)."""
    opacity = _opacity()[:, None, None]
    along = np.linspace(_FIRST_COLOR, 255, 256).astype(np.uint8)[:, None]
    colors = cv2.applyColorMap(along, cv2.COLORMAP_INFERNO)
    kept = np.rint(255 * (1 - opacity)).astype(np.uint8)
    return np.repeat(kept, 3, axis=2), np.rint(colors * opacity).astype(np.uint8)


_KEPT, _ADDED = _tables()
