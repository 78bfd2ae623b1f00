"""The part of a picture in which objects count."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipeline.core.arrays import BoolArray, FloatArray
from pipeline.core.errors import SourceError

GRID = 1024
"""A polygon is drawn this fine; a step is a thousandth of the picture."""


class Region:
    """Tells which boxes stand inside, by the middle of their lower edge: where a person's feet are.

    The picture is not blanked: an object at the border keeps its whole box, and the cost of a detection is the same.

    Args:
        mask: bool (h, w), of any size; stretched over the picture.
    """

    def __init__(self, mask: BoolArray) -> None:
        self._mask = mask

    @classmethod
    def of_polygon(cls, points: tuple[tuple[float, float], ...]) -> Region:
        """The inside of a polygon of 3 points or more, each (x, y) from 0 to 1 of the picture's width and height."""
        mask = np.zeros((GRID, GRID), np.uint8)
        corners = np.round(np.array(points) * (GRID - 1)).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1)
        return cls(mask.astype(bool))

    @classmethod
    def of_image(cls, path: Path) -> Region:
        """The bright part (above half) of a mask image. Raises SourceError: no image, or all of it dark."""
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
        if image is None:
            raise SourceError(f"{path}: wanted a mask image (white = inside), found none that can be read")
        mask = image > 127
        if not mask.any():
            raise SourceError(f"{path}: wanted a mask image with a white part, found all of it black")
        return cls(mask)

    def inside(self, xyxy: FloatArray, shape_hw: tuple[int, int]) -> BoolArray:
        """Which boxes stand inside.

        Args:
            xyxy: float32 (n, 4) px.
            shape_hw: the picture's height and width (px).

        Returns:
            bool (n,).
        """
        rows, columns = self._mask.shape
        x = (xyxy[:, 0] + xyxy[:, 2]) / 2 / shape_hw[1] * columns
        y = xyxy[:, 3] / shape_hw[0] * rows
        column = np.clip(x.astype(np.int64), 0, columns - 1)
        row = np.clip(y.astype(np.int64), 0, rows - 1)
        inside: BoolArray = self._mask[row, column]
        return inside
