"""Labelled images to train on, whatever the files they were described in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.core.arrays import FloatArray, IntArray
from pipeline.evaluation.dataset import LabelledImage, LabelledImages

Polygons = tuple[FloatArray, ...]
"""Outline of one object: float32 (k, 2) px each, several where something in front divides it; none: not outlined."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingImage:
    """One image, what is in it, and what its labels do not say.

    Attributes:
        path: the image file.
        shape_hw: height and width of the decoded image with its EXIF rotation applied, px.
        xyxy: float32 (n, 4), px, within the image.
        class_id: int64 (n,), index into the set's `class_names`.
        ignore_xyxy: float32 (m, 4), px: places where something may be that is not boxed (crowds, doubtful objects);
            nothing there is trained as background.
        ignore_class_id: int64 (m,), what may be there; for validation, which ignores by class.
        unlabelled: classes that nobody looked for in this image; a detection of one of them is no mistake.
        outlines: one per box, or empty where the set has no masks.
        area: float32 (n,) px^2 of the outlines for validation; of the boxes where empty.
    """

    path: Path
    shape_hw: tuple[int, int]
    xyxy: FloatArray
    class_id: IntArray
    ignore_xyxy: FloatArray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    ignore_class_id: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    unlabelled: frozenset[int] = frozenset()
    outlines: tuple[Polygons, ...] = ()
    area: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """A data set to train on or to validate with.

    Attributes:
        path: the file that describes it.
        class_names: names by class_id.
        images: in the order of the files that list them.
        category_ids: COCO category numbers by class_id.
    """

    path: Path
    class_names: tuple[str, ...]
    images: tuple[TrainingImage, ...]
    category_ids: tuple[int, ...]

    def as_labelled(self) -> LabelledImages:
        """The same for measuring, where a box in a crowd counts neither for nor against.

        Ignored places become crowds of their class, and a whole image one of every class that nobody looked for in it.
        """
        return LabelledImages(
            path=self.path,
            class_names=self.class_names,
            category_ids=self.category_ids,
            images=tuple(_labelled(number, image) for number, image in enumerate(self.images)),
        )


def _labelled(number: int, image: TrainingImage) -> LabelledImage:
    height, width = image.shape_hw
    unlabelled = np.array(sorted(image.unlabelled), np.int64)
    whole = np.tile(np.array([0, 0, width, height], np.float32), (len(unlabelled), 1))
    xyxy = np.concatenate([image.xyxy, image.ignore_xyxy, whole]).astype(np.float64)
    size = xyxy[:, 2:] - xyxy[:, :2]
    area = size.prod(axis=1)
    if len(image.area):
        area[: len(image.area)] = image.area
    return LabelledImage(
        image_id=number,
        path=image.path,
        shape_hw=image.shape_hw,
        ltwh=np.concatenate([xyxy[:, :2], size], axis=1),
        class_id=np.concatenate([image.class_id, image.ignore_class_id, unlabelled]),
        area=area,
        crowd=np.arange(len(xyxy)) >= len(image.xyxy),
    )
