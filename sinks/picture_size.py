"""Fits drawn pictures to the one size that a video stream keeps."""

from __future__ import annotations

import logging

import cv2
import numpy as np

from pipeline.core.arrays import ImageArray

log = logging.getLogger(__name__)


class PictureSize:
    """The size of a video: that of its first picture, made even, because 4:2:0 colour needs even sides.

    Args:
        shape_hw: height and width of the first picture.
        name: what the warning calls the video.
    """

    def __init__(self, shape_hw: tuple[int, int], name: str) -> None:
        self._first_hw = shape_hw
        self.height_px, self.width_px = (side + side % 2 for side in shape_hw)
        self._name = name
        self._warned = False

    def fit(self, image: ImageArray) -> ImageArray:
        """The picture, uint8 (h, w, 3), in the size of the video.

        An odd side gets one more row or column, a copy of its neighbour. A picture of another size than the first (a
        camera that was set up anew) is scaled with its proportions kept, and black bars fill the rest.
        """
        height, width = image.shape[:2]
        if (height, width) != self._first_hw:
            image = self._letterbox(image)
        bottom, right = self.height_px - image.shape[0], self.width_px - image.shape[1]
        if not bottom and not right:
            return image
        return np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE))

    def _letterbox(self, image: ImageArray) -> ImageArray:
        height, width = image.shape[:2]
        if not self._warned:
            self._warned = True
            log.warning(
                "%s: the picture changed from %dx%d to %dx%d; it is scaled into the first size",
                self._name,
                *(self._first_hw[1], self._first_hw[0], width, height),
            )
        return letterbox(image, (self.height_px, self.width_px))


def letterbox(image: ImageArray, shape_hw: tuple[int, int]) -> ImageArray:
    """The picture scaled into `shape_hw` with its proportions kept, centred between black bars."""
    height, width = image.shape[:2]
    full_h, full_w = shape_hw
    scale = min(full_h / height, full_w / width)
    new_w, new_h = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((full_h, full_w, 3), np.uint8)
    top, left = (full_h - new_h) // 2, (full_w - new_w) // 2
    canvas[top : top + new_h, left : left + new_w] = cv2.resize(image, (new_w, new_h), interpolation=how)
    return canvas
