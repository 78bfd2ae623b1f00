"""Writing a data set in Pascal VOC's format: JPEGImages/, Annotations/, ImageSets/Main/ and a data.yaml.

Source: Everingham and Winn, "The PASCAL Visual Object Classes Challenge 2012 Development Kit", section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import yaml

from detector.data.place_images import Mode, place_image, placed_names
from detector.data.training_set import TrainingImage, TrainingSet
from detector.data.write_yolo import common_class_names
from pipeline.core.errors import DatasetError
from pipeline.core.whole_file import write_whole


def write_voc(by_split: Mapping[str, TrainingSet], folder: Path, *, mode: Mode = "link") -> Path:
    """Write data sets as the splits of one VOC data set. Places to be ignored become objects marked `difficult`.

    `unlabelled` and `outlines` are left out; `write_coco` keeps them.

    Args:
        by_split: train, val, test; all of the same classes.
        folder: made if need be; files of the same names in it are replaced.
        mode: whether images are linked or copied.

    Returns:
        the data.yaml, which keeps the order of the classes.

    Raises:
        DatasetError: no split, splits whose classes differ, or the disk refuses.
    """
    names = common_class_names(by_split)
    document: dict[str, object] = {"format": "voc", "names": list(names)}
    try:
        (folder / "JPEGImages").mkdir(parents=True, exist_ok=True)
        for (split, training_set), files in zip(by_split.items(), placed_names(by_split).values(), strict=True):
            for image, file in zip(training_set.images, files, strict=True):
                place_image(image.path, folder / "JPEGImages" / file, mode)
                write_whole((folder / "Annotations" / file).with_suffix(".xml"), annotation_text(image, file, names))
            document[split] = f"ImageSets/Main/{split}.txt"
            write_whole(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{Path(f).stem}\n" for f in files))
        write_whole(folder / "data.yaml", yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise DatasetError(f"{folder}: wanted to write a data set, found: {error.strerror or error}") from error
    return folder / "data.yaml"


def annotation_text(image: TrainingImage, file_name: str, class_names: tuple[str, ...]) -> str:
    """The XML of one image."""
    root = ElementTree.Element("annotation")
    _tag(root, "folder", "JPEGImages")
    _tag(root, "filename", file_name)
    size = _tag(root, "size")
    for name, value in (("width", image.shape_hw[1]), ("height", image.shape_hw[0]), ("depth", 3)):
        _tag(size, name, str(value))
    rows = [
        *zip(image.xyxy.tolist(), image.class_id.tolist(), "0" * len(image.xyxy), strict=True),
        *zip(image.ignore_xyxy.tolist(), image.ignore_class_id.tolist(), "1" * len(image.ignore_xyxy), strict=True),
    ]
    for (left, top, right, bottom), class_id, difficult in rows:
        item = _tag(root, "object")
        _tag(item, "name", class_names[class_id])
        _tag(item, "difficult", difficult)
        corners = _tag(item, "bndbox")
        # Pixels count from 1, and the last one belongs to the box.
        for name, position in (("xmin", left + 1), ("ymin", top + 1), ("xmax", right), ("ymax", bottom)):
            _tag(corners, name, f"{position:.3f}".rstrip("0").rstrip("."))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _tag(parent: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    tag = ElementTree.SubElement(parent, name)
    tag.text = text
    return tag
