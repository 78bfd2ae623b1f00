"""Reads COCO's detection format, with and without the fields that lead to videos.

An image with `video_id` and `frame_id` that is not there as a picture is a frame of that video. So is one that is
called `frame_000012`, where the file is called `instances_<video>.json` or `<video>.json`. Pictures may lie in
images/<split>/ of `instances_<split>.json`. Annotations with `iscrowd` or `ignore` have no box of one object: they are
left out and counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.archive.corrected.checks import (
    MAX_FRAME,
    ltwh_box,
    read_json,
    records,
    safe_name,
    size_wh,
    whole,
)
from pipeline.archive.corrected.frame_names import frame_number, is_video, lies_beside
from pipeline.archive.corrected.labels import Annotations, FramesOfVideo, LabelBox, PictureLabels
from pipeline.core.errors import DatasetError

_PREFIX = "instances_"


def is_coco(document: Any) -> bool:
    """Whether a JSON document looks like it."""
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= document.keys()


def read_coco(path: Path, root: Path, found: Annotations) -> None:
    """Add the labels of one JSON file. Raises DatasetError."""
    document = read_json(path)
    labels = {_key(one, "id", path): _text(one, "name", path) for one in records(document, "categories", path)}
    boxes: dict[Any, list[LabelBox]] = {_key(image, "id", path): [] for image in records(document, "images", path)}
    for count, one in enumerate(records(document, "annotations", path), start=1):
        where = f"{path}: annotation {one.get('id', count)}"
        image_id, category = one.get("image_id"), one.get("category_id")
        if not isinstance(image_id, int | str) or image_id not in boxes:
            raise DatasetError(f"{where}: wanted an image_id of the images, found {str(image_id)[:40]}")
        if not isinstance(category, int | str) or category not in labels:
            raise DatasetError(f"{where}: wanted a category_id of the categories, found {str(category)[:40]}")
        if one.get("iscrowd") or one.get("ignore"):
            found.left_out["crowd"] += 1
            continue
        attributes = one.get("attributes")
        hidden = one.get("predicted") or (isinstance(attributes, dict) and attributes.get("occluded"))
        boxes[image_id].append(LabelBox(labels[category], ltwh_box(one.get("bbox"), where), bool(hidden)))
    found.files.append(path)
    found.declared.update(dict.fromkeys(labels.values()))
    _hand_over(document, path, boxes, found)


def _hand_over(document: Any, path: Path, boxes: dict[Any, list[LabelBox]], found: Annotations) -> None:
    videos = {}
    if "videos" in document:
        videos = {_key(one, "id", path): _text(one, "name", path) for one in records(document, "videos", path)}
    frames: dict[str, dict[int, list[LabelBox]]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for image in records(document, "images", path):
        where = f"{path}: image {image['id']}"
        name = _text(image, "file_name", path)
        size = size_wh(image.get("width"), image.get("height"), where)
        place = _in_video(image, name, path, videos, where)
        if place is None:
            found.pictures.append(PictureLabels(_picture_names(name, path, where), path, size, boxes[image["id"]]))
        else:
            frames.setdefault(place[0], {})[place[1]] = boxes[image["id"]]
            sizes[place[0]] = size
    for video, of_video in frames.items():
        found.videos.append(FramesOfVideo([video], path, sizes[video], of_video, frozenset(of_video)))


def _in_video(
    image: dict[str, Any], name: str, path: Path, videos: dict[int | str, str], where: str
) -> tuple[str, int] | None:
    """The video and the frame that an image is, or None where it is a picture."""
    names = _picture_names(name, path, where)
    video_id = image.get("video_id")
    if isinstance(video_id, int | str) and video_id in videos and "frame_id" in image:
        video = videos[video_id]
        number: int | None = whole(image["frame_id"], "frame_id", where, most=MAX_FRAME)
    else:
        video, number = path.stem.removeprefix(_PREFIX), frame_number(name)
    if number is None or not is_video(video) or lies_beside(path, names):
        return None
    return safe_name(video, where), number


def _picture_names(name: str, path: Path, where: str) -> list[str]:
    plain = safe_name(name, where)
    return [plain, f"{path.stem.removeprefix(_PREFIX)}/{plain}"]


def _key(record: dict[str, Any], key: str, path: Path) -> int | str:
    value = record.get(key)
    if not isinstance(value, int | str):
        raise DatasetError(f"{path}: wanted an {key!r} in every record, found {str(record)[:60]}")
    return value


def _text(record: dict[str, Any], key: str, path: Path) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise DatasetError(f"{path}: wanted a text {key!r} in every record, found {str(record)[:60]}")
    return value
