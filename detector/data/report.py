"""What is in a data set and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from detector.data.training_set import TrainingImage


class Severity(StrEnum):
    """What a problem did to the data."""

    BAD = "bad"
    """An image, a box or a label file is left out."""
    CHANGED = "changed"
    """Used, after a change that loses nothing which was meant."""
    WARNING = "warning"
    """Used as it is; worth a look."""


class Kind(StrEnum):
    """What is wrong."""

    MISSING_IMAGE = "missing image"
    UNREADABLE_IMAGE = "unreadable image"
    TRUNCATED_IMAGE = "truncated image"
    SIZE_MISMATCH = "image size differs from the labels"
    UNREADABLE_LABELS = "unreadable labels"
    NO_LABELS = "no label files"
    ORPHAN_LABELS = "labels without an image"
    COLUMNS = "wrong number of columns"
    NOT_A_NUMBER = "not a number"
    UNKNOWN_CLASS = "class out of range"
    UNKNOWN_IMAGE = "box of an unknown image"
    OUTSIDE = "box outside the image"
    NO_AREA = "box without area"
    CLIPPED = "box clipped to the image"
    DUPLICATE_BOX = "duplicate box"
    DUPLICATE_IMAGE = "image listed twice"
    EMPTY_CLASS = "class without a box"
    MIXED_FORMATS = "label files of two formats"
    UNUSED_KEY = "key that is not used"
    UNUSED_MASK = "mask that is not used"

    @property
    def severity(self) -> Severity:
        """What it did to the data."""
        if self in (Kind.CLIPPED, Kind.DUPLICATE_BOX, Kind.DUPLICATE_IMAGE):
            return Severity.CHANGED
        if self in (Kind.EMPTY_CLASS, Kind.MIXED_FORMATS, Kind.UNUSED_KEY, Kind.UNUSED_MASK):
            return Severity.WARNING
        return Severity.BAD


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: what.
        file: the file to mend.
        text: one line: what was wanted and found, and what became of it where `kind` does not tell.
        line: line of a text file, from 1; None where the file has none or the whole file is meant.
    """

    kind: Kind
    file: Path
    text: str
    line: int | None = None

    def __str__(self) -> str:
        """`file:line: kind: text`."""
        where = f"{self.file}:{self.line}" if self.line is not None else str(self.file)
        return f"{where}: {self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class BoxSizes:
    """Sides of the boxes, square root of the area.

    Attributes:
        px: smallest, lower quartile, median, upper quartile, largest, px of the image.
        relative: the same as fractions of the square root of the image's area.
        small: boxes below 32^2 px, COCO's "small".
        medium: from 32^2 to 96^2 px.
        large: above.
    """

    px: tuple[float, float, float, float, float]
    relative: tuple[float, float, float, float, float]
    small: int
    medium: int
    large: int


@dataclass(frozen=True, slots=True)
class Report:
    """What was read and what was wrong.

    Attributes:
        path: the file or folder that describes the data set.
        split: the part that was read.
        class_names: names by class_id.
        problems: in the order of the files.
        listed: images that the data set names.
        images: those that are used.
        background: used images without any box.
        boxes: boxes that are used.
        ignored: boxes of places that are not trained on.
        boxes_per_class: by class_id.
        box_sizes: None without boxes.
        converted: images whose pixels are not 8-bit colour, and what they are; they are decoded as such.
    """

    path: Path
    split: str
    class_names: tuple[str, ...]
    problems: tuple[Problem, ...]
    listed: int
    images: int
    background: int
    boxes: int
    ignored: int
    boxes_per_class: tuple[int, ...]
    box_sizes: BoxSizes | None
    converted: tuple[tuple[Path, str], ...]

    @property
    def bad(self) -> tuple[Problem, ...]:
        """Problems for which something was left out."""
        return tuple(problem for problem in self.problems if problem.kind.severity is Severity.BAD)

    @property
    def clean(self) -> bool:
        """Nothing was left out or changed; warnings may remain."""
        return all(problem.kind.severity is Severity.WARNING for problem in self.problems)

    def counts(self) -> dict[Kind, int]:
        """Number of problems of each kind that occurs, most first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    def counts_text(self) -> str:
        """The counts in one line: `2 x missing image, 1 x class out of range`."""
        return ", ".join(f"{count} x {kind}" for kind, count in self.counts().items()) or "no problems"

    def table(self, *, examples: int = 3) -> str:
        """The report as plain text, some 10 to 60 lines, without a line break at its end.

        Args:
            examples: problems of each kind to show in full.
        """
        rows = [
            f"{self.path}, {self.split}: {self.images} of {self.listed} images, {self.boxes} boxes, "
            f"{self.ignored} ignored places, {self.background} images without a box"
        ]
        rows += _histogram(self.class_names, self.boxes_per_class)
        if self.box_sizes is not None:
            rows += _size_rows(self.box_sizes)
        rows += [f"{count} images decoded to 8-bit colour: {what}" for what, count in self._conversions()]
        rows.append(f"problems: {self.counts_text()}")
        for kind in self.counts():
            of_kind = [problem for problem in self.problems if problem.kind is kind]
            rows += [f"  {kind.severity:<8}{problem}" for problem in of_kind[:examples]]
            if len(of_kind) > examples:
                rows.append(f"  {kind.severity:<8}... and {len(of_kind) - examples} more: {kind}")
        return "\n".join(rows)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all fields, `clean`, and every problem with kind, severity, file, line and text."""
        sizes = self.box_sizes
        return {
            "data": str(self.path),
            "split": self.split,
            "clean": self.clean,
            "listed": self.listed,
            "images": self.images,
            "background": self.background,
            "boxes": self.boxes,
            "ignored": self.ignored,
            "boxes_per_class": dict(zip(self.class_names, self.boxes_per_class, strict=True)),
            "box_sizes": None
            if sizes is None
            else {
                "px": list(sizes.px),
                "relative": list(sizes.relative),
                "small": sizes.small,
                "medium": sizes.medium,
                "large": sizes.large,
            },
            "converted": [{"file": str(path), "from": what} for path, what in self.converted],
            "counts": {str(kind): count for kind, count in self.counts().items()},
            "problems": [
                {
                    "kind": str(problem.kind),
                    "severity": str(problem.kind.severity),
                    "file": str(problem.file),
                    "line": problem.line,
                    "text": problem.text,
                }
                for problem in self.problems
            ],
        }

    def _conversions(self) -> list[tuple[str, int]]:
        return Counter(what for _, what in self.converted).most_common()


