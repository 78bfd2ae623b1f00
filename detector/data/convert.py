"""Writing a data set in another layout, images and labels, and saying what that layout cannot hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import yaml

from detector.data.data_yaml import Format
from detector.data.output_folder import check_apart, check_output_folder, clear_output_folder, write_manifest
from detector.data.place_images import Mode
from detector.data.training_set import TrainingImage, TrainingSet
from detector.data.write_coco import annotations_path, write_coco
from detector.data.write_voc import write_voc
from detector.data.write_yolo import write_yolo
from pipeline.core.errors import DatasetError
from pipeline.core.whole_file import write_whole


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written.

    Attributes:
        path: the data.yaml that describes it.
        images: number of images.
        boxes: number of boxes, ignored places left out.
        losses: what the new layout has no place for, one line each.
    """

    path: Path
    images: int
    boxes: int
    losses: tuple[str, ...]


def convert(
    by_split: Mapping[str, TrainingSet], to: Format, folder: Path, *, mode: Mode = "link", exist_ok: bool = False
) -> Converted:
    """Write the splits of a data set in another layout.

    Args:
        by_split: train, val, test; all of the same classes.
        to: the layout.
        folder: where to write; made if need be.
        mode: `link` = hard links, and copies where the file system has none; `copy` = copies.
        exist_ok: replace a data set that this program wrote there.

    Raises:
        UsageError: the folder is taken, or the data set lies in it.
        DatasetError: no split, splits whose classes differ, or a file cannot be written.
    """
    check_output_folder(folder, exist_ok=exist_ok)
    for training_set in by_split.values():
        check_apart(folder, (training_set.path, *(image.path for image in training_set.images)))
    try:
        clear_output_folder(folder)
        write_manifest(folder, "convert", {"status": "running"})
        path = _write(by_split, to, folder, mode)
        originals = {split: str(training_set.path) for split, training_set in by_split.items()}
        write_manifest(folder, "convert", {"status": "completed", "to": to, "data": originals})
    except OSError as error:
        raise DatasetError(f"{folder}: wanted to write there, found: {error.strerror or error}") from error
    images = [image for training_set in by_split.values() for image in training_set.images]
    return Converted(path, len(images), sum(len(image.xyxy) for image in images), tuple(_losses(images, to)))


def _write(by_split: Mapping[str, TrainingSet], to: Format, folder: Path, mode: Mode) -> Path:
    match to:
        case "yolo":
            return write_yolo(by_split, folder, mode=mode)
        case "voc":
            return write_voc(by_split, folder, mode=mode)
        case "coco":
            write_coco(by_split, folder, mode=mode)
            entries = {
                split: {
                    "file": annotations_path(folder, split).relative_to(folder).as_posix(),
                    "images": f"images/{split}",
                }
                for split in by_split
            }
            path = folder / "data.yaml"
            write_whole(path, yaml.safe_dump(entries, sort_keys=False))
            return path
    assert_never(to)


def _losses(images: list[TrainingImage], to: Format) -> Iterator[str]:
    if to == "coco":
        return
    ignored = sum(len(image.ignore_xyxy) for image in images)
    unlabelled = sum(1 for image in images if image.unlabelled)
    outlined = sum(1 for image in images for outline in image.outlines if outline)
    if ignored and to == "yolo":
        yield f"{ignored} ignored places: YOLO labels cannot hold them, so what is there would be learnt as background"
    if unlabelled:
        yield f"the classes not looked for in {unlabelled} images: only COCO labels can hold them"
    if outlined:
        yield f"{outlined} outlines: only their boxes are written"
