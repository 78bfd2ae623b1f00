"""Box arithmetic on float arrays (n, 4).

xyxy = left, top, right, bottom; cxcywh = centre and size; ltwh = left, top and size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


def xyxy_to_cxcywh(xyxy: Boxes) -> Boxes:
    """(n, 4) corners to (n, 4) centre and size, same dtype."""
    size = xyxy[:, 2:] - xyxy[:, :2]
    return np.concatenate([xyxy[:, :2] + size / 2, size], axis=1)


def cxcywh_to_xyxy(cxcywh: Boxes) -> Boxes:
    """(n, 4) centre and size to (n, 4) corners, same dtype."""
    half = cxcywh[:, 2:] / 2
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)


def xyxy_to_ltwh(xyxy: Boxes) -> Boxes:
    """(n, 4) corners to (n, 4) left, top, width, height, same dtype."""
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)


def ltwh_to_xyxy(ltwh: Boxes) -> Boxes:
    """(n, 4) left, top, width, height to (n, 4) corners, same dtype."""
    return np.concatenate([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]], axis=1)


def area(xyxy: Boxes) -> Boxes:
    """(n,) areas in px^2; a box turned inside out has area 0."""
    size = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0)
    return np.asarray(size[:, 0] * size[:, 1])


def iou_matrix(a: Boxes, b: Boxes) -> Boxes:
    """Intersection over union of every pair, (n, m) in [0, 1]; 0 where both boxes are empty."""
    left_top = np.maximum(a[:, None, :2], b[None, :, :2])
    right_bottom = np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = np.maximum(right_bottom - left_top, 0)
    intersection = size[..., 0] * size[..., 1]
    union = area(a)[:, None] + area(b)[None, :] - intersection
    return np.asarray(np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0))


def clip(xyxy: Boxes, shape_hw: tuple[int, int]) -> Boxes:
    """(n, 4) boxes cut to an image of height and width `shape_hw`, as a new array."""
    height, width = shape_hw
    limit = np.array([width, height, width, height], xyxy.dtype)
    return np.asarray(np.clip(xyxy, 0, limit))
