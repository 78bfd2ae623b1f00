"""Writing a data set in COCO's format: images/<split>/ and annotations/instances_<split>.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detector.data.place_images import Mode, place_images
from detector.data.training_set import Polygons, TrainingImage, TrainingSet
from detector.data.write_yolo import common_class_names
from pipeline.core.boxes import area, xyxy_to_ltwh
from pipeline.core.errors import DatasetError
from pipeline.core.whole_file import write_whole_json

Fields = Mapping[str, Any]


def write_coco(by_split: Mapping[str, TrainingSet], folder: Path, *, mode: Mode = "link") -> list[Path]:
    """Write data sets as the splits of one COCO data set. Image names are relative to images/<split>/.

    Args:
        by_split: train, val, test; all of the same classes and category numbers.
        folder: made if need be; files of the same names in it are replaced.
        mode: whether images are linked or copied.

    Returns:
        the annotation files, in the order of the splits.

    Raises:
        DatasetError: no split, splits whose classes differ, or the disk refuses.
        UsageError: see `place_images`.
    """
    common_class_names(by_split)
    placed = place_images(by_split, folder, mode=mode)
    paths = []
    for split, training_set in by_split.items():
        path = annotations_path(folder, split)
        try:
            write_whole_json(path, coco_document(training_set, placed[split]))
        except OSError as error:
            raise DatasetError(f"{path}: wanted to write labels, found: {error.strerror or error}") from error
        paths.append(path)
    return paths


def annotations_path(folder: Path, split: str) -> Path:
    """Where the annotations of a split are."""
    return folder / "annotations" / f"instances_{split}.json"


def coco_document(
    training_set: TrainingSet,
    file_names: Sequence[str],
    *,
    image_fields: Sequence[Fields] = (),
    box_fields: Sequence[Sequence[Fields]] = (),
) -> dict[str, Any]:
    """A data set in COCO's annotation format.

    Places to be ignored become annotations with `iscrowd: 1`, which COCO's own evaluation ignores, and `ignore: 1`,
    which tells them from crowds. `not_exhaustive_category_ids` of an image (as in LVIS, arXiv 1908.03195, section 3)
    are the classes that nobody looked for in it.

    Args:
        training_set: the images and their boxes.
        file_names: of each image, relative to the folder of the images.
        image_fields: more keys for each image record; none where empty.
        box_fields: for each image, more keys for its annotations: those of its boxes, then those of its ignored
            places; none where empty.
    """
    numbers = training_set.category_ids
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for position, (image, file_name) in enumerate(zip(training_set.images, file_names, strict=True)):
        record: dict[str, Any] = {"id": position + 1, "file_name": file_name}
        record |= {"width": image.shape_hw[1], "height": image.shape_hw[0]}
        if image.unlabelled:
            record["not_exhaustive_category_ids"] = [numbers[class_id] for class_id in sorted(image.unlabelled)]
        images.append(record | dict(image_fields[position] if image_fields else {}))
        labels = _annotations(image, numbers)
        more = box_fields[position] if box_fields else [{}] * len(labels)
        for label, fields in zip(labels, more, strict=True):
            annotations.append({"id": len(annotations) + 1, "image_id": position + 1, **label, **fields})
    categories = [{"id": number, "name": name} for number, name in zip(numbers, training_set.class_names, strict=True)]
    # Tools that follow COCO's own files look for these two, empty or not.
    head = {"info": {"description": "written by tracklight"}, "licenses": []}
    return {**head, "images": images, "annotations": annotations, "categories": categories}


def _annotations(image: TrainingImage, numbers: Sequence[int]) -> list[dict[str, Any]]:
    outlines = image.outlines or ((),) * len(image.xyxy)
    areas = image.area if len(image.area) else area(image.xyxy.astype(np.float64))
    ignored = area(image.ignore_xyxy.astype(np.float64))
    rows = [
        *zip(image.xyxy, image.class_id.tolist(), areas.tolist(), outlines, [False] * len(image.xyxy), strict=True),
        *(
            (xyxy, class_id, size, (), True)
            for xyxy, class_id, size in zip(
                image.ignore_xyxy, image.ignore_class_id.tolist(), ignored.tolist(), strict=True
            )
        ),
    ]
    return [
        {
            "category_id": numbers[class_id],
            "bbox": [round(value, 2) for value in xyxy_to_ltwh(xyxy[None].astype(np.float64))[0].tolist()],
            "area": round(size, 2),
            "iscrowd": int(ignore),
            **({"ignore": 1} if ignore else {}),
            "segmentation": _rings(outline),
        }
        for xyxy, class_id, size, outline, ignore in rows
    ]


def _rings(outline: Polygons) -> list[list[float]]:
    return [[round(value, 2) for value in ring.ravel().tolist()] for ring in outline]
