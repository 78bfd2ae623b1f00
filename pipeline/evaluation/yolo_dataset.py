"""Reading labels in YOLO's format: a data.yaml, image lists or folders, and one text file of labels per image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from pipeline.core.errors import DatasetError
from pipeline.evaluation.dataset import LabelledImage, LabelledImages

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def read_yolo(path: Path, split: str = "val") -> LabelledImages:
    """Read one split of a YOLO data set. Labels of images/…/x.jpg are in labels/…/x.txt; no such file: no objects.

    Args:
        path: data.yaml with `names` (list, or mapping from number), perhaps `path` (the root of the rest, relative to
            the file), and for each split a folder, a .txt list of images, or a list of those, relative to the root.
        split: which one: train, val or test.

    Raises:
        DatasetError: not such a file, images that are not found or cannot be opened, or a label that cannot be used.
    """
    document = load_data_yaml(path)
    names = names_of(document, path)
    root = path.parent / str(document.get("path") or "")
    entries = document.get(split)
    if not entries:
        there = ", ".join(key for key in ("train", "val", "test") if document.get(key)) or "none"
        raise DatasetError(f"{path}: wanted the split {split!r}, found: {there}")
    listed = entries if isinstance(entries, list) else [entries]
    images = [image for entry in listed for image in _images_of(root / str(entry), path)]
    if not images:
        raise DatasetError(f"{path}: {split}: wanted images in {root / str(listed[0])}, found none")
    return LabelledImages(
        path=path,
        class_names=names,
        category_ids=tuple(range(len(names))),
        images=tuple(_labelled(number, image, len(names)) for number, image in enumerate(images)),
    )


def read_labels(path: Path, num_classes: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Rows of one label file: float64 (n, 5), class, then centre and size as fractions of the image. No file: no rows.

    Raises:
        DatasetError: a line that is not five numbers, a class that does not exist, or a box outside the image.
    """
    if not path.is_file():
        return np.zeros((0, 5))
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = [float(word) for word in line.split()]
        except ValueError as error:
            raise DatasetError(
                f"{where}: wanted five numbers (class cx cy w h), found {line.strip()[:60]!r}"
            ) from error
        if len(row) != 5:
            raise DatasetError(f"{where}: wanted five numbers (class cx cy w h), found {len(row)}")
        if row[0] != int(row[0]) or not 0 <= row[0] < num_classes:
            raise DatasetError(f"{where}: wanted a class from 0 to {num_classes - 1}, found {row[0]:g}")
        if not all(0 <= value <= 1 for value in row[1:]):
            raise DatasetError(f"{where}: wanted fractions of the image from 0 to 1, found {row[1:]}")
        rows.append(row)
    return np.array(rows, np.float64).reshape(-1, 5)


def labels_path(image: Path) -> Path:
    """The label file of an image: the last folder called `images` becomes `labels`, the suffix .txt."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def load_data_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a data.yaml.

    Raises:
        DatasetError: no such file, no YAML, or no mapping.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path}: wanted a data.yaml; {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: wanted YAML, found something else ({str(error).splitlines()[0]})") from error
    if not isinstance(document, dict):
        raise DatasetError(f"{path}: wanted a mapping with `names` and `val`, found {type(document).__name__}")
    return document


def names_of(document: dict[str, Any], path: Path) -> tuple[str, ...]:
    """The class names of a data.yaml, by number.

    Raises:
        DatasetError: no names, numbers with holes, or another count than `nc` says.
    """
    names = document.get("names")
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DatasetError(f"{path}: names: wanted the numbers 0 to {len(names) - 1}, found {sorted(names)}")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{path}: wanted `names`, the list of class names, found {names!r}")
    count = document.get("nc", len(names))
    if count != len(names):
        raise DatasetError(f"{path}: nc is {count}, but there are {len(names)} names")
    return tuple(str(name) for name in names)


def _images_of(entry: Path, path: Path) -> Iterator[Path]:
    if entry.is_dir():
        yield from sorted(file for file in entry.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    elif entry.is_file() and entry.suffix == ".txt":
        for line in entry.read_text(encoding="utf-8").splitlines():
            if line.strip():
                yield entry.parent / line.strip()
    else:
        raise DatasetError(f"{path}: wanted a folder of images or a .txt list of them, found neither at {entry}")


def _labelled(number: int, image: Path, num_classes: int) -> LabelledImage:
    # Fractions become pixels with the size of the decoded image, so its rotation mark is honoured as the detector does.
    pixels = cv2.imread(str(image))
    if pixels is None:
        raise DatasetError(
            f"{image}: wanted an image, found {'a file that cannot be decoded' if image.exists() else 'no file'}"
        )
    height, width = pixels.shape[:2]
    rows = read_labels(labels_path(image), num_classes)
    size = rows[:, 3:] * (width, height)
    ltwh = np.concatenate([rows[:, 1:3] * (width, height) - size / 2, size], axis=1)
    return LabelledImage(
        image_id=number,
        path=image,
        shape_hw=(height, width),
        ltwh=ltwh,
        class_id=rows[:, 0].astype(np.int64),
        area=size.prod(axis=1),
        crowd=np.zeros(len(rows), np.bool_),
    )
