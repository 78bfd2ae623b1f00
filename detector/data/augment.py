"""Changes to one picture and its labels: geometry, colour, mixing, pasting. Every random number is the caller's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.data.sample import Sample, joined
from pipeline.core.arrays import FloatArray, ImageArray

PAD = 114
"""Grey value of what no picture covers, as in the letterbox."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AugmentConfig:
    """How much pictures are changed in training. Probabilities are per picture."""

    mosaic: float = Field(default=1.0, ge=0, le=1, description="probability of putting several pictures together")
    mosaic9: float = Field(
        default=0.0, ge=0, le=1, description="part of the mosaics with nine pictures in place of four"
    )
    mixup: float = Field(default=0.0, ge=0, le=1, description="probability of blending a mosaic with another one")
    mixup_alpha: float = Field(default=8.0, gt=0, description="both parameters of the Beta distribution of the blend")
    copy_paste: float = Field(default=0.0, ge=0, le=1, description="probability of each outlined object to be mirrored")
    paste_in: float = Field(default=0.0, ge=0, le=1, description="probability of pasting boxes of other pictures in")
    hsv_h: float = Field(default=0.015, ge=0, le=0.5, description="change of hue, part of the circle")
    hsv_s: float = Field(default=0.7, ge=0, le=1, description="change of saturation, part of the value")
    hsv_v: float = Field(default=0.4, ge=0, le=1, description="change of brightness, part of the value")
    degrees: float = Field(default=0.0, ge=0, le=180, description="rotation, up to this many degrees to either side")
    translate: float = Field(default=0.2, ge=0, le=1, description="shift, part of the picture")
    scale: tuple[float, float] = Field(default=(0.5, 1.5), description="range of the size of things, 1 = as they are")
    shear: float = Field(default=0.0, ge=0, lt=90, description="shear, degrees")
    perspective: float = Field(default=0.0, ge=0, le=0.001, description="perspective, per px")
    aspect: float = Field(default=1.0, ge=1, le=3, description="up to this many times wider or narrower, 1 = never")
    flip_lr: float = Field(default=0.5, ge=0, le=1, description="probability of a mirror image")
    flip_ud: float = Field(default=0.0, ge=0, le=1, description="probability of turning upside down")
    grey: float = Field(default=0.0, ge=0, le=1, description="probability of a picture without colour")


def stretched(sample: Sample, rng: np.random.Generator, most: float) -> Sample:
    """The picture up to `most` times wider or narrower, at the same area."""
    if most <= 1:
        return sample
    ratio = math.exp(rng.uniform(-1, 1) * math.log(most))
    height, width = sample.image.shape[:2]
    new_wh = max(1, round(width * math.sqrt(ratio))), max(1, round(height / math.sqrt(ratio)))
    scale = np.array((new_wh[0] / width, new_wh[1] / height) * 2, np.float32)
    return Sample(
        cv2.resize(sample.image, new_wh, interpolation=cv2.INTER_LINEAR),  # type: ignore[arg-type]
        sample.xyxy * scale,
        sample.class_id,
        sample.regions * scale,
        sample.region_classes,
        tuple(tuple(part * scale[:2] for part in polygons) for polygons in sample.outlines),
    )


def mosaic(samples: Sequence[Sample], side: int, rng: np.random.Generator) -> Sample:
    """Four or nine pictures on a canvas of 2 x 2 sides, to be cut out of by `random_affine`.

    Args:
        samples: 4 (around a random point) or 9 (in a grid with a random offset); the first is the sample proper.
        side: side of the network's input, px; the pictures' longer side.
        rng: random numbers.

    Source: YOLOv4 (arXiv 2004.10934), section 3.3.
    """
    canvas = np.full((2 * side, 2 * side, 3), PAD, np.uint8)
    place = _four_places if len(samples) == 4 else _nine_places
    parts = []
    for sample, (left, top) in zip(samples, place(samples, side, rng), strict=True):
        height, width = sample.image.shape[:2]
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(left + width, 2 * side), min(top + height, 2 * side)
        if x1 < x2 and y1 < y2:
            canvas[y1:y2, x1:x2] = sample.image[y1 - top : y2 - top, x1 - left : x2 - left]
            parts.append(sample.moved(left, top, canvas).clipped())
    return joined(canvas, parts)


