"""How many different objects were seen so far, by class, in a corner of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageArray
from sinks.labels import LabelLayout, LabelWriter
from sinks.palette import Bgr, color_of
from sinks.tint import Tint

_MOST_ROWS = 7
_BACKGROUND: Bgr = (28, 26, 24)
_OPACITY = 0.85
_TITLE = "seen so far"


class CountsPanel:
    """The panel of one source. It chooses its corner once and stays there.

    Args:
        class_names: names by class_id; a class has the colour of its boxes.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._colors = {name: color_of(number) for number, name in enumerate(class_names)}
        self._corner: tuple[bool, bool] | None = None

    def draw(
        self,
        image: ImageArray,
        n_objects: Mapping[str, int],
        writer: LabelWriter,
        places: LabelLayout,
        *,
        shapes: Tint | None,
        boxes: FloatArray,
    ) -> None:
        """Draw it into `image`, uint8 (h, w, 3) BGR, where it has something to say.

        Args:
            image: the picture.
            n_objects: unique objects by class name.
            writer: writes its text.
            places: the panel's place is taken from then on.
            shapes: lines and zones that it had better not hide.
            boxes: float32 (n, 4) xyxy px: objects in the picture, the same.
        """
        rows = _rows(n_objects, writer)
        if not rows:
            return
        unit = writer.height_px
        name_px = max(writer.width_px(name) for name, _ in rows)
        count_px = max(writer.width_px(count) for _, count in rows)
        width = max(unit + name_px + count_px, writer.width_px(_TITLE))
        height = round(0.9 * unit * (len(rows) + 1) + 0.4 * unit)
        margin = unit // 2
        if width + 2 * margin > image.shape[1] or height + 2 * margin > image.shape[0]:
            return
        if self._corner is None:
            self._corner = _emptiest_corner(image.shape[:2], (width, height), margin, shapes, boxes)
        left, top = _left_top(self._corner, image.shape[:2], (width, height), margin)
        places.place_among([(left, top)], width, height)
        part = image[top : top + height, left : left + width]
        panel = np.full_like(part, _BACKGROUND)
        writer.write(panel, _TITLE, (0, round(0.2 * unit)), writer.width_px(_TITLE), _BACKGROUND)
        for number, (name, count) in enumerate(rows, start=1):
            y = round(unit * (0.2 + 0.9 * number))
            writer.write(panel, name, (unit, y), writer.width_px(name), _BACKGROUND)
            writer.write(panel, count, (width - writer.width_px(count), y), writer.width_px(count), _BACKGROUND)
        for number, (name, _) in enumerate(rows, start=1):
            middle = (round(unit * 0.75), round(unit * (0.7 + 0.9 * number)))
            color = self._colors.get(name)
            if color is not None:
                cv2.circle(panel, middle, max(2, unit // 5), color, cv2.FILLED, cv2.LINE_AA)
        cv2.addWeighted(part, 1 - _OPACITY, panel, _OPACITY, 0, dst=part)


def _rows(n_objects: Mapping[str, int], writer: LabelWriter) -> list[tuple[str, str]]:
    """Name and count by class, the most frequent first; what does not fit is one row."""
    counted = sorted((item for item in n_objects.items() if item[1]), key=lambda item: (-item[1], item[0]))
    shown = counted if len(counted) <= _MOST_ROWS else counted[: _MOST_ROWS - 1]
    rows = [(name if writer.can_write(name) else "?", f"{count:,}") for name, count in shown]
    if len(shown) < len(counted):
        rows.append(("others", f"{sum(count for _, count in counted[len(shown) :]):,}"))
    return rows


def _emptiest_corner(
    shape_hw: tuple[int, ...], size_wh: tuple[int, int], margin: int, shapes: Tint | None, boxes: FloatArray
) -> tuple[bool, bool]:
    """(right, bottom) of the corner where the panel hides least."""
    taken = np.zeros(shape_hw, np.uint8)
    if shapes is not None:
        height, width = shapes.kept.shape[:2]
        painted = 255 - shapes.kept[..., 0]
        taken[shapes.top : shapes.top + height, shapes.left : shapes.left + width] = painted
    for x1, y1, x2, y2 in np.clip(boxes, 0, 1e5).astype(int).tolist():
        taken[y1:y2, x1:x2] = 255
    corners = [(False, False), (True, False), (False, True), (True, True)]

    def hidden(corner: tuple[bool, bool]) -> int:
        left, top = _left_top(corner, shape_hw, size_wh, margin)
        return int(taken[top : top + size_wh[1], left : left + size_wh[0]].sum())

    return min(corners, key=hidden)


def _left_top(
    corner: tuple[bool, bool], shape_hw: tuple[int, ...], size_wh: tuple[int, int], margin: int
) -> tuple[int, int]:
    right, bottom = corner
    left = shape_hw[1] - size_wh[0] - margin if right else margin
    return left, shape_hw[0] - size_wh[1] - margin if bottom else margin
