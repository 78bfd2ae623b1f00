"""Writing a data set in another layout, images and labels.

yolo    images/SPLIT/x.jpg  labels/SPLIT/x.txt  data.yaml
coco    images/SPLIT/x.jpg  annotations/SPLIT.json  data.yaml
voc     JPEGImages/x.jpg  Annotations/x.xml  ImageSets/Main/SPLIT.txt  data.yaml
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import yaml

from detector.data.data_yaml import Format
from detector.data.training_set import TrainingImage, TrainingSet
from pipeline.core.boxes import xyxy_to_cxcywh
from pipeline.core.errors import DatasetError, UsageError

Placing = Literal["link-or-copy", "link", "copy"]
"""How images get into the new folder; links are hard links."""


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written.

    Attributes:
        path: the data.yaml that describes it.
        images: number of images.
        boxes: number of boxes, ignored places left out.
        losses: what the new format has no place for, one line each.
    """

    path: Path
    images: int
    boxes: int
    losses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Placed:
    """An image of the new data set: its name without suffix, and its file below the folder of images."""

    image: TrainingImage
    stem: str
    file: Path


def convert(
    splits: Mapping[str, TrainingSet],
    to: Format,
    folder: Path,
    *,
    placing: Placing = "link-or-copy",
    exist_ok: bool = False,
) -> Converted:
    """Write splits of one data set in another layout.

    Args:
        splits: by name; all with the same classes.
        to: the layout.
        folder: where to write; made if need be.
        placing: whether images are hard links, copies, or links where the file system can and copies otherwise.
        exist_ok: write into a folder that has something in it; files of the same name are replaced.

    Raises:
        UsageError: no split, the folder is taken, or images of the data set lie in it.
        DatasetError: the splits differ in their classes, or a file cannot be written.
    """
    if not splits:
        raise UsageError(f"{folder}: wanted at least one split to write, found none")
    first = next(iter(splits.values()))
    for name, dataset in splits.items():
        if (dataset.class_names, dataset.category_ids) != (first.class_names, first.category_ids):
            raise DatasetError(
                f"{dataset.path}: {name}: wanted the classes of the other splits, found others; convert it alone (--split)"
            )
    _check_folder(folder, splits, exist_ok=exist_ok)
    stems: set[str] = set()
    document: dict[str, Any] = {"names": list(first.class_names)}
    try:
        for name, dataset in splits.items():
            below = Path() if to == "voc" else Path(name)
            placed = [_place(image, below, stems) for image in dataset.images]
            for item in placed:
                _put(item.image.path, folder / _IMAGES[to] / item.file, placing)
            document |= _WRITERS[to](name, dataset, placed, folder)
        path = folder / "data.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise DatasetError(
            f"{folder}: wanted to write the data set, found: {error}; free space or name another"
        ) from error
    images = [image for dataset in splits.values() for image in dataset.images]
    return Converted(path, len(images), sum(len(image.xyxy) for image in images), tuple(_losses(images, to)))


