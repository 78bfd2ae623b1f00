"""Reads FiftyOne's FiftyOneVideoLabelsDataset: manifest.json, and for each video a file of ETA's VideoLabels form.

Only frames that are in the file are taken to be labelled: nobody can tell whether the others were looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.archive.corrected.checks import MAX_FRAME, number, read_json, records, safe_name, whole
from pipeline.archive.corrected.labels import Annotations, FramesOfVideo, LabelBox
from pipeline.core.errors import DatasetError

_TYPE = "LabeledVideoDataset"


def is_fiftyone(document: Any) -> bool:
    """Whether a JSON document looks like its manifest."""
    return isinstance(document, dict) and str(document.get("type", "")).endswith(_TYPE) and "index" in document


def read_fiftyone(path: Path, root: Path, found: Annotations) -> None:
    """Add the labels that a manifest lists. Raises DatasetError."""
    for one in records(read_json(path), "index", path):
        data = safe_name(str(one.get("data")), f"{path}: data")
        labels = path.parent / safe_name(str(one.get("labels")), f"{path}: labels")
        found.videos.append(_video(labels, data, found))
        found.files.append(labels)


def _video(path: Path, data: str, found: Annotations) -> FramesOfVideo:
    document = read_json(path)
    frames = document.get("frames", {}) if isinstance(document, dict) else None
    if not isinstance(frames, dict):
        raise DatasetError(f"{path}: frames: wanted frames by their number, found {type(frames).__name__}")
    boxes: dict[int, list[LabelBox]] = {}
    for key, record in frames.items():
        where = f"{path}: frame {key[:20]}"
        frame = whole(key, "number", where, most=MAX_FRAME)
        if frame < 1 or not isinstance(record, dict):
            raise DatasetError(f"{where}: wanted a record, numbered from 1; found {str(record)[:40]}")
        objects = record.get("objects")
        listed = records(objects, "objects", Path(where)) if objects else []
        boxes[frame - 1] = [_box(one, found, where) for one in listed]
    names = [safe_name(document["filename"], f"{path}: filename")] if document.get("filename") else []
    return FramesOfVideo(list(dict.fromkeys([*names, Path(data).name])), path, None, boxes, frozenset(boxes))


def _box(one: dict[str, Any], found: Annotations, where: str) -> LabelBox:
    label = one.get("label")
    if not isinstance(label, str) or not label:
        raise DatasetError(f"{where}: wanted a label of every object, found {str(label)[:40]}")
    # The format declares no labels: those that stand in it are those that there are.
    found.declared.setdefault(label)
    try:
        corners = [one["bounding_box"][corner][axis] for corner in ("top_left", "bottom_right") for axis in "xy"]
    except (KeyError, TypeError):
        raise DatasetError(f"{where}: wanted a bounding_box with top_left and bottom_right, found none") from None
    left, top, right, bottom = (number(value, "bounding_box", where) for value in corners)
    return LabelBox(label, (left, top, right, bottom), _is_predicted(one), relative=True)


def _is_predicted(one: dict[str, Any]) -> bool:
    attributes = one.get("attrs")
    listed = attributes.get("attrs") if isinstance(attributes, dict) else None
    return isinstance(listed, list) and any(
        isinstance(each, dict) and each.get("name") in ("predicted", "occluded") and each.get("value") is True
        for each in listed
    )
