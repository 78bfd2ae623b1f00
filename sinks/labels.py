"""Label text: how it is written, and where it is put so that it can be read."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.core.arrays import ImageArray
from sinks.palette import Bgr, text_color_on

_BUILTIN_FONT = "sans"
_WEIGHT = 500
_CAP_HEIGHT = 0.70
"""Height of capitals and digits in the built-in font, as a part of its size."""
_HERSHEY_CAP_HEIGHT_PX = 21.0


class LabelWriter:
    """Writes labels of one text size.

    OpenCV 5 brings a scalable font with Latin, Greek, Cyrillic, Chinese, Japanese and Korean letters. OpenCV 4 has
    only stroke fonts with ASCII.

    Args:
        size_px: text size.
    """

    def __init__(self, size_px: int) -> None:
        self._size_px = size_px
        self._padding_px = max(2, round(size_px * 0.35))
        self.height_px = round(size_px * 1.5)
        self._font = cv2.FontFace(_BUILTIN_FONT) if hasattr(cv2, "FontFace") else None
        self._stroke_scale = _CAP_HEIGHT * size_px / _HERSHEY_CAP_HEIGHT_PX

    def can_write(self, text: str) -> bool:
        """Whether the text's letters are likely in the font; those that are not come out as question marks."""
        return self._font is not None or text.isascii()

    def width_px(self, text: str) -> int:
        """Width of the label with its background."""
        if self._font is not None:
            width = cv2.getTextSize((0, 0), text, (0, 0), self._font, self._size_px, _WEIGHT)[2]
        else:
            width = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, self._stroke_scale, self._stroke_px)[0][0]
        return int(width) + 2 * self._padding_px

    def write(self, image: ImageArray, text: str, left_top: tuple[int, int], width_px: int, background: Bgr) -> None:
        """Draw a filled label into `image` (uint8 (h, w, 3)) in black or white text, whichever is easier to read."""
        left, top = left_top
        cv2.rectangle(image, (left, top, width_px, self.height_px), background, cv2.FILLED)
        baseline = top + round((self.height_px + _CAP_HEIGHT * self._size_px) / 2)
        origin = (left + self._padding_px, baseline)
        color = text_color_on(background)
        if self._font is not None:
            cv2.putText(image, text, origin, color, self._font, self._size_px, _WEIGHT)
        else:
            font = cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(image, text, origin, font, self._stroke_scale, color, self._stroke_px, cv2.LINE_AA)

    def picture(self, text: str, width_px: int, background: Bgr) -> ImageArray:
        """A filled label, uint8 (height_px, width_px, 3), for `put`: where one text stands in many frames."""
        label = np.zeros((self.height_px, width_px, 3), np.uint8)
        self.write(label, text, (0, 0), width_px, background)
        return label

    @property
    def _stroke_px(self) -> int:
        return max(1, round(self._size_px / 14))


def put(image: ImageArray, label: ImageArray, left_top: tuple[int, int]) -> None:
    """Lay a label over `image` (uint8 (h, w, 3)); what lies outside is left out."""
    left, top = left_top
    height, width = label.shape[:2]
    part = image[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    x, y = max(-left, 0), max(-top, 0)
    part[:] = label[y : y + part.shape[0], x : x + part.shape[1]]


class LabelLayout:
    """Finds places for the labels of one frame, in the order in which they are asked for.

    Args:
        shape_hw: height and width of the image; labels stay inside it.
    """

    def __init__(self, shape_hw: tuple[int, int]) -> None:
        self._height, self._width = shape_hw
        self._placed: list[tuple[int, int, int, int]] = []

    def place(self, box: tuple[int, int, int, int], width_px: int, height_px: int) -> tuple[int, int]:
        """Left top corner of a label for `box` (xyxy, px).

        Above the box if that is free, else another side of it or inside; where nothing is free, the place that
        covers least of the labels placed before.
        """
        return self.place_among(self._candidates(box, width_px, height_px), width_px, height_px)

    def place_among(self, places: Sequence[tuple[int, int]], width_px: int, height_px: int) -> tuple[int, int]:
        """The first of these left top corners that is free, else the one that covers least; it is taken from then on.

        Args:
            places: one or more, the best first.
            width_px: width of the label.
            height_px: its height.
        """
        best, least = places[0], -1
        for left, top in places:
            covered = self._covered(left, top, left + width_px, top + height_px)
            if covered < least or least < 0:
                best, least = (left, top), covered
            if covered == 0:
                break
        left, top = best
        self._placed.append((left, top, left + width_px, top + height_px))
        return best

    def _candidates(self, box: tuple[int, int, int, int], width: int, height: int) -> list[tuple[int, int]]:
        x1, y1, x2, y2 = box
        outside = [(x1, y1 - height), (x2 - width, y1 - height), (x1, y2), (x2 - width, y2)]
        inside = [(x1, y1), (x2 - width, y1), (x1, y2 - height), (x2 - width, y2 - height)]
        # Beside its box a label would hang in the air, so a place that had to be moved up or down is none.
        fitting = [(x, y) for x, y in outside + inside if 0 <= y <= self._height - height]
        fitting = fitting or [(x1, min(max(y1, 0), max(self._height - height, 0)))]
        return [(min(max(x, 0), max(self._width - width, 0)), y) for x, y in fitting]

    def _covered(self, left: int, top: int, right: int, bottom: int) -> int:
        """Pixels of labels placed before that the rectangle would cover."""
        # Plain numbers: most frames have few labels, and arrays of few rows cost more than they save.
        covered = 0
        for x1, y1, x2, y2 in self._placed:
            if x1 < right and left < x2 and y1 < bottom and top < y2:
                covered += (min(x2, right) - max(x1, left)) * (min(y2, bottom) - max(y1, top))
        return covered
