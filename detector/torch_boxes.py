"""From what a network gives to boxes, without a compiler: PyTorch picks the candidates, NumPy suppresses.

The first half runs on any device, for a whole batch at once, and hands the survivors over to the host in one piece: it
serves tensors on a GPU also where `detector._boxes`, the compiled build of this file, is there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
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
    places = places_of_maps([torch.from_numpy(level) for level in maps], head, settings)
    return boxes_of_places(places, [level.shape[2:] for level in maps], len(maps[0]), head, settings)


def boxes_of_places(
    places: FloatArray, grids_hw: Sequence[tuple[int, ...]], n_images: int, head: HeadSpec, settings: NmsSettings
) -> list[Boxes]:
    """Boxes of each image from what `places_of_maps` picked.

    Args:
        places: float32 (n, 10), C-contiguous.
        grids_hw: per level its rows and columns of cells.
        n_images: length of the batch.
        head: how logits are read.
        settings: those that the places were picked with.
    """
    found = torch.from_numpy(places)
    image, anchor, cell = found[:, 7:].long().T.contiguous()
    cells = torch.tensor([ny * nx for ny, nx in grids_hw])
    level = torch.bucketize(cell, cells.cumsum(0), right=True)
    # Rows of one place, its classes, stay together in their order.
    order = torch.from_numpy(np.lexsort((cell, anchor, level, image)))
    nx = torch.tensor([nx for _, nx in grids_hw])[level]
    cell -= (cells.cumsum(0) - cells)[level]
    grid = torch.stack([cell % nx, cell // nx], 1).float()
    stride = torch.tensor(head.strides, dtype=torch.float32)[level][:, None]
    if head.family == "yolox":
        centre, size = (found[:, :2] + grid) * stride, found[:, 2:4].double().exp().float() * stride
    else:
        p = _sigmoid(found[:, :4])
        sides = torch.tensor(head.anchors_px, dtype=torch.float32)[level, anchor]
        centre, size = (p[:, :2] * 2 - 0.5 + grid) * stride, (p[:, 2:] * 2) ** 2 * sides
    cxcywh = torch.cat([centre, size], 1)[order]
    confidence = (_sigmoid(found[:, 4]) * _sigmoid(found[:, 5]))[order]
    candidates = _by_image(n_images, image[order], cxcywh, confidence, found[order, 6], settings)
    return [suppress(*one, settings) for one in candidates]


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


@torch.no_grad()
def candidates_of_rows(rows: torch.Tensor, settings: NmsSettings) -> list[Candidates]:
    """What enters suppression of each image (b, k, 5 + nc), floats on any device."""
    # The one point where a GPU is waited for: nine rows of ten fail by their objectness.
    image, row = (rows[..., 4].float() > settings.conf_thres).nonzero(as_tuple=True)
    found = _best_classes(rows[image, row].float(), (image,), settings, logits=False)
    return _by_image(len(rows), found[:, 7].long(), found[:, :4], found[:, 4] * found[:, 5], found[:, 6], settings)


@torch.no_grad()
def places_of_maps(maps: Sequence[torch.Tensor], head: HeadSpec, settings: NmsSettings) -> FloatArray:
    """Places of maps (b, na * (5 + nc), ny, nx), floats on any device, and their classes, that may count.

    Returns:
        float32 (n, 10) on the host: the four logits of the box, those of objectness and class, class_id, image, anchor,
        cell (counted through all levels); sorted by image, anchor and cell.
    """
    # All levels as one, (b, na, 5 + nc, cells): each request to a GPU costs microseconds, whatever its size.
    flat = torch.cat([level.unflatten(1, (head.num_anchors, -1)).flatten(3) for level in maps], 3)
    places = (flat[:, :, 4].float() > lowest_logit(settings.conf_thres)).nonzero(as_tuple=True)
    image, anchor, cell = places
    return _best_classes(flat[image, anchor, :, cell].float(), places, settings, logits=True).numpy()


def lowest_logit(probability: float) -> float:
    """A logit a hair below that of a probability, so that rounding cannot lose a number that is above it."""
    low = probability * (1 - 1e-5)
    return math.log(low / (1 - low)) if low > 0 else -math.inf


def _best_classes(
    found: torch.Tensor, index: tuple[torch.Tensor, ...], settings: NmsSettings, *, logits: bool
) -> torch.Tensor:
    """The classes of places (n, 5 + nc) that may count, handed over to the host in one piece.

    Returns:
        float32 (m, 7 + len(index)): the four numbers of the box, objectness, class score, class_id, index of the place.
        Whole numbers up to 2^24 are exact.
    """
    classes = found[:, 5:]
    if settings.objectness_only:
        score, class_id = torch.full_like(found[:, 4], math.inf if logits else 1.0), torch.zeros_like(index[0])
    elif settings.multi_label and classes.shape[1] > 1:
        confidence = classes.sigmoid() * found[:, 4:5].sigmoid() if logits else classes * found[:, 4:5]
        row, class_id = (confidence > settings.conf_thres * (1 - 1e-5)).nonzero(as_tuple=True)
        found, index, score = found[row], tuple(part[row] for part in index), classes[row, class_id]
    else:
        score, class_id = classes.max(dim=1)
    return torch.cat([found[:, :5], *(part[:, None] for part in (score, class_id, *index))], 1).cpu()


def _sigmoid(logits: torch.Tensor) -> torch.Tensor:
    # In float64, rounded once: the same to the last bit wherever it is computed.
    return logits.double().sigmoid().float()


def _by_image(
    n_images: int,
    image: torch.Tensor,
    cxcywh: torch.Tensor,
    confidence: torch.Tensor,
    class_id: torch.Tensor,
    settings: NmsSettings,
) -> list[Candidates]:
    """Those of each image that count, from tensors on the host that are sorted by image."""
    wanted = (confidence > settings.conf_thres) & (cxcywh.abs() < _FARTHEST_PX).all(1)
    if settings.class_ids is not None:
        wanted &= torch.isin(class_id, torch.tensor(settings.class_ids, dtype=class_id.dtype))
    columns = (cxcywh[wanted].numpy(), confidence[wanted].numpy(), class_id[wanted].long().numpy())
    ends = np.searchsorted(image[wanted].numpy(), np.arange(n_images + 1))
    return [Candidates(*(column[begin:end] for column in columns)) for begin, end in itertools.pairwise(ends)]


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
