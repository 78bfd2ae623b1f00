"""Small pictures of objects."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.core.arrays import ImageArray

SIDE_PX = 128
_MARGIN = 0.12
_QUALITY = 82


def thumbnail(image: ImageArray, box: Sequence[float]) -> bytes:
    """A JPEG of what a box holds and a little round it, its long side at most `SIDE_PX`.

    Args:
        image: uint8 (h, w, 3) BGR. Not modified.
        box: xyxy px in the image; may reach beyond it.

    Returns:
        Empty where the box lies outside the image.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box
    margin = _MARGIN * max(x2 - x1, y2 - y1)
    left, right = np.clip((round(x1 - margin), round(x2 + margin)), 0, width).tolist()
    top, bottom = np.clip((round(y1 - margin), round(y2 + margin)), 0, height).tolist()
    if right - left < 2 or bottom - top < 2:
        return b""
    part = image[top:bottom, left:right]
    scale = SIDE_PX / max(part.shape[:2])
    if scale < 1:
        size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(part), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()
