"""Writing a data set in YOLO's format: data.yaml, images/<split>/ and labels/<split>/ with one text file per image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from detector.data.place_images import Mode, place_images
from detector.data.training_set import TrainingImage, TrainingSet
from pipeline.core.boxes import xyxy_to_cxcywh
from pipeline.core.errors import DatasetError
from pipeline.core.whole_file import write_whole


def write_yolo(by_split: Mapping[str, TrainingSet], folder: Path, *, mode: Mode = "link") -> Path:
    """Write data sets as the splits of one YOLO data set. All paths in it are relative to data.yaml.

    YOLO's labels can say neither that a place is to be ignored nor which classes nobody looked for, and hold boxes
    here: `ignore_xyxy`, `unlabelled` and `outlines` are left out. `write_coco` keeps them.

    Args:
        by_split: train, val, test; all of the same classes.
        folder: made if need be; files of the same names in it are replaced.
        mode: whether images are linked or copied.

    Returns:
        the data.yaml.

    Raises:
        DatasetError: no split, splits whose classes differ, or the disk refuses.
        UsageError: see `place_images`.
    """
    names = common_class_names(by_split)
    placed = place_images(by_split, folder, mode=mode)
    try:
        for split, training_set in by_split.items():
            for image, name in zip(training_set.images, placed[split], strict=True):
                write_whole((folder / "labels" / split / name).with_suffix(".txt"), label_text(image))
        path = folder / "data.yaml"
        write_whole(path, data_yaml_text(names, by_split))
    except OSError as error:
        raise DatasetError(f"{folder}: wanted to write labels, found: {error.strerror or error}") from error
    return path


def label_text(image: TrainingImage) -> str:
    """The label file of an image: `class cx cy w h` a line, in fractions of the image within 0 to 1."""
    height, width = image.shape_hw
    size = np.array([width, height, width, height], np.float64)
    corners = np.clip(image.xyxy.astype(np.float64) / size, 0, 1)
    rows = zip(image.class_id.tolist(), xyxy_to_cxcywh(corners).tolist(), strict=True)
    return "".join(f"{class_id} {' '.join(f'{value:.6f}' for value in box)}\n" for class_id, box in rows)


def data_yaml_text(class_names: Sequence[str], splits: Iterable[str]) -> str:
    """A data.yaml whose splits lie in images/<split>."""
    entries = {split: f"images/{split}" for split in splits}
    document = {**entries, "nc": len(class_names), "names": dict(enumerate(class_names))}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def common_class_names(by_split: Mapping[str, TrainingSet]) -> tuple[str, ...]:
    """The class names that all splits share.

    Raises:
        DatasetError: no split, or splits whose classes differ.
    """
    if not by_split:
        raise DatasetError("data set: wanted at least one split, found none")
    first, *others = by_split.items()
    for split, training_set in others:
        if training_set.class_names != first[1].class_names:
            raise DatasetError(
                f"data set: wanted the same classes in all splits, found {', '.join(first[1].class_names)} in "
                f"{first[0]} and {', '.join(training_set.class_names)} in {split}"
            )
    return first[1].class_names
