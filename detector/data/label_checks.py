"""Holds the labels of one image against the image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from detector.data.raw_labels import RawBox, RawLabels
from detector.data.report import Kind, Problem
from detector.data.training_set import Polygons, TrainingImage

_ROUNDING_PX = 1.0
"""A box may reach this far over the edge without a word: decimals, and pixels counted from 1."""

_SMALLEST_PX = 0.01
"""A side within the image that is shorter is none: float32 and the decimals of label files could make it 0."""


def checked(
    path: Path, shape_hw: tuple[int, int], raw: RawLabels, file: Path
) -> tuple[TrainingImage | None, list[Problem]]:
    """What can be trained on, and what cannot.

    Args:
        path: the image file.
        shape_hw: height and width of the decoded image, px.
        raw: its labels.
        file: where they stand, for the problems.

    Returns:
        the image with its boxes within it, or None if it cannot be used; and all problems, those of `raw` first.
    """
    problems = list(raw.problems)
    if not raw.usable:
        return None, problems
    if raw.recorded_hw is not None and raw.recorded_hw != shape_hw:
        problems.append(Problem(Kind.SIZE_MISMATCH, file, _size_text(path, raw.recorded_hw, shape_hw)))
        return None, problems
    kept: list[RawBox] = []
    seen: set[tuple[object, ...]] = set()
    for box in raw.boxes:
        problem = _fault(box, shape_hw, file)
        if problem is None:
            key = (box.class_id, box.ignore, *(round(value, 2) for value in box.xyxy))
            if key in seen:
                problem = Problem(Kind.DUPLICATE_BOX, file, f"{_name(box)}the same box again; left out", box.line)
            seen.add(key)
        if problem is None:
            kept.append(box)
            over = _overreach(box, shape_hw)
            if over > _ROUNDING_PX:
                text = f"{_name(box)}reaches {over:.0f} px over the edge of {path.name}"
                problem = Problem(Kind.CLIPPED, file, text, box.line)
        if problem is not None:
            problems.append(problem)
    objects = [box for box in kept if not box.ignore]
    ignored = [box for box in kept if box.ignore]
    xyxy, ignore_xyxy = _corners(objects, shape_hw), _corners(ignored, shape_hw)
    image = TrainingImage(
        path=path,
        shape_hw=shape_hw,
        xyxy=xyxy,
        class_id=_classes(objects),
        ignore_xyxy=ignore_xyxy,
        ignore_class_id=_classes(ignored),
        unlabelled=raw.unlabelled,
        outlines=_outlines(objects, shape_hw),
        area=_areas(objects, xyxy),
    )
    return image, problems


def _fault(box: RawBox, shape_hw: tuple[int, int], file: Path) -> Problem | None:
    left, top, right, bottom = box.xyxy
    height, width = shape_hw
    if right > left and bottom > top and (right <= 0 or bottom <= 0 or left >= width or top >= height):
        found = f"{left:.0f},{top:.0f} to {right:.0f},{bottom:.0f} px in an image of {width} x {height}"
        return Problem(Kind.OUTSIDE, file, f"{_name(box)}{found}; left out", box.line)
    seen_width, seen_height = min(right, width) - max(left, 0), min(bottom, height) - max(top, 0)
    if min(seen_width, seen_height) < _SMALLEST_PX:
        return Problem(Kind.NO_AREA, file, f"{_name(box)}{right - left:g} x {bottom - top:g} px; left out", box.line)
    return None


def _name(box: RawBox) -> str:
    return f"{box.item}: " if box.item else ""


def _overreach(box: RawBox, shape_hw: tuple[int, int]) -> float:
    left, top, right, bottom = box.xyxy
    return max(-left, -top, right - shape_hw[1], bottom - shape_hw[0])


def _corners(boxes: list[RawBox], shape_hw: tuple[int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    xyxy = np.array([box.xyxy for box in boxes], np.float64).reshape(-1, 4)
    height, width = shape_hw
    return np.clip(xyxy, 0, (width, height, width, height)).astype(np.float32)


def _classes(boxes: Iterable[RawBox]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([box.class_id for box in boxes], np.int64)


def _outlines(boxes: list[RawBox], shape_hw: tuple[int, int]) -> tuple[Polygons, ...]:
    if not any(box.outline for box in boxes):
        return ()
    limit = (shape_hw[1], shape_hw[0])
    return tuple(tuple(np.clip(ring, 0, limit).astype(np.float32) for ring in box.outline) for box in boxes)


def _areas(
    boxes: list[RawBox], xyxy: np.ndarray[tuple[int, int], np.dtype[np.float32]]
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Areas of the outlines, no larger than the box after clipping; none if no label tells one."""
    if not any(box.area is not None for box in boxes):
        return np.zeros(0, np.float32)
    whole = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    told = np.array([np.inf if box.area is None else box.area for box in boxes])
    return np.minimum(told, whole).astype(np.float32)


def _size_text(path: Path, recorded: tuple[int, int], found: tuple[int, int]) -> str:
    text = f"wanted {path.name} of {recorded[1]} x {recorded[0]} px, found {found[1]} x {found[0]}; left out"
    if recorded == found[::-1]:
        text += " (turned by its EXIF mark? label it as it is shown)"
    return text