def make_report(
    path: Path,
    split: str,
    class_names: tuple[str, ...],
    images: Sequence[TrainingImage],
    *,
    listed: int,
    problems: Iterable[Problem],
    converted: Iterable[tuple[Path, str]],
) -> Report:
    """Count what is in the images, and add a warning for each class that no box has.

    Args:
        path: the file or folder that describes the data set.
        split: the part that was read.
        class_names: names by class_id.
        images: those that are used.
        listed: number of images that the data set names.
        problems: found so far.
        converted: images that are not 8-bit colour, and what they are.
    """
    class_id = np.concatenate([np.zeros(0, np.int64), *(image.class_id for image in images)])
    per_class = np.bincount(class_id, minlength=len(class_names)).tolist()
    empty = [name for name, count in zip(class_names, per_class, strict=True) if count == 0]
    warnings = [Problem(Kind.EMPTY_CLASS, path, f"no box of {name!r} in {split}") for name in empty]
    return Report(
        path=path,
        split=split,
        class_names=class_names,
        problems=(*problems, *warnings),
        listed=listed,
        images=len(images),
        background=sum(1 for image in images if not len(image.class_id)),
        boxes=len(class_id),
        ignored=sum(len(image.ignore_class_id) for image in images),
        boxes_per_class=tuple(per_class),
        box_sizes=_box_sizes(images) if len(class_id) else None,
        converted=tuple(converted),
    )


def _box_sizes(images: Sequence[TrainingImage]) -> BoxSizes:
    xyxy = np.concatenate([image.xyxy for image in images]).astype(np.float64)
    image_side = np.concatenate([np.full(len(image.xyxy), np.sqrt(np.prod(image.shape_hw))) for image in images])
    side = np.sqrt((xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1))
    return BoxSizes(
        px=_quartiles(side),
        relative=_quartiles(side / image_side),
        small=int((side < 32).sum()),
        medium=int(((side >= 32) & (side <= 96)).sum()),
        large=int((side > 96).sum()),
    )


def _quartiles(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float, float, float, float]:
    lowest, low, middle, high, highest = (float(v) for v in np.quantile(values, (0, 0.25, 0.5, 0.75, 1)))
    return lowest, low, middle, high, highest


def _histogram(names: Sequence[str], counts: Sequence[int]) -> list[str]:
    width, most = max(map(len, names)), max([1, *counts])
    return [
        f"  {name:<{width}} {count:>8} {'#' * round(40 * count / most)}".rstrip()
        for name, count in zip(names, counts, strict=True)
    ]


def _size_rows(sizes: BoxSizes) -> list[str]:
    px, part = [f"{v:.0f}" for v in sizes.px], [f"{v:.3f}" for v in sizes.relative]
    return [
        f"box sides (root of the area), px: smallest {px[0]}, quarter {px[1]}, median {px[2]}, "
        f"three quarters {px[3]}, largest {px[4]}",
        f"  of the image's side: {part[0]}, {part[1]}, {part[2]}, {part[3]}, {part[4]}",
        f"  small (below 32 px) {sizes.small}, medium {sizes.medium}, large (above 96 px) {sizes.large}",
    ]
