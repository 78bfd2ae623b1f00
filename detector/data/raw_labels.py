"""Labels as a file tells them, before anything is checked against the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from detector.data.report import Problem
from detector.data.training_set import Polygons

Xyxy = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class RawBox:
    """One box of a label file.

    Attributes:
        class_id: index into the class names, within their range.
        xyxy: px of the decoded image; finite, otherwise anything.
        line: line of the label file, where it has lines.
        item: what to call it where there are no lines, such as `annotation 17`.
        ignore: a place where something may be, not an object to learn.
        outline: of the object, px, where the file has one.
        area: px^2 that the file gives; None: that of the box.
    """

    class_id: int
    xyxy: Xyxy
    line: int | None = None
    item: str = ""
    ignore: bool = False
    outline: Polygons = ()
    area: float | None = None


@dataclass(slots=True)
class RawLabels:
    """All that is said of one image.

    Attributes:
        boxes: those that could be read.
        problems: what could not.
        recorded_hw: height and width of the image that the labels speak of, px; None: they do not say.
        unlabelled: classes that nobody looked for in this image.
        usable: False where the labels as a whole cannot be read: the image must not pass for an empty one.
    """

    boxes: list[RawBox] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    recorded_hw: tuple[int, int] | None = None
    unlabelled: frozenset[int] = frozenset()
    usable: bool = True


LabelReader = Callable[[tuple[int, int]], RawLabels]
"""Reads the labels of one image, given its height and width as decoded, px."""


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image that a data set names.

    Attributes:
        path: the image file, absolute.
        labels: the file with its labels; it need not exist.
        read: reads them.
        listed_in: the file or folder that names the image.
        line: in `listed_in`, where that is a text file.
    """

    path: Path
    labels: Path
    read: LabelReader
    listed_in: Path
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What one split of a data set names.

    Attributes:
        class_names: by class_id.
        category_ids: COCO category numbers by class_id.
        images: in the order of the files that list them; one may occur twice.
        problems: found while listing.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: list[ListedImage]
    problems: list[Problem]
