"""Every split of a data set as one set of images."""

from __future__ import annotations

from pathlib import Path

from detector.data.read import examine, split_names
from detector.data.report import Report
from detector.data.training_set import TrainingImage, TrainingSet
from detector.data.write_yolo import common_class_names
from pipeline.core.errors import DatasetError


def read_all_splits(path: Path, *, workers: int = 2) -> tuple[TrainingSet, list[Report]]:
    """Read all splits that a data set has as one. An image in two of them counts once.

    Args:
        path: a data.yaml, a COCO .json (which is one split), or a folder in VOC's layout.
        workers: threads that look at images.

    Raises:
        DatasetError: it cannot be read, its splits differ in their classes, or no image can be used.
    """
    found: dict[str, TrainingSet] = {}
    reports: list[Report] = []
    for split in split_names(path):
        found[split], report = examine(path, split, workers=workers)
        reports.append(report)
    names = common_class_names(found)
    images: dict[Path, TrainingImage] = {}
    for training_set in found.values():
        for image in training_set.images:
            images.setdefault(image.path.resolve(), image)
    if not images:
        problems = [str(problem) for report in reports for problem in report.bad[:1]]
        raise DatasetError(f"{path}: wanted images that can be used, found none{'; '.join(['', *problems])}")
    first = next(iter(found.values()))
    return TrainingSet(path, names, tuple(images.values()), first.category_ids), reports
