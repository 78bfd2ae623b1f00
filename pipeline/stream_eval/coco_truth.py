"""Ground truth in COCO's format with the fields that make pictures a video.

Two layouts. Argoverse-HD: images have `sid` and `fid` (sequence, and frame from 0), `sequences` and `seq_dirs` name the
sequences and their folders, annotations have `track`. CocoVID, as `annotate` writes it: images have `video_id` and
`frame_id` (from 0), `videos` name them and tell their rate, annotations have `track_id`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import DatasetError
from pipeline.evaluation.coco_dataset import load_annotations, records_of
from pipeline.stream_eval.frame_rate import frame_rate, rate_text, rates_agree
from pipeline.stream_eval.labelled import Labelled
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.stream import Stream
from pipeline.streaming.truth import Truth

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a file says which frame of which sequence a picture is."""

    sequence: str
    frame: str
    track: str


_ARGOVERSE = _Layout("sid", "fid", "track")
_COCO_VID = _Layout("video_id", "frame_id", "track_id")


@dataclass(frozen=True, slots=True)
class _Named:
    """What a file says of a sequence."""

    name: str
    folder: str
    fps: Fraction | None


def read_coco_truth(path: Path, fps: Fraction | None = None) -> list[Labelled]:
    """Every sequence of the file, in its order.

    Args:
        path: the .json file.
        fps: frame rate; needed where the file says none.

    Raises:
        DatasetError: not such a file, frames that are missing, twice or of different sizes, a label that cannot be
            used, or another rate than `fps`.
    """
    document = load_annotations(path)
    categories = sorted(records_of(document, "categories", ("id", "name"), path), key=lambda one: int(one["id"]))
    class_of = {int(one["id"]): number for number, one in enumerate(categories)}
    images = records_of(document, "images", ("id", "width", "height"), path)
    layout = _layout(images, path)
    labels = _labels_by_image(document, class_of, {int(image["id"]) for image in images}, path)
    named = _sequences(document, layout, path)
    by_sequence: dict[int, list[Record]] = defaultdict(list)
    for image in images:
        by_sequence[int(image[layout.sequence])].append(image)
    nameless = by_sequence.keys() - named.keys()
    if nameless:
        raise DatasetError(f"{path}: wanted every image in a named sequence, found the number {min(nameless)}")
    class_names = tuple(str(one["name"]) for one in categories)
    found = []
    for number, frames in by_sequence.items():
        stream = _stream(named[number], frames, layout, fps, path)
        of_frame = {int(image[layout.frame]): labels[int(image["id"])] for image in frames}
        rows = [_rows(of_frame[frame], class_of, layout) for frame in range(stream.n_frames)]
        boxes, crowd, area = zip(*rows, strict=True)
        folder = path.parent / named[number].folder
        found.append(Labelled(Truth(stream, boxes, crowd, area, class_names), path, folder))
    return found


def _layout(images: list[Record], path: Path) -> _Layout:
    for layout in (_ARGOVERSE, _COCO_VID):
        if images and all(layout.sequence in image and layout.frame in image for image in images):
            return layout
    raise DatasetError(
        f"{path}: wanted COCO annotations of video (every image with sid and fid, or video_id and frame_id), "
        f"found {'images without them' if images else 'no image'}"
    )


def _sequences(document: Record, layout: _Layout, path: Path) -> dict[int, _Named]:
    """What the file says of its sequences, by number."""
    if layout is _COCO_VID:
        videos = records_of(document, "videos", ("id", "name"), path)
        return {
            int(one["id"]): _Named(str(one["name"]), str(one["name"]), frame_rate(one["fps"]) if "fps" in one else None)
            for one in videos
        }
    names, folders = document.get("sequences"), document.get("seq_dirs", document.get("sequences"))
    if not isinstance(names, list) or not isinstance(folders, list) or len(names) != len(folders):
        raise DatasetError(f"{path}: wanted the lists sequences and seq_dirs, of one length, found others")
    rate = frame_rate(document["fps"]) if "fps" in document else None
    rows = enumerate(zip(names, folders, strict=True))
    return {number: _Named(str(name), str(folder), rate) for number, (name, folder) in rows}


def _stream(named: _Named, images: list[Record], layout: _Layout, fps: Fraction | None, path: Path) -> Stream:
    numbers = sorted(int(image[layout.frame]) for image in images)
    for expected, found in enumerate(numbers):
        if expected != found:
            what = f"no frame {expected}" if found > expected else f"frame {found} twice"
            raise DatasetError(f"{path}: {named.name}: wanted frames 0 to {numbers[-1]}, each once, found {what}")
    sizes = {(int(image["width"]), int(image["height"])) for image in images}
    if len(sizes) > 1:
        raise DatasetError(f"{path}: {named.name}: wanted pictures of one size, found {sorted(sizes)[:3]}")
    if fps is None and named.fps is None:
        raise DatasetError(f"{path}: {named.name}: wanted a frame rate, found none in the file; give it with --fps")
    if fps is not None and named.fps is not None and not rates_agree(fps, named.fps):
        raise DatasetError(
            f"{path}: {named.name}: wanted the rate that --fps says, {rate_text(fps)}, found {rate_text(named.fps)}"
        )
    rate = fps or named.fps or Fraction(0)
    width_px, height_px = sizes.pop()
    return Stream(named.name, rate, len(images), width_px, height_px)


def _labels_by_image(
    document: Record, class_of: dict[int, int], image_ids: set[int], path: Path
) -> dict[int, list[Record]]:
    labels: dict[int, list[Record]] = defaultdict(list)
    for label in records_of(document, "annotations", ("image_id", "category_id", "bbox"), path):
        where = f"{path}: annotation {label.get('id', '?')}"
        if label["category_id"] not in class_of:
            raise DatasetError(f"{where}: its category {label['category_id']} is not among the categories")
        if label["image_id"] not in image_ids:
            raise DatasetError(f"{where}: its image {label['image_id']} is not among the images")
        bbox = label["bbox"]
        if not isinstance(bbox, list) or len(bbox) != 4 or not np.isfinite(np.array(bbox, np.float64)).all():
            raise DatasetError(f"{where}: wanted a bbox of four numbers (left, top, width, height), found {bbox}")
        labels[int(label["image_id"])].append(label)
    return labels


def _rows(labels: list[Record], class_of: dict[int, int], layout: _Layout) -> tuple[Boxes, Any, Any]:
    """Boxes, crowd flags and areas of one frame."""
    n = len(labels)
    boxes = Boxes(
        ltwh=np.array([label["bbox"] for label in labels], np.float64).reshape(n, 4),
        score=np.ones(n),
        class_id=np.array([class_of[label["category_id"]] for label in labels], np.int64),
        track_id=np.array([label.get(layout.track, -1) for label in labels], np.int64),
    )
    crowd = [bool(label.get("iscrowd", 0) or label.get("ignore", 0)) for label in labels]
    area = [label.get("area", label["bbox"][2] * label["bbox"][3]) for label in labels]
    return boxes, np.array(crowd, np.bool_), np.array(area, np.float64)
