"""One picture with its labels, while it is being augmented."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.data.training_set import Polygons, TrainingImage
from pipeline.core.arrays import BoolArray, FloatArray, ImageArray, IntArray

MIN_VISIBLE = 0.1
"""Part of a box's area that must stay in the picture for the box to remain a label."""
MIN_SIDE_PX = 2.0
MAX_ASPECT = 20.0


@dataclass(slots=True, eq=False)
class Sample:
    """A picture and its labels; steps give new ones.

    Attributes:
        image: uint8 (h, w, 3), BGR.
        xyxy: float32 (n, 4), px.
        class_id: int64 (n,).
        regions: float32 (m, 4), px: places with incomplete labels.
        region_classes: bool (m, nc + 1): what may be there unlabelled; the last column: the place is an ignore box.
        outlines: one per box, or empty.
    """

    image: ImageArray
    xyxy: FloatArray
    class_id: IntArray
    regions: FloatArray
    region_classes: BoolArray
    outlines: tuple[Polygons, ...] = ()

    @property
    def num_classes(self) -> int:
        """Nc."""
        return self.region_classes.shape[1] - 1

    @classmethod
    def of(cls, image: ImageArray, labels: TrainingImage, num_classes: int) -> Sample:
        """The picture at any size, its labels scaled to it.

        Args:
            image: uint8 (h, w, 3), `labels.path` decoded and perhaps resized.
            labels: what is in it, in px of the original.
            num_classes: nc.
        """
        (height, width), (original_h, original_w) = image.shape[:2], labels.shape_hw
        scale: FloatArray = np.array([width / original_w, height / original_h] * 2, np.float32)
        ignored = len(labels.ignore_xyxy)
        region_classes = np.ones((ignored + bool(labels.unlabelled), num_classes + 1), np.bool_)
        regions = labels.ignore_xyxy * scale
        if labels.unlabelled:
            whole = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
            regions = np.concatenate([regions, whole])
            region_classes[-1] = np.isin(np.arange(num_classes + 1), list(labels.unlabelled))
        outlines = tuple(tuple(part * scale[:2] for part in polygons) for polygons in labels.outlines)
        return cls(image, labels.xyxy * scale, labels.class_id, regions, region_classes, outlines)

    def moved(self, dx: float, dy: float, image: ImageArray) -> Sample:
        """The labels shifted by px, over another picture."""
        shift = np.array([dx, dy, dx, dy], np.float32)
        outlines = tuple(tuple(part + shift[:2] for part in polygons) for polygons in self.outlines)
        return Sample(image, self.xyxy + shift, self.class_id, self.regions + shift, self.region_classes, outlines)

    def clipped(self, before: FloatArray | None = None) -> Sample:
        """Labels cut to the picture.

        A box that is hardly visible any more is no label, but its rest is not background either: it becomes a region.

        Args:
            before: float32 (n,), area of each box before the cut, at the present scale; None: that of the boxes as
                they are.
        """
        height, width = self.image.shape[:2]
        limit = np.array([width, height, width, height], np.float32)
        xyxy = np.clip(self.xyxy, 0, limit)
        size = xyxy[:, 2:] - xyxy[:, :2]
        area = size.prod(1)
        whole = (self.xyxy[:, 2:] - self.xyxy[:, :2]).prod(1) if before is None else before
        short, long = size.min(1), size.max(1)
        keep = (short > MIN_SIDE_PX) & (area > MIN_VISIBLE * whole) & (long < MAX_ASPECT * np.maximum(short, 1e-6))
        rest = xyxy[~keep & (area > 0)]
        regions = np.concatenate([np.clip(self.regions, 0, limit), rest])
        region_classes = np.concatenate([self.region_classes, np.ones((len(rest), self.num_classes + 1), np.bool_)])
        there = (regions[:, 2:] > regions[:, :2]).all(1)
        outlines = (
            tuple(polygons for polygons, kept in zip(self.outlines, keep, strict=True) if kept) if self.outlines else ()
        )
        return Sample(self.image, xyxy[keep], self.class_id[keep], regions[there], region_classes[there], outlines)


def joined(image: ImageArray, samples: list[Sample]) -> Sample:
    """The labels of several samples over one picture. Outlines are kept where all that have boxes have them."""
    with_outlines = all(len(sample.outlines) == len(sample.xyxy) for sample in samples)
    return Sample(
        image,
        np.concatenate([sample.xyxy for sample in samples]),
        np.concatenate([sample.class_id for sample in samples]),
        np.concatenate([sample.regions for sample in samples]),
        np.concatenate([sample.region_classes for sample in samples]),
        tuple(polygons for sample in samples for polygons in sample.outlines) if with_outlines else (),
    )
