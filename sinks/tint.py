"""A see-through layer that is made once and laid over many frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.core.arrays import Float64Array, ImageArray
from sinks.palette import BLACK, Bgr

_SHIFT = 3
_FAR_PX = 1e5
"""OpenCV's coordinates are 32 bits with `_SHIFT` of them a fraction."""


@dataclass(frozen=True, slots=True, eq=False)
class Tint:
    """Part of a picture's area, and what becomes of the pixels there: `pixel * kept / 255 + added`.

    Two passes over bytes: a third of a millisecond for a whole frame of 1280x720.

    Attributes:
        left: where it begins (px).
        top: the same, downwards.
        kept: uint8 (h, w, 3): how much stays of the picture, 255 = all.
        added: uint8 (h, w, 3) BGR: what comes over it, as dark as it is see-through.
    """

    left: int
    top: int
    kept: ImageArray
    added: ImageArray

    def lay_on(self, image: ImageArray) -> None:
        """Change `image`, uint8 (H, W, 3), in which the tint lies as a whole."""
        height, width = self.kept.shape[:2]
        part = image[self.top : self.top + height, self.left : self.left + width]
        cv2.multiply(part, self.kept, dst=part, scale=1 / 255)
        cv2.add(part, self.added, dst=part)


class TintPainter:
    """Paints a tint, shape over shape, over a whole picture's area. Points are px; parts outside are left out.

    Args:
        shape_hw: height and width of the picture (px).
    """

    def __init__(self, shape_hw: tuple[int, int]) -> None:
        self._kept = np.full((*shape_hw, 3), 255, np.uint8)
        self._added = np.zeros((*shape_hw, 3), np.uint8)

    def fill(self, polygon: Float64Array, color: Bgr, opacity: float) -> ImageArray:
        """Fill a polygon, (n, 2) px, see-through. Returns its mask, uint8 (h, w)."""
        mask = np.zeros(self._kept.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_fixed(polygon)], 255, cv2.LINE_8, _SHIFT)
        x, y, width, height = cv2.boundingRect(mask)
        if not width:
            return mask
        where = (slice(y, y + height), slice(x, x + width))
        for layer, value in ((self._kept, BLACK), (self._added, color)):
            part = layer[where]
            # In OpenCV, a colour fills an area ten times as fast as in NumPy.
            over = cv2.rectangle(np.empty_like(part), (0, 0, width, height), value, cv2.FILLED)
            cv2.addWeighted(part, 1 - opacity, over, opacity, 0, dst=over)
            cv2.copyTo(over, mask[where], part)
        return mask

    # What is opaque is drawn into both arrays with one soft edge, so `kept` falls as `added` rises.

    def stroke(self, points: Float64Array, color: Bgr, width_px: int, *, closed: bool) -> None:
        """Draw a line along points, (n, 2) px."""
        for layer, value in ((self._kept, BLACK), (self._added, color)):
            cv2.polylines(layer, [_fixed(points)], closed, value, width_px, cv2.LINE_AA, _SHIFT)

    def area(self, polygon: Float64Array, color: Bgr) -> None:
        """Fill a polygon, (n, 2) px, opaque."""
        for layer, value in ((self._kept, BLACK), (self._added, color)):
            cv2.fillPoly(layer, [_fixed(polygon)], value, cv2.LINE_AA, _SHIFT)

    def disc(self, middle: Float64Array, color: Bgr, radius_px: float) -> None:
        """Draw a filled circle around a point, (2,) px."""
        x, y = _fixed(middle).tolist()
        for layer, value in ((self._kept, BLACK), (self._added, color)):
            cv2.circle(layer, (x, y), round(radius_px * (1 << _SHIFT)), value, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def tint(self) -> Tint | None:
        """What was painted, cut to where it is; None if nothing was."""
        x, y, width, height = cv2.boundingRect(255 - self._kept[..., 0])
        if not width:
            return None
        where = (slice(y, y + height), slice(x, x + width))
        return Tint(x, y, self._kept[where].copy(), self._added[where].copy())


def _fixed(points: Float64Array) -> np.ndarray:
    """Coordinates as OpenCV reads them with `shift=_SHIFT`."""
    fixed: np.ndarray = np.rint(np.clip(points, -_FAR_PX, _FAR_PX) * (1 << _SHIFT)).astype(np.int32)
    return fixed