def random_affine(sample: Sample, side_hw: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> Sample:
    """Rotate, scale, shear, shift and tilt about the centre, and cut `side_hw` out of the middle."""
    height, width = sample.image.shape[:2]
    matrix = _random_matrix((height, width), side_hw, config, rng)
    size_wh = (side_hw[1], side_hw[0])
    if config.perspective:
        image = cv2.warpPerspective(sample.image, matrix, size_wh, borderValue=(PAD, PAD, PAD))
    else:
        image = cv2.warpAffine(sample.image, matrix[:2], size_wh, borderValue=(PAD, PAD, PAD))
    outlines = tuple(tuple(_mapped(part, matrix) for part in polygons) for polygons in sample.outlines)
    xyxy = _mapped_boxes(sample.xyxy, matrix)
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(1)
    for row, polygons in enumerate(outlines):
        if polygons:  # the turned outline's own box is tighter than the turned box's
            points = np.concatenate(polygons)
            xyxy[row] = *points.min(0), *points.max(0)
    regions = _mapped_boxes(sample.regions, matrix)
    moved = Sample(image, xyxy, sample.class_id, regions, sample.region_classes, outlines)  # type: ignore[arg-type]
    return moved.clipped(area)


def hsv_jitter(image: ImageArray, config: AugmentConfig, rng: np.random.Generator) -> ImageArray:
    """Other hue, saturation and brightness."""
    gains = 1 + rng.uniform(-1, 1, 3) * (config.hsv_h, config.hsv_s, config.hsv_v)
    if config.grey and rng.random() < config.grey:
        gains[1] = 0
    elif not (config.hsv_h or config.hsv_s or config.hsv_v):
        return image
    levels = np.arange(256)
    table = np.empty((256, 1, 3), np.uint8)
    table[:, 0, 0] = (levels * gains[0]) % 180
    table[:, 0, 1] = np.clip(levels * gains[1], 0, 255)
    table[:, 0, 2] = np.clip(levels * gains[2], 0, 255)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2BGR)  # type: ignore[return-value]


def flip(sample: Sample, config: AugmentConfig, rng: np.random.Generator) -> Sample:
    """Mirror images, each way with its probability."""
    left_right, up_down = rng.random(2) < (config.flip_lr, config.flip_ud)
    for axis, wanted in ((0, left_right), (1, up_down)):
        if wanted:
            sample = mirrored(sample, axis)
    return sample


def mirrored(sample: Sample, axis: int) -> Sample:
    """Mirrored in x (axis 0) or y (axis 1)."""
    extent = sample.image.shape[1 - axis]

    def boxes(xyxy: FloatArray) -> FloatArray:
        turned = xyxy.copy()
        turned[:, axis], turned[:, axis + 2] = extent - xyxy[:, axis + 2], extent - xyxy[:, axis]
        return turned

    def points(part: FloatArray) -> FloatArray:
        turned = part.copy()
        turned[:, axis] = extent - part[:, axis]
        return turned

    outlines = tuple(tuple(points(part) for part in polygons) for polygons in sample.outlines)
    image: ImageArray = cv2.flip(sample.image, 1 - axis)  # type: ignore[assignment]
    return Sample(image, boxes(sample.xyxy), sample.class_id, boxes(sample.regions), sample.region_classes, outlines)


def mixup(a: Sample, b: Sample, alpha: float, rng: np.random.Generator) -> Sample:
    """Two pictures of one size blended; both keep their labels.

    Source: Zhang et al., "mixup" (arXiv 1710.09412); for detection Zhang et al. (arXiv 1902.04103).
    """
    weight = float(rng.beta(alpha, alpha))
    image: ImageArray = cv2.addWeighted(a.image, weight, b.image, 1 - weight, 0)  # type: ignore[assignment]
    return joined(image, [a, b])


def copy_paste(sample: Sample, probability: float, rng: np.random.Generator) -> Sample:
    """Mirror outlined objects to the other side of the picture where nothing is hidden by more than 30 %.

    Source: Ghiasi et al., "Simple Copy-Paste" (arXiv 2012.07177), within one picture.
    """
    if not sample.outlines or not probability:
        return sample
    height, width = sample.image.shape[:2]
    image, xyxy, class_id = sample.image.copy(), list(sample.xyxy), list(sample.class_id)
    outlines = list(sample.outlines)
    mask = np.zeros((height, width), np.uint8)
    for row in np.flatnonzero(rng.random(len(sample.xyxy)) < probability):
        x1, y1, x2, y2 = sample.xyxy[row]
        box = np.array([width - x2, y1, width - x1, y2], np.float32)
        if not sample.outlines[row] or _hidden_by(box, np.stack(xyxy)).max() >= 0.3:
            continue
        turned = tuple(np.stack((width - part[:, 0], part[:, 1]), 1) for part in sample.outlines[row])
        cv2.fillPoly(mask, [part.round().astype(np.int32) for part in turned], 1)
        xyxy.append(box)
        class_id.append(sample.class_id[row])
        outlines.append(turned)
    image[mask > 0] = sample.image[:, ::-1][mask > 0]
    boxes = np.stack(xyxy).astype(np.float32)
    return Sample(image, boxes, np.array(class_id, np.int64), sample.regions, sample.region_classes, tuple(outlines))


