"""From the network's candidates to the boxes of each image: thresholds, class choice, non-maximum suppression.

There is one implementation for every backend and for training-time validation. Boxes of different classes never
suppress each other unless `agnostic` says so. (The reference program gets there by moving the boxes of class c by
4096 * c px in float32: boxes beyond 4096 px then meet the next class, and at class 79 coordinates are off by 0.03 px.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.arrays import BoolArray, FloatArray, IntArray
from pipeline.core.errors import ShapeError

_ONE_MATRIX = 512
"""Up to this many candidates one IoU matrix serves all classes; above it each class has its own."""
_BLOCK = 512
"""Rows of the IoU matrix that are worked on at a time: bounds memory to _BLOCK * candidates floats."""

_FARTHEST_PX = 1e7

_LATER = np.triu(np.ones((_BLOCK, _BLOCK), np.bool_), 1)


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


class _Candidates(NamedTuple):
    cxcywh: torch.Tensor
    confidence: torch.Tensor
    class_id: torch.Tensor
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
    tensor = torch.as_tensor(predictions)
    if tensor.ndim != 3 or tensor.shape[2] < 6:
        raise ShapeError(f"predictions: wanted shape (b, k, 5 + nc) with nc >= 1, found {tuple(tensor.shape)}")
    return [_one_image(image, settings) for image in tensor]


def _one_image(rows: torch.Tensor, settings: NmsSettings) -> Kept:
    candidates = _choose(rows, settings)
    greedy = _torchvision_nms() if rows.is_cuda and len(candidates.confidence) > _ONE_MATRIX else None
    if greedy is not None:
        candidates = _thin_out(candidates, settings, greedy)
    confidence = candidates.confidence.cpu().numpy()
    class_id = candidates.class_id.cpu().numpy()
    xyxy = _corners(candidates.cxcywh.cpu().numpy())
    if greedy is None:
        keep = _suppress(xyxy, None if settings.agnostic else class_id, settings.iou_thres)[: settings.max_det]
        xyxy, confidence, class_id = xyxy[keep], confidence[keep], class_id[keep]
    return Kept(xyxy, confidence, class_id, candidates.n_truncated)


@cache
def _torchvision_nms() -> Callable[..., torch.Tensor] | None:
    """Torchvision's greedy suppression, or None where torchvision is absent or does not load beside this torch."""
    try:
        from torchvision.ops import nms
    except (ImportError, RuntimeError):
        return None
    return nms


def _thin_out(candidates: _Candidates, settings: NmsSettings, greedy: Callable[..., torch.Tensor]) -> _Candidates:
    """Suppression on the device, for the thousands of candidates that a validation has.

    Classes are kept apart by moving them, but in float64 and by more than the boxes' extent: exact to 1e-9 px.
    """
    centre, half = candidates.cxcywh[:, :2].double(), candidates.cxcywh[:, 2:].double() / 2
    xyxy = torch.cat([centre - half, centre + half], dim=1)
    if not settings.agnostic:
        extent = xyxy.max() - xyxy.min() + 1
        xyxy = xyxy + (candidates.class_id * extent)[:, None]
    keep = greedy(xyxy, candidates.confidence.double(), settings.iou_thres)[: settings.max_det]
    return candidates._replace(
        cxcywh=candidates.cxcywh[keep], confidence=candidates.confidence[keep], class_id=candidates.class_id[keep]
    )


