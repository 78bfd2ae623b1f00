"""Labels in Pascal VOC's format: one XML file per image, corners in px counted from 1.

Source: Everingham and Winn, "The PASCAL Visual Object Classes Challenge 2012 Development Kit", section 4.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from detector.data.data_yaml import SPLITS, DataYaml, Entry
from detector.data.image_list import NamedImage, named_images
from detector.data.label_files import label_file_problems
from detector.data.raw_labels import ListedImage, Listing, RawBox, RawLabels, Xyxy
from detector.data.report import Kind, Problem
from pipeline.core.errors import DatasetError

_IMAGES, _LABELS = "JPEGImages", "Annotations"


def voc_splits(folder: Path) -> tuple[str, ...]:
    """The splits train, val and test that a folder in VOC's layout has.

    Raises:
        DatasetError: none.
    """
    _require_layout(folder)
    splits = tuple(split for split in SPLITS if (folder / "ImageSets" / "Main" / f"{split}.txt").is_file())
    if not splits:
        raise DatasetError(f"{folder}: wanted {', '.join(SPLITS)} lists in ImageSets/Main, found none; write one")
    return splits


def voc_root(folder: Path, split: str) -> DataYaml:
    """A folder in VOC's layout as if a data.yaml described it.

    Raises:
        DatasetError: it has not that layout, or no such split.
    """
    _require_layout(folder)
    lists = folder / "ImageSets" / "Main"
    file = lists / f"{split}.txt"
    if not file.is_file():
        there = ", ".join(sorted(known.stem for known in lists.glob("*.txt"))) or "none"
        raise DatasetError(f"{folder}: wanted the split {split!r} in {lists}, found: {there}; name one of these")
    root = folder.resolve()
    return DataYaml(folder, root, "voc", None, (Entry(root / "ImageSets" / "Main" / file.name),), ())


def _require_layout(folder: Path) -> None:
    if not (folder / _LABELS).is_dir():
        described = folder / "data.yaml"
        todo = f"did you mean {str(described)!r}?" if described.is_file() else "describe it in a data.yaml"
        raise DatasetError(
            f"{folder}: wanted a data.yaml, a COCO .json or a folder in VOC's layout (Annotations, JPEGImages, "
            f"ImageSets/Main), found another folder; {todo}"
        )


def list_voc(data: DataYaml) -> Listing:
    """The images of one split with VOC labels.

    Without names in the data.yaml the classes are those of all files in the label folders, sorted, so that every split
    numbers them alike.

    Raises:
        DatasetError: an entry that names no images, or no class is found.
    """
    found: list[tuple[NamedImage, Path, Path]] = []
    for entry in data.entries:
        placed = Entry(entry.file, entry.images or _images_beside(entry.file), entry.labels)
        found += [(named, _labels_of(named, placed), entry.file) for named in named_images(placed, data.root)]
    names = data.class_names or _collected({labels.parent for _, labels, _ in found})
    if not names:
        raise DatasetError(f"{data.path}: wanted VOC labels such as {found[0][1]}, found no object in any")
    class_of = {name: index for index, name in enumerate(names)}
    images = [
        ListedImage(named.path, labels, partial(read_voc_labels, labels, class_of), file, named.line)
        for named, labels, file in found
    ]
    return Listing(names, tuple(range(len(names))), images, label_file_problems(images, ".xml"))


def read_voc_labels(path: Path, class_of: dict[str, int], _: tuple[int, int] = (0, 0)) -> RawLabels:
    """Read one label file; no such file: no objects. Objects marked `difficult` are places that are not trained on.

    Args:
        path: the .xml file.
        class_of: class_id by name.
    """
    labels = RawLabels()
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        return labels
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        labels.problems.append(Problem(Kind.UNREADABLE_LABELS, path, f"wanted XML, found something else ({error})"))
        labels.usable = False
        return labels
    labels.recorded_hw = _recorded_hw(root)
    for number, item in enumerate(root.iter("object"), start=1):
        box = _box(item, f"object {number}", class_of)
        if isinstance(box, RawBox):
            labels.boxes.append(box)
        else:
            labels.problems.append(Problem(box[0], path, f"object {number}: {box[1]}"))
    return labels


def _box(item: ElementTree.Element, name: str, class_of: dict[str, int]) -> RawBox | tuple[Kind, str]:
    label = (item.findtext("name") or "").strip()
    corners = [item.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
    if not label or None in corners:
        return Kind.COLUMNS, "wanted a name and a bndbox with xmin, ymin, xmax, ymax; found an object without"
    try:
        left, top, right, bottom = (float(corner or "") for corner in corners)
    except ValueError:
        return Kind.NOT_A_NUMBER, f"wanted numbers in its bndbox, found {corners}"
    if not all(math.isfinite(value) for value in (left, top, right, bottom)):
        return Kind.NOT_A_NUMBER, f"wanted finite numbers in its bndbox, found {corners}"
    if label not in class_of:
        close = difflib.get_close_matches(label, class_of, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return Kind.UNKNOWN_CLASS, f"wanted a class of {', '.join(list(class_of)[:10])}; found {label!r}{hint}"
    if (right, bottom) == (left, top):
        # To the letter a box of one pixel; in practice a slip of the mouse.
        return Kind.NO_AREA, f"from {left:g},{top:g} to {right:g},{bottom:g}; left out"
    # Pixels count from 1, and the last one belongs to the box.
    xyxy: Xyxy = (left - 1, top - 1, right, bottom)
    difficult = (item.findtext("difficult") or "0").strip() not in ("", "0")
    return RawBox(class_of[label], xyxy, item=name, ignore=difficult)


def _recorded_hw(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        height, width = (int(root.findtext(f"size/{side}") or 0) for side in ("height", "width"))
    except ValueError:
        return None
    # Some annotation programs write 0 for a size they do not know.
    return (height, width) if height > 0 and width > 0 else None


def _collected(folders: Iterable[Path]) -> tuple[str, ...]:
    names: set[str] = set()
    for folder in folders:
        for file in folder.glob("*.xml"):
            try:
                root = ElementTree.parse(file).getroot()
            except (OSError, ElementTree.ParseError, LookupError, ValueError):
                continue  # reported when its image is read
            names |= {(item.findtext("name") or "").strip() for item in root.iter("object")}
    return tuple(sorted(names - {""}))


def _images_beside(file: Path) -> Path | None:
    """JPEGImages in a folder above a list."""
    if file.is_dir():
        return None
    return next((folder / _IMAGES for folder in file.parents if (folder / _IMAGES).is_dir()), None)


def _labels_of(named: NamedImage, entry: Entry) -> Path:
    if entry.labels is not None:
        return (entry.labels / named.under).with_suffix(".xml")
    parts = list(named.path.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == _IMAGES:
            parts[place] = _LABELS
            break
    return Path(*parts).with_suffix(".xml")
