"""Every split of a data set as one set of images."""

from __future__ import annotations

from pathlib import Path

from detector.data.data_yaml import SPLITS
from detector.data.read import examine
from detector.data.report import Report
from detector.data.training_set import TrainingImage, TrainingSet
from detector.data.write_yolo import common_class_names
from pipeline.core.errors import DatasetError
from pipeline.evaluation.yolo_dataset import load_data_yaml


def read_all_splits(path: Path, *, workers: int = 2) -> tuple[TrainingSet, list[Report]]:
    """Read train, val and test of a data set, as far as it has them, as one. An image in two of them counts once.

    Args:
        path: a data.yaml, a COCO .json (which is one split), or a folder in VOC's layout.
        workers: threads that look at images.

    Raises:
        DatasetError: it cannot be read, its splits differ in their classes, or no image can be used.
    """
    found: dict[str, TrainingSet] = {}
    reports: list[Report] = []
    for split in _splits(path):
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


def _splits(path: Path) -> tuple[str, ...]:
    if path.is_dir():
        there = tuple(split for split in SPLITS if (path / "ImageSets" / "Main" / f"{split}.txt").is_file())
    elif path.suffix.lower() in (".yaml", ".yml"):
        document = load_data_yaml(path)
        there = tuple(split for split in SPLITS if document.get(split))
    else:
        there = ()
    # A COCO file is one split, whatever it is called; where there is none at all, the reader tells what is missing.
    return there or SPLITS[:1]
