"""Whether a network's anchors suit the boxes of a data set, and better ones where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from detector.data.training_set import TrainingImage
from detector.models import DetectionModel
from detector.models.heads import YoloV7Head
from pipeline.core.arrays import FloatArray
from pipeline.core.errors import ConfigError, DatasetError, ShapeError

LEAST_SIDE_PX = 2.0
"""Boxes with a smaller side say nothing about anchors: they are often mistakes."""
SEARCH_BOXES = 10_000
"""More boxes than this are sampled for the search, whose time is proportional to them."""
STARTS = 10
"""k-means ends in a local optimum: the best of so many runs is taken."""


class Recall(NamedTuple):
    """How well anchors suit boxes.

    Attributes:
        best_possible: share of the boxes that at least one anchor may be trained on.
        anchors_per_box: how many anchors may be trained on a box, on average.
    """

    best_possible: float
    anchors_per_box: float


@dataclass(frozen=True, slots=True, eq=False)
class AnchorCheck:
    """What came of `checked_anchors`.

    Attributes:
        before: of the anchors that the network had.
        fitted: of anchors fitted to the data set; None where it was not tried.
        replaced: whether the network has the fitted ones now.
        anchors_px: float32 (levels, na, 2), width and height px: those that the network has now.
    """

    before: Recall
    fitted: Recall | None
    replaced: bool
    anchors_px: FloatArray

    def __str__(self) -> str:
        text = f"anchors: {self.before.best_possible:.4f} of the boxes within reach"
        if self.fitted is None:
            return f"{text}; kept"
        verdict = "replaced" if self.replaced else "kept"
        return f"{text}, {self.fitted.best_possible:.4f} with anchors fitted to the data set; {verdict}"


def box_sizes(images: Sequence[TrainingImage], input_hw: tuple[int, int]) -> FloatArray:
    """Widths and heights, float32 (n, 2) px, of all boxes after letterboxing their images to `input_hw`."""
    sizes = [np.zeros((0, 2), np.float32)]
    for image in images:
        scale = min(input_hw[0] / image.shape_hw[0], input_hw[1] / image.shape_hw[1])
        sizes.append(((image.xyxy[:, 2:] - image.xyxy[:, :2]) * scale).astype(np.float32))
    return np.concatenate(sizes)


def best_possible_recall(wh_px: FloatArray, anchors_px: FloatArray, ratio: float = 4.0) -> Recall:
    """How many of the boxes the assignment by size lets the network learn.

    Args:
        wh_px: (n, 2), n > 0, widths and heights at the network's input size, above 0.
        anchors_px: (..., 2), widths and heights, above 0.
        ratio: an anchor may be trained on a box whose width and height both differ from its own by less than this
            factor.

    Raises:
        ShapeError: an array of another shape.
        DatasetError: no boxes, or sizes that are not above 0.
    """
    distance = _distances(_log_sizes(wh_px), np.log(anchors_px.reshape(-1, 2).astype(np.float32)))
    within = distance < np.log(ratio)
    return Recall(float(within.any(0).mean()), float(within.sum(0).mean()))


def anchor_fitness(wh_px: FloatArray, anchors_px: FloatArray, ratio: float = 4.0) -> float:
    """Mean over the boxes of how similar the best anchor is, 1 (equal) to 1/ratio, and 0 beyond.

    Similarity is the worse one of the ratios of the widths and of the heights. Arguments and errors are those of
    `best_possible_recall`.
    """
    return _fitness(_log_sizes(wh_px), np.log(anchors_px.reshape(-1, 2).astype(np.float32)), ratio)


def fit_anchors(
    wh_px: FloatArray, n_anchors_per_level: int, levels: int, *, seed: int, generations: int = 1000
) -> FloatArray:
    """Anchors for the boxes of a data set: k-means, then small random changes of which the good ones are kept.

    Both work on logarithms, as ratios decide which boxes an anchor may be trained on.

    Args:
        wh_px: (n, 2), widths and heights at the network's input size, above 0; n at least the number of anchors.
        n_anchors_per_level: na.
        levels: of the network.
        seed: equal seeds give equal anchors.
        generations: how many changes are tried.

    Returns:
        float32 (levels, na, 2) px, by rising area.

    Raises:
        ShapeError: an array of another shape.
        DatasetError: fewer boxes than anchors, or sizes that are not above 0.

    Source: k-means of box sizes is from YOLO9000 (arXiv 1612.08242), section 2, "Dimension Clusters".
    """
    number = n_anchors_per_level * levels
    boxes = _log_sizes(wh_px)
    if boxes.shape[1] < number:
        raise DatasetError(f"anchors: wanted at least {number} boxes to fit {number} anchors to, found {len(wh_px)}")
    rng = np.random.default_rng(seed)
    if boxes.shape[1] > SEARCH_BOXES:
        boxes = boxes[:, rng.choice(boxes.shape[1], SEARCH_BOXES, replace=False)]
    best = max((_k_means(boxes, number, rng) for _ in range(STARTS)), key=lambda centres: _fitness(boxes, centres))
    best_fitness = _fitness(boxes, best)
    for _ in range(generations):
        changed = rng.random(best.shape) < 0.2
        step = changed * rng.normal(0, 0.1 * rng.random(), best.shape)
        candidate = best + step.astype(np.float32)
        fitness = _fitness(boxes, candidate)
        if fitness > best_fitness:
            best, best_fitness = candidate, fitness
    return _by_area(np.exp(best)).reshape(levels, n_anchors_per_level, 2)


@torch.no_grad()
def set_anchors(model: DetectionModel, anchors_px: FloatArray) -> None:
    """Give a network other anchors: sorted by area, the smallest ones to the level of the finest stride.

    Args:
        model: with an anchor-based head; changed in place. Its weights mean boxes relative to the old anchors and
            have to be trained again.
        anchors_px: (levels, na, 2) or (levels * na, 2), width and height px, above 0.

    Raises:
        ConfigError: the network has no anchors.
        ShapeError: another number of anchors.
    """
    head = _anchor_head(model)
    if anchors_px.size != head.anchors.numel() or anchors_px.shape[-1] != 2:
        raise ShapeError(f"anchors: wanted {tuple(head.anchors.shape)} for {model.name}, found {anchors_px.shape}")
    order = np.argsort(head.strides)
    sorted_px = torch.from_numpy(_by_area(anchors_px.reshape(-1, 2)).astype(np.float32)).view_as(head.anchors)
    for level, anchors in zip(order, sorted_px, strict=True):
        head.anchor_grid[level].copy_(anchors.view_as(head.anchor_grid[level]))
        head.anchors[level].copy_(anchors / head.strides[level])


def checked_anchors(
    model: DetectionModel, wh_px: FloatArray, *, seed: int, least_recall: float = 0.98, ratio: float = 4.0
) -> AnchorCheck:
    """Replace a network's anchors where they miss boxes of the data set and fitted ones miss fewer.

    Args:
        model: with an anchor-based head; its anchors may change.
        wh_px: (n, 2), widths and heights of the data set's boxes at the network's input size.
        seed: of the search.
        least_recall: best possible recall from which on the anchors stay as they are.
        ratio: see `best_possible_recall`.

    Raises:
        ConfigError: the network has no anchors.
        DatasetError: no box has both sides at least `LEAST_SIDE_PX` long.
    """
    head = _anchor_head(model)
    boxes = wh_px[(wh_px >= LEAST_SIDE_PX).all(1)]
    present = head.anchors_px.cpu().numpy().copy()
    before = best_possible_recall(boxes, present, ratio)
    levels, per_level = present.shape[:2]
    if before.best_possible >= least_recall or len(boxes) < levels * per_level:
        return AnchorCheck(before, None, False, present)
    new = fit_anchors(boxes, per_level, levels, seed=seed)
    fitted = best_possible_recall(boxes, new, ratio)
    if fitted.best_possible <= before.best_possible:
        return AnchorCheck(before, fitted, False, present)
    set_anchors(model, new)
    return AnchorCheck(before, fitted, True, new)


def _anchor_head(model: DetectionModel) -> YoloV7Head:
    head = model.detection_head
    if not isinstance(head, YoloV7Head):
        raise ConfigError(f"anchors: wanted a network with anchors, found {model.name}; leave them out for it")
    return head


def _log_sizes(wh_px: FloatArray) -> FloatArray:
    """Logarithms, float32 (2, n): contiguous by side."""
    if wh_px.ndim != 2 or wh_px.shape[1] != 2:
        raise ShapeError(f"box sizes: wanted shape (n, 2), found {wh_px.shape}")
    if not len(wh_px) or not (wh_px > 0).all():
        found = "none" if not len(wh_px) else f"a size of {wh_px.min():g} px"
        raise DatasetError(f"anchors: wanted boxes with sizes above 0, found {found}; check the labels")
    return np.log(np.ascontiguousarray(wh_px.T, dtype=np.float32))


def _distances(boxes: FloatArray, anchors: FloatArray) -> FloatArray:
    """Logarithm of the worse ratio: (k, n) from boxes (2, n) and anchors (k, 2)."""
    return np.maximum(np.abs(boxes[0] - anchors[:, :1]), np.abs(boxes[1] - anchors[:, 1:]))


def _fitness(boxes: FloatArray, anchors: FloatArray, ratio: float = 4.0) -> float:
    nearest = _distances(boxes, anchors).min(0)
    return float((np.exp(-nearest) * (nearest < np.log(ratio))).mean())


def _k_means(boxes: FloatArray, number: int, rng: np.random.Generator, rounds: int = 30) -> FloatArray:
    """Centres (number, 2) of boxes (2, n); the first ones are far from each other (k-means++)."""
    points = boxes.T
    centres = points[rng.integers(len(points), size=1)]
    while len(centres) < number:
        share = _squared(points, centres).min(0).astype(np.float64)
        # All points may coincide with a centre already: then any of them will do.
        chances = share / share.sum() if share.sum() > 0 else None
        centres = np.concatenate([centres, points[rng.choice(len(points), size=1, p=chances)]])
    for _ in range(rounds):
        nearest = _squared(points, centres).argmin(0)
        members = np.bincount(nearest, minlength=number)
        sums = np.stack([np.bincount(nearest, weights=side, minlength=number) for side in boxes], 1)
        used = members > 0
        centres[used] = (sums[used] / members[used, None]).astype(np.float32)
    return centres


def _squared(points: FloatArray, centres: FloatArray) -> FloatArray:
    return ((points - centres[:, None]) ** 2).sum(-1)


def _by_area(anchors: FloatArray) -> FloatArray:
    return anchors[np.argsort(anchors.prod(1), kind="stable")]
