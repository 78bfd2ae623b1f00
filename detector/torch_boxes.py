"""From what a network gives to boxes, without a compiler: PyTorch picks the candidates, NumPy suppresses.

The first half runs on any device, for a whole batch at once, and hands the survivors over to the host in one piece: it
serves tensors on a GPU also where `detector._boxes`, the compiled build of this file, is there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from detector.head_spec import HeadSpec
from pipeline.core.arrays import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from detector.nms import NmsSettings

NAME = "torch"

Boxes = tuple[FloatArray, FloatArray, IntArray, int]
"""xyxy (n, 4) px, confidence (n,), class_id (n,), by falling confidence; how many candidates were left out."""

_FARTHEST_PX = 1e7
"""A network that is not trained yet may speak of boxes beyond all numbers, whose overlaps nobody can compute."""
_ONE_MATRIX = 512
"""Up to this many candidates one IoU matrix serves all classes; above it each class has its own."""
_BLOCK = 512
"""Rows of the IoU matrix that are worked on at a time: bounds memory to _BLOCK * candidates floats."""
_LATER = np.triu(np.ones((_BLOCK, _BLOCK), np.bool_), 1)


class Candidates(NamedTuple):
    """What enters the suppression of one image, in the order of the network's output: on the host, contiguous.

    cxcywh: float32 (n, 4) px; confidence: float32 (n,), above 0; class_id: int64 (n,).
    """

    cxcywh: FloatArray
    confidence: FloatArray
    class_id: IntArray


class _Places(NamedTuple):
    """Places of a batch that are worth a look, sorted by image, then by their order in the output."""

    image: torch.Tensor
    cxcywh: torch.Tensor
    objectness: torch.Tensor
    logits: bool
    classes: torch.Tensor


def boxes_of_rows(rows: FloatArray, settings: NmsSettings) -> list[Boxes]:
    """Boxes of each image of a batch of decoded candidates.

    Args:
        rows: float32 (b, k, 5 + nc), C-contiguous: cx, cy, w, h px, objectness, class scores in [0, 1].
        settings: thresholds and limits. A confidence equal to the threshold is left out.
    """
    return [suppress(*image, settings) for image in candidates_of_rows(torch.from_numpy(rows), settings)]


def boxes_of_maps(maps: Sequence[NDArray[np.float32]], head: HeadSpec, settings: NmsSettings) -> list[Boxes]:
    """Boxes of each image of a batch of logits.

    Args:
        maps: per level float32 (b, na * (5 + nc), ny, nx), of any strides.
        head: how they are read.
        settings: thresholds and limits. A confidence equal to the threshold is left out.
    """
    tensors = [torch.from_numpy(level) for level in maps]
    return [suppress(*image, settings) for image in candidates_of_maps(tensors, head, settings)]


def suppress(cxcywh: FloatArray, confidence: FloatArray, class_id: IntArray, settings: NmsSettings) -> Boxes:
    """Sort candidates (n, 4), (n,), (n,) of one image by confidence, cut them off, and keep the best of each heap.

    Equal confidences keep their order.
    """
    order = np.argsort(-confidence, kind="stable")[: settings.max_candidates]
    cxcywh, class_id = cxcywh[order], class_id[order]
    half = cxcywh[:, 2:] / 2
    xyxy = np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)
    keep = _kept_rows(xyxy, None if settings.agnostic else class_id, settings.iou_thres)[: settings.max_det]
    return xyxy[keep], confidence[order[keep]], class_id[keep], len(confidence) - len(order)


# -- candidates --


def candidates_of_rows(rows: torch.Tensor, settings: NmsSettings) -> list[Candidates]:
    """What enters suppression of each image (b, k, 5 + nc), floats on any device."""
    # The one point where a GPU is waited for: nine rows of ten fail by their objectness.
    image, row = (rows[..., 4].float() > settings.conf_thres).nonzero(as_tuple=True)
    found = rows[image, row].float()
    return _pick(len(rows), _Places(image, found[:, :4], found[:, 4], False, found[:, 5:]), settings)


def candidates_of_maps(maps: Sequence[torch.Tensor], head: HeadSpec, settings: NmsSettings) -> list[Candidates]:
    """What enters suppression of each image of maps (b, na * (5 + nc), ny, nx), floats on any device."""
    levels = [level.unflatten(1, (head.num_anchors, 5 + head.num_classes)) for level in maps]
    objectness = torch.cat([level[:, :, 4].flatten(1) for level in levels], 1).float()
    image, place = (objectness > lowest_logit(settings.conf_thres)).nonzero(as_tuple=True)
    logits = torch.empty((len(place), 5 + head.num_classes), device=place.device)
    cells = torch.empty((len(place), 5), device=place.device)
    begin = 0
    for number, (level, stride) in enumerate(zip(levels, head.strides, strict=True)):
        na, _, ny, nx = level.shape[1:]
        # Rows of other levels read any place of this one and are not written: no second wait for their number.
        at = (place - begin).clamp(0, na * ny * nx - 1)
        anchor, y, x = at // (ny * nx), at // nx % ny, at % nx
        here = ((place >= begin) & (place < begin + na * ny * nx))[:, None]
        logits = torch.where(here, level[image, anchor, :, y, x].float(), logits)
        grid = torch.stack([x, y], 1).float()
        sides = _anchors_px(head, number, place.device)[anchor]
        cells = torch.where(here, torch.cat([grid, sides, torch.full_like(sides[:, :1], stride)], 1), cells)
        begin += na * ny * nx
    cxcywh = _decode(logits[:, :4], cells, head)
    return _pick(len(objectness), _Places(image, cxcywh, _sigmoid(logits[:, 4]), True, logits[:, 5:]), settings)


def lowest_logit(probability: float) -> float:
    """A logit a hair below that of a probability, so that rounding cannot lose a number that is above it."""
    low = probability * (1 - 1e-5)
    return math.log(low / (1 - low)) if low > 0 else -math.inf


@cache
def _anchors_px(head: HeadSpec, level: int, device: torch.device) -> torch.Tensor:
    sides = head.anchors_px[level] if head.anchors_px else ((1.0, 1.0),)
    return torch.tensor(sides, dtype=torch.float32, device=device)


def _sigmoid(logits: torch.Tensor) -> torch.Tensor:
    # In float64, rounded once: the same to the last bit wherever it is computed.
    return logits.double().sigmoid().float()


def _decode(logits: torch.Tensor, cells: torch.Tensor, head: HeadSpec) -> torch.Tensor:
    """Boxes cxcywh (n, 4) px, by the formulas of decode.py; cells (n, 5): column, row, anchor w, h, stride px."""
    grid, anchors, stride = cells[:, :2], cells[:, 2:4], cells[:, 4:]
    if head.family == "yolox":
        centre, size = (logits[:, :2] + grid) * stride, logits[:, 2:].double().exp().float() * stride
    else:
        p = _sigmoid(logits)
        centre, size = (p[:, :2] * 2 - 0.5 + grid) * stride, (p[:, 2:] * 2) ** 2 * anchors
    return torch.cat([centre, size], 1)


def _pick(n_images: int, places: _Places, settings: NmsSettings) -> list[Candidates]:
    """Class and confidence of each place, and those of each image that count, on the host."""
    image, cxcywh, objectness, is_logits, classes = places
    if settings.objectness_only:
        confidence, class_id = objectness, torch.zeros_like(image)
    elif settings.multi_label and classes.shape[1] > 1:
        scores = (_sigmoid(classes) if is_logits else classes) * objectness[:, None]
        row, class_id = (scores > settings.conf_thres).nonzero(as_tuple=True)
        image, cxcywh, confidence = image[row], cxcywh[row], scores[row, class_id]
    else:
        score, class_id = classes.max(dim=1)
        confidence = (_sigmoid(score) if is_logits else score) * objectness
    # One transfer: whole numbers up to 2^24 are exact in float32.
    host = torch.cat([cxcywh, torch.stack([confidence, class_id.float(), image.float()], 1)], 1).cpu().numpy()
    wanted = (host[:, 4] > np.float32(settings.conf_thres)) & (np.abs(host[:, :4]) < _FARTHEST_PX).all(axis=1)
    if settings.class_ids is not None:
        wanted &= np.isin(host[:, 5], settings.class_ids)
    host = host[wanted]
    return [
        Candidates(np.ascontiguousarray(part[:, :4]), part[:, 4].copy(), part[:, 5].astype(np.int64))
        for part in np.split(host, np.searchsorted(host[:, 6], np.arange(1, n_images + 1)))[:n_images]
    ]


# -- greedy suppression --


def _kept_rows(xyxy: FloatArray, class_id: IntArray | None, iou_thres: float) -> IntArray:
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