def check_folder_is_free(folder: Path, *, exist_ok: bool) -> None:
    """Refuse a folder that has something in it, unless that is allowed.

    Raises:
        UsageError: it is a file, or not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: wanted a folder to write, found a file; name another")
    if folder.is_dir() and any(folder.iterdir()) and not exist_ok:
        raise UsageError(f"{folder}: wanted a new or empty folder, found files in it; name another, or use --exist-ok")


def _check_folder(folder: Path, splits: Mapping[str, TrainingSet], *, exist_ok: bool) -> None:
    check_folder_is_free(folder, exist_ok=exist_ok)
    home = folder.resolve()
    for dataset in splits.values():
        described_in = dataset.path if dataset.path.is_dir() else dataset.path.parent
        for place in {described_in, *(image.path.parent for image in dataset.images)}:
            if place.resolve().is_relative_to(home):
                raise UsageError(f"{folder}: wanted a folder apart from the data, found it in {place}; name another")


def _place(image: TrainingImage, below: Path, stems: set[str]) -> _Placed:
    """A name that no other image has, on a disk that ignores case too: label files are named after it."""
    stem, n = image.path.stem, 1
    while stem.lower() in stems:
        n += 1
        stem = f"{image.path.stem}_{n}"
    stems.add(stem.lower())
    return _Placed(image, stem, below / f"{stem}{image.path.suffix}")


def _put(source: Path, target: Path, placing: Placing) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if placing != "copy":
        try:
            os.link(source.resolve(), target)
            return
        except OSError as error:
            if placing == "link":
                raise DatasetError(
                    f"{target}: wanted a hard link to {source}, found: {error.strerror}; copy instead (--copy)"
                ) from error
    shutil.copy2(source, target)


def _write_yolo(split: str, _: TrainingSet, placed: list[_Placed], folder: Path) -> dict[str, Any]:
    for item in placed:
        height, width = item.image.shape_hw
        cxcywh = xyxy_to_cxcywh(item.image.xyxy.astype(np.float64)) / (width, height, width, height)
        rows = zip(item.image.class_id.tolist(), cxcywh.tolist(), strict=True)
        lines = [f"{class_id} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n" for class_id, (cx, cy, w, h) in rows]
        _write(folder / "labels" / item.file.with_name(f"{item.stem}.txt"), "".join(lines))
    return {split: f"images/{split}"}


def _write_coco(split: str, dataset: TrainingSet, placed: list[_Placed], folder: Path) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, item in enumerate(placed, start=1):
        height, width = item.image.shape_hw
        record = {"id": number, "file_name": item.file.as_posix(), "height": height, "width": width}
        if item.image.unlabelled:
            record["not_exhaustive_category_ids"] = sorted(dataset.category_ids[c] for c in item.image.unlabelled)
        images.append(record)
        for annotation in _annotations(item.image, dataset.category_ids):
            annotations.append({"id": len(annotations) + 1, "image_id": number} | annotation)
    categories = [{"id": n, "name": name} for n, name in zip(dataset.category_ids, dataset.class_names, strict=True)]
    file = Path("annotations") / f"{split}.json"
    document = {"images": images, "annotations": annotations, "categories": categories}
    _write(folder / file, json.dumps(document) + "\n")
    return {"images": "images", split: file.as_posix()}


def _annotations(image: TrainingImage, category_ids: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    outlines = image.outlines or ((),) * len(image.xyxy)
    areas = image.area.tolist() if len(image.area) else [None] * len(image.xyxy)
    rows = zip(image.xyxy.tolist(), image.class_id.tolist(), outlines, areas, strict=True)
    for xyxy, class_id, outline, area in rows:
        rings = [[round(value, 3) for value in ring.ravel().tolist()] for ring in outline]
        yield _annotation(xyxy, category_ids[class_id], area) | {"segmentation": rings, "iscrowd": 0}
    for xyxy, class_id in zip(image.ignore_xyxy.tolist(), image.ignore_class_id.tolist(), strict=True):
        yield _annotation(xyxy, category_ids[class_id], None) | {"segmentation": [], "iscrowd": 1, "ignore": 1}


def _annotation(xyxy: list[float], category_id: int, area: float | None) -> dict[str, Any]:
    left, top, right, bottom = xyxy
    width, height = right - left, bottom - top
    bbox = [round(value, 3) for value in (left, top, width, height)]
    return {"category_id": category_id, "bbox": bbox, "area": round(width * height if area is None else area, 3)}


def _write_voc(split: str, dataset: TrainingSet, placed: list[_Placed], folder: Path) -> dict[str, Any]:
    for item in placed:
        tree = ElementTree.ElementTree(_voc_document(item, dataset.class_names))
        ElementTree.indent(tree)
        path = folder / "Annotations" / f"{item.stem}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        tree.write(path, encoding="utf-8")
    file = Path("ImageSets") / "Main" / f"{split}.txt"
    _write(folder / file, "".join(f"{item.stem}\n" for item in placed))
    return {"format": "voc", split: file.as_posix()}


def _voc_document(item: _Placed, class_names: tuple[str, ...]) -> ElementTree.Element:
    image = item.image
    root = ElementTree.Element("annotation")
    _tag(root, "folder", "JPEGImages")
    _tag(root, "filename", item.file.name)
    size = _tag(root, "size")
    for name, value in (("width", image.shape_hw[1]), ("height", image.shape_hw[0]), ("depth", 3)):
        _tag(size, name, str(value))
    for difficult, boxes, classes in (
        (0, image.xyxy, image.class_id),
        (1, image.ignore_xyxy, image.ignore_class_id),
    ):
        for (left, top, right, bottom), class_id in zip(boxes.tolist(), classes.tolist(), strict=True):
            item_tag = _tag(root, "object")
            _tag(item_tag, "name", class_names[class_id])
            _tag(item_tag, "difficult", str(difficult))
            corners = _tag(item_tag, "bndbox")
            # Pixels count from 1, and the last one belongs to the box.
            for name, value in (("xmin", left + 1), ("ymin", top + 1), ("xmax", right), ("ymax", bottom)):
                _tag(corners, name, f"{value:.3f}".rstrip("0").rstrip("."))
    return root


def _tag(parent: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    tag = ElementTree.SubElement(parent, name)
    tag.text = text
    return tag


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _losses(images: list[TrainingImage], to: Format) -> Iterator[str]:
    """What is lost, in words."""
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


_IMAGES = {"yolo": "images", "coco": "images", "voc": "JPEGImages"}
_WRITERS = {"yolo": _write_yolo, "coco": _write_coco, "voc": _write_voc}
