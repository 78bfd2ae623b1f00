"""Labelled images, whatever the file they were described in."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import BoolArray, IntArray
from pipeline.core.errors import UsageError


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
            annotations.extend(
                {
                    "id": len(annotations) + row,
                    "image_id": image.image_id,
                    "category_id": self.category_ids[class_id],
                    "bbox": ltwh,
                    "area": area,
                    "iscrowd": int(crowd),
                }
                for row, (ltwh, class_id, area, crowd) in enumerate(rows, start=1)
            )
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


def class_ids(wanted: Sequence[str | int], class_names: Sequence[str]) -> tuple[int, ...]:
    """Class numbers for names or numbers (also as text), ascending, each once.

    Raises:
        UsageError: a name or number that is not among the classes; names the nearest one.
    """
    chosen: set[int] = set()
    for item in wanted:
        text = str(item).strip()
        if text in class_names:
            chosen.add(list(class_names).index(text))
        elif text.isdigit() and int(text) < len(class_names):
            chosen.add(int(text))
        elif text.isdigit():
            raise UsageError(f"classes: wanted a number from 0 to {len(class_names) - 1}, found {text}")
        else:
            lower = {name.lower(): name for name in class_names}
            near = difflib.get_close_matches(text.lower(), lower, n=1, cutoff=0.5)
            hint = f"did you mean {lower[near[0]]!r}?" if near else f"there are: {', '.join(class_names[:20])}"
            raise UsageError(f"classes: wanted names of the model or the data, found {text!r}; {hint}")
    return tuple(sorted(chosen))
