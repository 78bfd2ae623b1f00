"""Reading labels in COCO's annotation format (instances_*.json)."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import DatasetError
from pipeline.evaluation.dataset import LabelledImage, LabelledImages


def read_coco(path: Path, images_dir: Path | None = None) -> LabelledImages:
    """Read a COCO annotation file. Image files are located but not opened.

    Args:
        path: the .json file.
        images_dir: folder of the images; None looks beside the file: in its folder, in the folder above, and in the
            folders within those two, for the one that holds the first image.

    Raises:
        DatasetError: not such a file, a label that cannot be used, or the images are not found.
    """
    document = load_annotations(path)
    categories = sorted(records_of(document, "categories", ("id", "name"), path), key=lambda c: int(c["id"]))
    class_of = {int(category["id"]): index for index, category in enumerate(categories)}
    if len(class_of) != len(categories):
        raise DatasetError(f"{path}: wanted each category id once, found one twice")
    records = sorted(
        records_of(document, "images", ("id", "file_name", "height", "width"), path), key=lambda i: int(i["id"])
    )
    if not records:
        raise DatasetError(f"{path}: wanted at least one image, found none")
    labels = _labels_by_image(document, class_of, {int(record["id"]) for record in records}, path)
    folder = images_dir if images_dir is not None else find_images(path, str(records[0]["file_name"]))
    return LabelledImages(
        path=path,
        class_names=tuple(str(category["name"]) for category in categories),
        category_ids=tuple(class_of),
        images=tuple(_image(record, labels[int(record["id"])], class_of, folder) for record in records),
    )


def load_annotations(path: Path) -> dict[str, Any]:
    """The mapping in an annotation file.

    Raises:
        DatasetError: no such file, no JSON, or no mapping.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path}: wanted a COCO annotation file; {error.strerror or error}") from error
    except ValueError as error:
        raise DatasetError(f"{path}: wanted COCO annotations in JSON, found something else ({error})") from error
    if not isinstance(document, dict):
        raise DatasetError(
            f"{path}: wanted COCO annotations (images, annotations, categories), found a JSON {type(document).__name__}"
        )
    return document


def records_of(document: dict[str, Any], group: str, keys: tuple[str, ...], path: Path) -> list[dict[str, Any]]:
    """One of the lists in an annotation file.

    Args:
        document: the mapping in the file.
        group: `images`, `annotations` or `categories`.
        keys: what every record must have.
        path: the file, for errors.

    Raises:
        DatasetError: no such list, or a record without one of the keys.
    """
    records = document.get(group)
    if not isinstance(records, list):
        raise DatasetError(f"{path}: wanted COCO annotations with a list {group!r}, found keys: {', '.join(document)}")
    for number, record in enumerate(records):
        missing = [key for key in keys if not isinstance(record, dict) or key not in record]
        if missing:
            raise DatasetError(f"{path}: {group}[{number}]: wanted {', '.join(keys)}; missing: {', '.join(missing)}")
    return records


def _labels_by_image(
    document: dict[str, Any], class_of: dict[int, int], image_ids: set[int], path: Path
) -> dict[int, list[dict[str, Any]]]:
    labels: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for label in records_of(document, "annotations", ("image_id", "category_id", "bbox"), path):
        name = f"{path}: annotation {label.get('id', '?')}"
        if label["category_id"] not in class_of:
            raise DatasetError(f"{name}: its category {label['category_id']} is not among the categories")
        if label["image_id"] not in image_ids:
            raise DatasetError(f"{name}: its image {label['image_id']} is not among the images")
        bbox = label["bbox"]
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(isinstance(n, int | float) for n in bbox):
            raise DatasetError(f"{name}: wanted a bbox of four numbers (left, top, width, height), found {bbox}")
        labels[int(label["image_id"])].append(label)
    return labels


def _image(
    record: dict[str, Any], labels: list[dict[str, Any]], class_of: dict[int, int], folder: Path
) -> LabelledImage:
    ltwh = np.array([label["bbox"] for label in labels], np.float64).reshape(-1, 4)
    area = [label.get("area", label["bbox"][2] * label["bbox"][3]) for label in labels]
    return LabelledImage(
        image_id=int(record["id"]),
        path=folder / str(record["file_name"]),
        shape_hw=(int(record["height"]), int(record["width"])),
        ltwh=ltwh,
        class_id=np.array([class_of[label["category_id"]] for label in labels], np.int64),
        area=np.array(area, np.float64),
        crowd=np.array([bool(label.get("iscrowd", 0)) for label in labels], np.bool_),
    )


def find_images(path: Path, file_name: str) -> Path:
    """The folder that holds an image, near an annotation file.

    Looked through in this order: its own folder, the one above, those within these two, those within `images` of these
    two; of several within one folder first those whose name is part of the file's, as `train` of instances_train.json.

    Raises:
        DatasetError: none of them does.
    """
    home = path.resolve().parent
    nearby = [home, home.parent]
    homes = [*nearby, *(place / "images" for place in nearby)]
    nearby += [folder for parent in homes for folder in _folders_in(parent, path.stem)]
    for folder in nearby:
        if (folder / file_name).is_file():
            return folder
    raise DatasetError(
        f"{path}: wanted the image {file_name!r} beside the file or in a folder next to it, found none; "
        "name the folder of the images"
    )


def _folders_in(parent: Path, stem: str) -> list[Path]:
    if not parent.is_dir():
        return []
    folders = [folder for folder in parent.iterdir() if folder.is_dir()]
    return sorted(folders, key=lambda folder: (folder.name not in stem, folder.name))
