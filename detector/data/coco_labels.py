"""Labels in COCO's annotation format, of one file or of several that share their categories.

`iscrowd: 1` or `ignore: 1` makes an annotation a place that is not trained on. An image's
`not_exhaustive_category_ids` (as in LVIS, arXiv 1908.03195, section 3) are classes that nobody looked for in it.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detector.data.data_yaml import DataYaml, Entry
from detector.data.raw_labels import ListedImage, Listing, RawBox, RawLabels
from detector.data.report import Kind, Problem
from detector.data.training_set import Polygons
from pipeline.core.errors import DatasetError
from pipeline.evaluation.coco_dataset import find_images, load_annotations, records_of

_LIMIT = 1e9
_TRIES = 50
"""Images looked for until one tells the folder: the first may be missing."""


def list_coco(data: DataYaml) -> Listing:
    """The images of one split with COCO labels; class_id follows the rising category ids.

    Raises:
        DatasetError: not such a file, files whose categories differ, names that differ from the categories, or no
            image is found.
    """
    categories: dict[int, str] = {}
    images: list[ListedImage] = []
    problems: list[Problem] = []
    for entry in data.entries:
        document = load_annotations(entry.file)
        of_file = _categories(document, entry.file)
        if categories and of_file != categories:
            raise DatasetError(
                f"{entry.file}: wanted the categories of {data.entries[0].file}, found others: "
                f"{_difference(categories, of_file)}; make them equal"
            )
        categories = of_file
        _read_file(document, entry, categories, images, problems)
    names = tuple(categories.values())
    if data.class_names is not None and data.class_names != names:
        raise DatasetError(
            f"{data.path}: names: wanted those of the COCO file by rising id ({', '.join(names)}), "
            f"found {', '.join(data.class_names)}; leave `names` out"
        )
    return Listing(names, tuple(categories), images, problems)


def _categories(document: dict[str, Any], path: Path) -> dict[int, str]:
    records = records_of(document, "categories", ("id", "name"), path)
    if not records:
        raise DatasetError(f"{path}: wanted at least one category, found none; name the classes")
    for record in records:
        if not isinstance(record["id"], int):
            raise DatasetError(f"{path}: wanted whole numbers as category ids, found {record['id']!r}")
    names = {record["id"]: str(record["name"]) for record in sorted(records, key=lambda record: record["id"])}
    if len(names) != len(records):
        raise DatasetError(f"{path}: wanted each category id once, found one twice")
    return names


def _difference(a: dict[int, str], b: dict[int, str]) -> str:
    number = min(key for key in {*a, *b} if a.get(key) != b.get(key))
    return f"id {number} is {a.get(number, 'nothing')!r} there and {b.get(number, 'nothing')!r} here"


def _read_file(
    document: dict[str, Any],
    entry: Entry,
    categories: dict[int, str],
    images: list[ListedImage],
    problems: list[Problem],
) -> None:
    records = records_of(document, "images", ("id", "file_name", "height", "width"), entry.file)
    if not records:
        raise DatasetError(f"{entry.file}: wanted at least one image, found none")
    folder = entry.images or _images_folder(entry.file, records)
    class_of = {number: index for index, number in enumerate(categories)}
    labels: dict[Any, RawLabels] = {}
    for record in records:
        recorded = (record["height"], record["width"])
        found = RawLabels(recorded_hw=recorded, unlabelled=_unlabelled(record, class_of, entry.file))
        image_id = _key(record["id"])
        if image_id in labels:
            text = f"image id {record['id']} stands twice; the second, {record['file_name']!r}, is left out"
            problems.append(Problem(Kind.UNREADABLE_LABELS, entry.file, text))
            continue
        labels[image_id] = found
        path = folder / str(record["file_name"])
        images.append(ListedImage(path, entry.file, partial(_known, found), entry.file))
    without_polygons = _read_annotations(document, entry.file, class_of, labels, problems)
    if without_polygons:
        text = f"{without_polygons} masks are not polygons; their boxes are used, their masks are not"
        problems.append(Problem(Kind.UNUSED_MASK, entry.file, text))


def _key(value: Any) -> int | str:
    """An id to look up by: lists and mappings, which are no ids, become a text that is none either."""
    return value if isinstance(value, int | str) else repr(value)


def _unlabelled(record: dict[str, Any], class_of: dict[int, int], path: Path) -> frozenset[int]:
    numbers = record.get("not_exhaustive_category_ids") or []
    if not isinstance(numbers, list) or not all(_key(number) in class_of for number in numbers):
        raise DatasetError(
            f"{path}: image {record['id']}: not_exhaustive_category_ids: wanted a list of category ids "
            f"({', '.join(map(str, list(class_of)[:10]))}), found {str(numbers)[:60]}"
        )
    return frozenset(class_of[number] for number in numbers)


def _known(labels: RawLabels, _: tuple[int, int]) -> RawLabels:
    return labels


def _images_folder(path: Path, records: list[dict[str, Any]]) -> Path:
    names = [str(record["file_name"]) for record in records]
    for name in names[1:_TRIES]:
        try:
            return find_images(path, name)
        except DatasetError:
            continue
    return find_images(path, names[0])


def _read_annotations(
    document: dict[str, Any],
    path: Path,
    class_of: dict[int, int],
    labels: dict[Any, RawLabels],
    problems: list[Problem],
) -> int:
    """Sort the annotations to their images. Returns how many have a mask that is not used."""
    unused: dict[bool, int] = defaultdict(int)
    for number, record in enumerate(records_of(document, "annotations", ("image_id", "category_id", "bbox"), path)):
        item = f"annotation {record.get('id', number)}"
        image_id = _key(record["image_id"])
        if image_id not in labels:
            text = f"{item}: its image {record['image_id']!r} is not among the images"
            problems.append(Problem(Kind.UNKNOWN_IMAGE, path, text))
            continue
        found = labels[image_id]
        box = _box(record, item, class_of)
        if isinstance(box, RawBox):
            found.boxes.append(box)
            unused[bool(record.get("segmentation")) and not box.outline and not box.ignore] += 1
        else:
            found.problems.append(Problem(box[0], path, f"{item}: {box[1]}"))
    return unused[True]


def _box(record: dict[str, Any], item: str, class_of: dict[int, int]) -> RawBox | tuple[Kind, str]:
    """One annotation as a box, or what is wrong with it."""
    bbox = record["bbox"]
    if not isinstance(bbox, list) or len(bbox) != 4:
        return Kind.COLUMNS, f"wanted a bbox of left, top, width, height; found {str(bbox)[:60]}"
    if not all(_finite(value) for value in bbox):
        return Kind.NOT_A_NUMBER, f"wanted a bbox of finite numbers, found {str(bbox)[:60]}"
    if _key(record["category_id"]) not in class_of:
        return Kind.UNKNOWN_CLASS, f"its category {record['category_id']!r} is not among the categories"
    left, top, width, height = (float(value) for value in bbox)
    area = record.get("area")
    return RawBox(
        class_id=class_of[record["category_id"]],
        xyxy=(left, top, left + width, top + height),
        item=item,
        ignore=bool(record.get("iscrowd") or record.get("ignore")),
        outline=_polygons(record.get("segmentation")),
        area=float(area) if area is not None and _finite(area) and area > 0 else None,
    )


def _finite(value: Any) -> bool:
    # The comparison is False for NaN and infinity, and safe for whole numbers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LIMIT < value < _LIMIT


def _polygons(segmentation: Any) -> Polygons:
    """Outlines in px; none where it is a bitmap or not made of whole polygons."""
    if not isinstance(segmentation, list):
        return ()
    if not all(isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0 for ring in segmentation):
        return ()
    if not all(_finite(value) for ring in segmentation for value in ring):
        return ()
    return tuple(np.array(ring, np.float32).reshape(-1, 2) for ring in segmentation)
