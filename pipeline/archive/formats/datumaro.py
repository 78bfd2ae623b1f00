"""Datumaro's layout: annotations/<subset>.json, and images/<subset>/ where pictures are taken. Each video is a subset.

An item is a frame, `frame_000012`; its number from 0 and its video stand in `attr`. CVAT finds frames by id or number.
Without pictures `image.path` names a file that is not there, and its size. Attributes of a box: `track_id`, `occluded`
where the tracker only assumed its place, and `score`.

Source: Datumaro's documentation, "Datumaro Format", version 1.0, and CVAT's, "Datumaro".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.archive.every import Every
from pipeline.archive.formats.names import flat_names
from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.formats.pictures import pictured, write_picture
from pipeline.archive.record import AnnotatedVideo, FrameTracks, VideoFacts
from pipeline.core.boxes import xyxy_to_ltwh


def write_datumaro(videos: Sequence[AnnotatedVideo], folder: Path, options: FormatOptions) -> None:
    """Write one annotation file per video, and the pictures if asked for.

    Raises:
        SourceError, DatasetError: see `pictured`.
        OSError: the system refused.
    """
    every = None if options.images is None else Every.parse(options.images)
    (folder / "annotations").mkdir()
    subsets = flat_names([video.facts.name for video in videos])
    for video, subset in zip(videos, subsets, strict=True):
        with (folder / "annotations" / f"{subset}.json").open("w", encoding="utf-8", newline="\n") as file:
            # Datumaro wants the same infos in all subsets, so nothing there can be of the video.
            file.write('{\n"dm_format_version": "1.0",\n"infos": {"author": "tracklight"},\n')
            file.write(f'"categories": {json.dumps(_categories(video.class_names), ensure_ascii=False)},\n"items": [')
            separator = "\n"
            for one in _frames(video, every, folder / "images" / subset):
                item = json.dumps(_item(one, video.facts), ensure_ascii=False, separators=(",", ":"))
                file.write(f"{separator}{item}")
                separator = ",\n"
            file.write("\n]\n}\n")


def _frames(video: AnnotatedVideo, every: Every | None, pictures: Path) -> Iterator[FrameTracks]:
    if every is None:
        yield from video.frames()
        return
    for one, image in pictured(video, every):
        write_picture(pictures / f"{_item_id(one)}.jpg", image)
        yield one


def _item_id(one: FrameTracks) -> str:
    return f"frame_{one.frame:06d}"


def _categories(class_names: Sequence[str]) -> Mapping[str, Any]:
    labels = [{"name": name, "parent": "", "attributes": []} for name in class_names]
    return {"label": {"labels": labels, "attributes": ["occluded", "score", "track_id"]}}


def _item(one: FrameTracks, facts: VideoFacts) -> Mapping[str, Any]:
    tracks = one.tracks
    rows = zip(
        xyxy_to_ltwh(tracks.xyxy.astype(float)).tolist(),
        tracks.confidence.tolist(),
        tracks.class_id.tolist(),
        tracks.track_id.tolist(),
        tracks.detection_row.tolist(),
        strict=True,
    )
    annotations = [
        {
            "id": number,
            "type": "bbox",
            "attributes": {"track_id": track_id, "occluded": row < 0, "score": round(confidence, 4)},
            "group": 0,
            "label_id": class_id,
            "z_order": 0,
            "bbox": [round(value, 2) for value in ltwh],
        }
        for number, (ltwh, confidence, class_id, track_id, row) in enumerate(rows)
    ]
    item_id = _item_id(one)
    image = {"path": f"{item_id}.jpg", "size": [facts.height_px, facts.width_px]}
    return {
        "id": item_id,
        "annotations": annotations,
        "attr": {"frame": one.frame, "video": facts.name},
        "image": image,
    }
