"""Reads Datumaro's annotations/<subset>.json.

An item with a picture below images/<subset>/ is that picture. Another one with a frame number (`attr.frame`, or
`frame_000012` as its id) is a frame of the video that `attr.video` or else the subset names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.archive.corrected.checks import MAX_FRAME, ltwh_box, number, read_json, records, safe_name, size_wh, whole
from pipeline.archive.corrected.frame_names import frame_number, is_video, lies_beside
from pipeline.archive.corrected.labels import Annotations, FramesOfVideo, LabelBox, PictureLabels
from pipeline.core.errors import DatasetError


def is_datumaro(document: Any) -> bool:
    """Whether a JSON document looks like it."""
    return isinstance(document, dict) and {"items", "categories"} <= document.keys()


def read_datumaro(path: Path, root: Path, found: Annotations) -> None:
    """Add the labels of one JSON file. Raises DatasetError."""
    document = read_json(path)
    labels = _labels(document, path)
    subset = path.stem if is_video(path.stem) else None
    frames: dict[str, dict[int, list[LabelBox]]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for item in records(document, "items", path):
        where = f"{path}: item {str(item.get('id'))[:40]!r}"
        boxes = _boxes(item, labels, found, where)
        image = item.get("image") or {}
        if not isinstance(image, dict):
            raise DatasetError(f"{where}: image: wanted a record, found {str(image)[:40]}")
        height_width = image.get("size") or [None, None]
        if not isinstance(height_width, list) or len(height_width) != 2:
            raise DatasetError(f"{where}: image.size: wanted height and width, found {str(height_width)[:40]}")
        size = size_wh(height_width[1], height_width[0], where)
        name = safe_name(str(image.get("path") or f"{item.get('id')}.jpg"), where)
        attributes = item["attr"] if isinstance(item.get("attr"), dict) else {}
        video, frame = attributes.get("video", subset), _frame(item, where)
        names = [f"{path.stem}/{name}", name]
        if video is not None and frame is not None and not lies_beside(path, names):
            video = safe_name(video, f"{where}: attr.video")
            frames.setdefault(video, {})[frame] = boxes
            sizes[video] = size
        else:
            found.pictures.append(PictureLabels(names, path, size, boxes))
    found.files.append(path)
    found.declared.update(dict.fromkeys(labels))
    for video, of_video in frames.items():
        found.videos.append(FramesOfVideo([video], path, sizes[video], of_video, frozenset(of_video)))


def _labels(document: Any, path: Path) -> list[str]:
    categories = document.get("categories")
    label = categories.get("label") if isinstance(categories, dict) else None
    names = [one.get("name") for one in records(label, "labels", path)]
    if not all(isinstance(name, str) for name in names):
        raise DatasetError(f"{path}: categories.label: wanted names, found {str(names)[:60]}")
    return [str(name) for name in names]


def _frame(item: dict[str, Any], where: str) -> int | None:
    attributes = item.get("attr")
    if isinstance(attributes, dict) and "frame" in attributes:
        return whole(attributes["frame"], "attr.frame", where, most=MAX_FRAME)
    return frame_number(str(item.get("id")))


def _boxes(item: dict[str, Any], labels: list[str], found: Annotations, where: str) -> list[LabelBox]:
    if not labels and item.get("annotations"):
        raise DatasetError(f"{where}: wanted labels in categories.label, found none")
    boxes = []
    for one in records(item, "annotations", Path(where)):
        kind = str(one.get("type"))
        if kind not in ("bbox", "polygon"):
            found.left_out[kind[:40]] += 1
            continue
        label_id = whole(one.get("label_id"), "label_id", where, most=max(len(labels) - 1, 0))
        xyxy = ltwh_box(one.get("bbox"), where) if kind == "bbox" else _around(one.get("points"), where)
        attributes = one.get("attributes")
        hidden = isinstance(attributes, dict) and attributes.get("occluded") is True
        boxes.append(LabelBox(labels[label_id], xyxy, hidden))
    return boxes


def _around(points: Any, where: str) -> tuple[float, float, float, float]:
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        raise DatasetError(f"{where}: points: wanted x, y of three points or more, found {str(points)[:60]}")
    xy = np.array([number(value, "points", where) for value in points]).reshape(-1, 2)
    (left, top), (right, bottom) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    return left, top, right, bottom