def paste_in(sample: Sample, others: Sequence[Sample], rng: np.random.Generator) -> Sample:
    """Paste boxes of other pictures, with what is around the objects in them, onto free places.

    Args:
        sample: what to paste onto.
        others: pictures at the same scale; of each up to two boxes are taken.
        rng: random numbers.
    """
    height, width = sample.image.shape[:2]
    image, xyxy, class_id = sample.image.copy(), list(sample.xyxy), list(sample.class_id)
    for other in others:
        for row in rng.permutation(len(other.xyxy))[:2]:
            x1, y1, x2, y2 = other.xyxy[row].round().astype(int)
            patch = other.image[max(y1, 0) : y2, max(x1, 0) : x2]
            patch = patch[: height // 2, : width // 2]
            if min(patch.shape[:2]) < 8 or patch.shape[0] < (y2 - y1) or patch.shape[1] < (x2 - x1):
                continue
            left = int(rng.integers(0, width - patch.shape[1] + 1))
            top = int(rng.integers(0, height - patch.shape[0] + 1))
            box = np.array([left, top, left + patch.shape[1], top + patch.shape[0]], np.float32)
            occupied = np.concatenate([np.reshape(xyxy, (-1, 4)), sample.regions]).astype(np.float32)
            if len(occupied) and _hidden_by(box, occupied).max() >= 0.3:
                continue
            image[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
            xyxy.append(box)
            class_id.append(other.class_id[row])
    boxes = np.reshape(np.array(xyxy, np.float32), (-1, 4))
    return Sample(image, boxes, np.array(class_id, np.int64), sample.regions, sample.region_classes)


def _four_places(samples: Sequence[Sample], side: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Left and top of four pictures that meet in one point."""
    x, y = (int(value) for value in rng.uniform(side / 2, 3 * side / 2, 2))
    (h0, w0), (h1, _), (_, w2), _ = (sample.image.shape[:2] for sample in samples)
    return [(x - w0, y - h0), (x, y - h1), (x - w2, y), (x, y)]


def _nine_places(samples: Sequence[Sample], side: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Left and top of nine pictures: one in the middle of 3 x 3 sides, the others around it, all cut to 2 x 2 sides."""
    dx, dy = (int(value) for value in rng.uniform(0, side, 2))
    height, width = samples[0].image.shape[:2]
    places = [(side, side)]
    last_h, last_w = height, width
    for number, sample in enumerate(samples[1:], start=1):
        h, w = sample.image.shape[:2]
        places.append(
            {
                1: (side, side - h),
                2: (side + last_w, side - h),
                3: (side + width, side),
                4: (side + width, side + last_h),
                5: (side + width - w, side + height),
                6: (side + width - last_w - w, side + height),
                7: (side - w, side + height - h),
                8: (side - w, side + height - last_h - h),
            }[number]
        )
        last_h, last_w = h, w
    return [(left - dx, top - dy) for left, top in places]


def _random_matrix(
    from_hw: tuple[int, int], to_hw: tuple[int, int], config: AugmentConfig, rng: np.random.Generator
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """3 x 3, from the picture to what is cut out of it."""
    centre = np.eye(3)
    centre[:2, 2] = -from_hw[1] / 2, -from_hw[0] / 2
    tilt = np.eye(3)
    tilt[2, :2] = rng.uniform(-1, 1, 2) * config.perspective
    turn = np.eye(3)
    angle, scale = rng.uniform(-1, 1) * config.degrees, rng.uniform(*config.scale)
    turn[:2] = cv2.getRotationMatrix2D((0, 0), angle, scale)
    shear = np.eye(3)
    shear[0, 1], shear[1, 0] = np.tan(np.radians(rng.uniform(-1, 1, 2) * config.shear))
    shift = np.eye(3)
    shift[:2, 2] = (0.5 + rng.uniform(-1, 1, 2) * config.translate) * (to_hw[1], to_hw[0])
    return shift @ shear @ turn @ tilt @ centre


def _mapped(points: FloatArray, matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> FloatArray:
    """Points (k, 2) through a projective matrix."""
    out = points @ matrix[:, :2].T + matrix[:, 2]
    return (out[:, :2] / out[:, 2:]).astype(np.float32)


def _mapped_boxes(xyxy: FloatArray, matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> FloatArray:
    """Upright boxes (n, 4) around the mapped corners of boxes."""
    corners = _mapped(xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2), matrix).reshape(-1, 4, 2)
    return np.concatenate([corners.min(1), corners.max(1)], 1)


def _hidden_by(box: FloatArray, others: FloatArray) -> FloatArray:
    """Part of each other box (n,) that `box` covers."""
    overlap = np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2])
    inter = overlap.clip(0).prod(1)
    return inter / np.maximum((others[:, 2:] - others[:, :2]).prod(1), 1e-6)
