"""Labelled images, whatever the file they were described in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import BoolArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image and what is in it.

    Attributes:
        image_id: number of the image in COCO results.
        path: the image file.
        shape_hw: height and width, px.
        ltwh: float64 (n, 4), left, top, width, height, px.
        class_id: int64 (n,), index into the data set's `class_names`.
        area: float64 (n,), px^2: that of the outline where the labels tell it, of the box otherwise.
        crowd: bool (n,), a group of objects: finding it counts neither for nor against.
    """

    image_id: int
    path: Path
    shape_hw: tuple[int, int]
    ltwh: NDArray[np.float64]
    class_id: IntArray
    area: NDArray[np.float64]
    crowd: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """A data set to measure a detector on.

    Attributes:
        path: the file that describes it.
        class_names: names by class_id.
        category_ids: COCO category numbers by class_id (COCO's 80 classes have numbers up to 90).
        images: by rising image_id.
    """

    path: Path
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: tuple[LabelledImage, ...]

    def as_coco(self) -> dict[str, Any]:
        """The labels in COCO's annotation format."""
        annotations: list[dict[str, Any]] = []
        for image in self.images:
            rows = zip(
                image.ltwh.tolist(), image.class_id.tolist(), image.area.tolist(), image.crowd.tolist(), strict=True
            )
            for ltwh, class_id, area, crowd in rows:
                label = {"id": len(annotations) + 1, "image_id": image.image_id, "bbox": ltwh, "area": area}
                annotations.append({**label, "category_id": self.category_ids[class_id], "iscrowd": int(crowd)})
        return {
            "images": [
                {
                    "id": image.image_id,
                    "file_name": image.path.name,
                    "height": image.shape_hw[0],
                    "width": image.shape_hw[1],
                }
                for image in self.images
            ],
            "annotations": annotations,
            "categories": [
                {"id": number, "name": name} for number, name in zip(self.category_ids, self.class_names, strict=True)
            ],
        }
