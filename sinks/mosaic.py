"""One picture out of several sources' latest pictures."""

from __future__ import annotations

import math

import numpy as np

from pipeline.core.arrays import ImageArray
from sinks.labels import LabelWriter
from sinks.palette import BLACK
from sinks.picture_size import letterbox

_TEXT_PX = 14


class Mosaic:
    """A grid with a tile for every source, in the order in which they were added. One source alone fills it as it is.

    Args:
        shape_hw: height and width of the grid; tiles get their share of it.
    """

    def __init__(self, shape_hw: tuple[int, int]) -> None:
        self._shape_hw = shape_hw
        self._latest: dict[str, ImageArray | None] = {}
        self._canvas: ImageArray | None = None
        self._writer = LabelWriter(_TEXT_PX)

    def add(self, source_id: str) -> None:
        """Make room for one more source; twice the same is one."""
        self._latest.setdefault(source_id, None)
        self._canvas = None

    def update(self, source_id: str, image: ImageArray) -> ImageArray:
        """Take a source's newest picture, uint8 (h, w, 3), and give the whole.

        Returns:
            The picture itself where there is one source; else the grid, uint8 (height, width, 3), which the next
            call changes.
        """
        self._latest[source_id] = image
        if len(self._latest) == 1:
            return image
        if self._canvas is None:
            self._canvas = np.zeros((*self._shape_hw, 3), np.uint8)
            for name in self._latest:
                self._paint(self._canvas, name)
        else:
            self._paint(self._canvas, source_id)
        return self._canvas

    def _paint(self, canvas: ImageArray, source_id: str) -> None:
        columns = math.ceil(math.sqrt(len(self._latest)))
        rows = math.ceil(len(self._latest) / columns)
        row, column = divmod(list(self._latest).index(source_id), columns)
        height, width = self._shape_hw[0] // rows, self._shape_hw[1] // columns
        tile = canvas[row * height : (row + 1) * height, column * width : (column + 1) * width]
        image = self._latest[source_id]
        tile[:] = 0 if image is None else letterbox(image, (height, width))
        place = (column * width, row * height)
        self._writer.write(canvas, source_id, place, min(self._writer.width_px(source_id), width), BLACK)
