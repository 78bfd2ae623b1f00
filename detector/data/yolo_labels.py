"""Labels in YOLO's format: one text file per image, one line per object, in fractions of the image.

class cx cy w h             a box
class x1 y1 x2 y2 x3 y3 …   an outline of three points or more; its box is the one around it
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from detector.data.data_yaml import DataYaml, Entry
from detector.data.image_list import NamedImage, named_images
from detector.data.label_files import label_file_problems
from detector.data.polygons import area_of, around
from detector.data.raw_labels import ListedImage, Listing, RawBox, RawLabels
from detector.data.report import Kind, Problem
from pipeline.core.errors import DatasetError

_LIMIT = 1e9
_FAR = 2.0
"""Above this a number is no fraction of the image that went a little too far."""


def list_yolo(data: DataYaml) -> Listing:
    """The images of one split with YOLO labels.

    Raises:
        DatasetError: an entry that names no images.
    """
    if data.class_names is None:
        raise DatasetError(f"{data.path}: wanted `names`, the list of class names, found none; YOLO labels are numbers")
    count = len(data.class_names)
    images: list[ListedImage] = []
    for entry in data.entries:
        for named in named_images(entry, data.root):
            labels = _labels_of(named, entry)
            read = partial(read_yolo_labels, labels, count)
            images.append(ListedImage(named.path, labels, read, entry.file, named.line))
    return Listing(data.class_names, tuple(range(count)), images, label_file_problems(images, ".txt"))


def read_yolo_labels(path: Path, num_classes: int, shape_hw: tuple[int, int]) -> RawLabels:
    """Read one label file; no such file: no objects.

    Args:
        path: the .txt file.
        num_classes: classes run from 0 to one less.
        shape_hw: height and width of the decoded image, px.
    """
    labels = RawLabels()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return labels
    except (OSError, UnicodeDecodeError) as error:
        labels.problems.append(Problem(Kind.UNREADABLE_LABELS, path, f"wanted text, found: {error}"))
        labels.usable = False
        return labels
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        row = _row(words, num_classes, shape_hw)
        if isinstance(row, RawBox):
            labels.boxes.append(RawBox(row.class_id, row.xyxy, number, outline=row.outline, area=row.area))
        else:
            kind, found = row
            labels.problems.append(Problem(kind, path, found, number))
    return labels


def labels_path(image: Path) -> Path:
    """The label file of an image: the last folder called `images` becomes `labels`, the suffix .txt."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _row(words: list[str], num_classes: int, shape_hw: tuple[int, int]) -> RawBox | tuple[Kind, str]:
    """One line as a box, or what is wrong with it."""
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        wanted = "wanted class cx cy w h, or class and an outline x y x y x y …"
        return Kind.COLUMNS, f"{wanted}; found {len(words)} columns"
    try:
        class_number, *values = map(float, words)
    except ValueError:
        return Kind.NOT_A_NUMBER, f"wanted numbers, found {' '.join(words)[:60]!r}"
    # The comparison is False for NaN and infinity.
    if not all(-_LIMIT < value < _LIMIT for value in (class_number, *values)):
        return Kind.NOT_A_NUMBER, f"wanted finite numbers, found {' '.join(words)[:60]!r}"
    class_id = int(class_number)
    if class_id != class_number or not 0 <= class_id < num_classes:
        return Kind.UNKNOWN_CLASS, f"wanted a class from 0 to {num_classes - 1}, found {words[0]}"
    if max(values) > _FAR:
        return (
            Kind.OUTSIDE,
            f"wanted fractions of the image, 0 to 1, found {max(values):g}; left out (are these pixels?)",
        )
    height, width = shape_hw
    if len(values) > 4:
        outline = np.array(values, np.float64).reshape(-1, 2) * (width, height)
        rings = (outline.astype(np.float32),)
        return RawBox(class_id, around(rings), outline=rings, area=area_of(rings))
    x, y, half_width, half_height = values[0], values[1], values[2] / 2, values[3] / 2
    left, right = (x - half_width) * width, (x + half_width) * width
    return RawBox(class_id, (left, (y - half_height) * height, right, (y + half_height) * height))


def _labels_of(named: NamedImage, entry: Entry) -> Path:
    if entry.labels is not None:
        return (entry.labels / named.under).with_suffix(".txt")
    return labels_path(named.path)
