"""Arithmetic on outlines."""

from __future__ import annotations

import numpy as np

from detector.data.raw_labels import Xyxy
from detector.data.training_set import Polygons


def around(outline: Polygons) -> Xyxy:
    """The smallest box that holds all polygons, px."""
    points = np.concatenate(outline)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, top, right, bottom


def area_of(outline: Polygons) -> float:
    """Area of all polygons together, px^2, by the shoelace formula; they do not overlap."""
    total = 0.0
    for polygon in outline:
        x, y = polygon.astype(np.float64).T
        total += abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    return total