def _choose(rows: torch.Tensor, settings: NmsSettings) -> _Candidates:
    """The candidates of one image (k, 5 + nc) that enter suppression, by falling confidence, on the rows' device.

    Rows are dropped by objectness before any class score is read: confidence is at most the objectness, and nine rows
    of ten fail here.
    """
    rows = rows[(rows[:, 4] > settings.conf_thres).nonzero().squeeze(1)].float()
    cxcywh = rows[:, :4]
    if settings.objectness_only:
        confidence, class_id = rows[:, 4], torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    elif settings.multi_label and rows.shape[1] > 6:
        scores = rows[:, 5:] * rows[:, 4:5]
        row, class_id = (scores > settings.conf_thres).nonzero(as_tuple=True)
        cxcywh, confidence = cxcywh[row], scores[row, class_id]
    else:
        class_score, class_id = rows[:, 5:].max(dim=1)
        confidence = class_score * rows[:, 4]
    # A network that is not trained yet may speak of boxes beyond all numbers, whose overlaps nobody can compute.
    wanted = (confidence > settings.conf_thres) & (cxcywh.abs() < _FARTHEST_PX).all(1)
    if settings.class_ids is not None:
        wanted &= torch.isin(class_id, torch.tensor(settings.class_ids, dtype=torch.int64, device=rows.device))
    cxcywh, confidence, class_id = cxcywh[wanted], confidence[wanted], class_id[wanted]
    order = torch.sort(confidence, descending=True, stable=True).indices[: settings.max_candidates]
    return _Candidates(cxcywh[order], confidence[order], class_id[order], len(confidence) - len(order))


def _corners(cxcywh: FloatArray) -> FloatArray:
    half = cxcywh[:, 2:] / 2
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)


def _suppress(xyxy: FloatArray, class_id: IntArray | None, iou_thres: float) -> IntArray:
    """Row numbers, ascending, that greedy suppression keeps of boxes sorted by falling confidence."""
    if class_id is None or len(xyxy) <= _ONE_MATRIX:
        return np.flatnonzero(_greedy(xyxy, class_id, iou_thres))
    keep = np.zeros(len(xyxy), np.bool_)
    by_class = np.argsort(class_id, kind="stable")
    for rows in np.split(by_class, np.flatnonzero(np.diff(class_id[by_class])) + 1):
        keep[rows] = _greedy(xyxy[rows], None, iou_thres)
    return np.flatnonzero(keep)


def _greedy(xyxy: FloatArray, class_id: IntArray | None, iou_thres: float) -> BoolArray:
    """Greedy suppression, block by block: a block first loses the boxes that earlier kept ones overlap."""
    keep = np.zeros(len(xyxy), np.bool_)
    for begin in range(0, len(xyxy), _BLOCK):
        block = np.arange(begin, min(begin + _BLOCK, len(xyxy)))
        earlier = np.flatnonzero(keep[:begin])
        if len(earlier):
            block = block[~_overlaps(xyxy, class_id, earlier, block, iou_thres).any(axis=0)]
        keep[block[_settle(_overlaps(xyxy, class_id, block, block, iou_thres))]] = True
    return keep


def _overlaps(
    xyxy: FloatArray, class_id: IntArray | None, first: IntArray, second: IntArray, iou_thres: float
) -> BoolArray:
    """(len(first), len(second)) whether the pair overlaps by more than the threshold and is of one class."""
    a, b = np.ascontiguousarray(xyxy[first].T), np.ascontiguousarray(xyxy[second].T)
    shared = np.minimum(a[2][:, None], b[2])
    shared -= np.maximum(a[0][:, None], b[0])
    np.maximum(shared, 0, out=shared)
    height = np.minimum(a[3][:, None], b[3])
    height -= np.maximum(a[1][:, None], b[1])
    # With the width at least 0 a negative height gives a negative area, which is no overlap either.
    shared *= height
    # Not divided by the union: one comparison instead, and empty boxes need no special case.
    union = np.add(((a[2] - a[0]) * (a[3] - a[1]))[:, None], (b[2] - b[0]) * (b[3] - b[1]), out=height)
    union -= shared
    union *= np.float32(iou_thres)
    over: NDArray[np.bool_] = shared > union
    if class_id is not None:
        over &= class_id[first][:, None] == class_id[second]
    return over


def _settle(over: BoolArray) -> BoolArray:
    """Which boxes of a sorted block greedy suppression keeps, given who overlaps whom (n, n).

    Starts with all boxes and drops those that a kept, better box overlaps, until nothing changes. The fixed point is
    the greedy result: the first box is right from the start, and each round makes at least one more right for good.
    """
    better = (over & _LATER[: len(over), : len(over)]).astype(np.float32)
    keep = np.ones(len(over), np.bool_)
    while True:
        settled = (keep.astype(np.float32) @ better) == 0
        if np.array_equal(settled, keep):
            return keep
        keep = settled
