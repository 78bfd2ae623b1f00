"""From the network's candidates to the boxes of each image: thresholds, class choice, non-maximum suppression.

There is one implementation for every backend and for training-time validation. Boxes of different classes never
suppress each other unless `agnostic` says so. (The reference program gets there by moving the boxes of class c by
4096 * c px in float32: boxes beyond 4096 px then meet the next class, and at class 79 coordinates are off by 0.03 px.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector import box_kernels
from detector.torch_boxes import Candidates, candidates_of_rows
from pipeline.core.arrays import FloatArray, IntArray
from pipeline.core.errors import ShapeError


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NmsSettings:
    """Which candidates become boxes."""

    conf_thres: float = Field(default=0.25, ge=0, le=1, description="Keep candidates above this confidence.")
    iou_thres: float = Field(default=0.45, ge=0, le=1, description="Suppress boxes that overlap a better one by more.")
    class_ids: tuple[int, ...] | None = Field(default=None, description="Keep these classes only; None keeps all.")
    agnostic: bool = Field(default=False, description="Boxes suppress each other across classes.")
    multi_label: bool = Field(default=False, description="A candidate gives a box for each class above the threshold.")
    max_det: int = Field(default=300, ge=1, description="Most boxes per image.")
    max_candidates: int = Field(default=30_000, ge=1, description="Most candidates per image that enter suppression.")
    objectness_only: bool = Field(
        default=False,
        description="Confidence is the objectness alone: one-class YOLOv7 models do not train their class output.",
    )


class Kept(NamedTuple):
    """Boxes of one image, by falling confidence.

    xyxy: float32 (n, 4) px of the network input; confidence: float32 (n,); class_id: int64 (n,);
    n_truncated: candidates left out because there were more than `max_candidates`.
    """

    xyxy: FloatArray
    confidence: FloatArray
    class_id: IntArray
    n_truncated: int


def non_max_suppression(predictions: Any, settings: NmsSettings) -> list[Kept]:
    """Boxes of each image of a batch.

    Args:
        predictions: (b, k, 5 + nc) floating tensor on any device, or numpy array: cx, cy, w, h in px, objectness, class
            scores in [0, 1]. Not modified.
        settings: thresholds and limits. A confidence equal to the threshold is left out.

    Returns:
        One Kept per image. Equal confidences keep the order of the candidates, so results do not depend on the batch.

    Raises:
        ShapeError: not three axes, or fewer than six columns.
    """
    tensor = torch.as_tensor(predictions).detach()
    if tensor.ndim != 3 or tensor.shape[2] < 6:
        raise ShapeError(f"predictions: wanted shape (b, k, 5 + nc) with nc >= 1, found {tuple(tensor.shape)}")
    if tensor.is_cuda:
        return suppress_each(candidates_of_rows(tensor, settings), settings)
    return [Kept(*boxes) for boxes in box_kernels.DEFAULT.boxes_of_rows(tensor.float().contiguous().numpy(), settings)]


def suppress_each(candidates: list[Candidates], settings: NmsSettings) -> list[Kept]:
    """Boxes of each image of a batch whose candidates are known."""
    return [Kept(*box_kernels.DEFAULT.suppress(*image, settings)) for image in candidates]
