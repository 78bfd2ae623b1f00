"""COCO's detection format, with the fields by which video tools find tracks again.

`annotations/instances_default.json` has a list `videos`; every image has `video_id` and `frame_id` (from 0), every
annotation `video_id` and `track_id`, which is unique in the whole file (`video_track_id` is its number in the video).
`score` is the detector's confidence, and `predicted` 1 where the tracker only assumed the place. Categories count
from 1.

The `file_name` of frame 12 of a video is `<video>/frame_000012.jpg`. With pictures, only the frames that were taken are
listed, and they lie at that place below `images/default/`. Without, every frame is listed, and there is no such file:
the name, like `video_id` and `frame_id`, says where the picture is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from pipeline.archive.every import Every
from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.formats.pictures import pictured, write_picture
from pipeline.archive.record import AnnotatedVideo, FrameTracks
from pipeline.core.boxes import xyxy_to_ltwh

Record = Mapping[str, Any]


def write_coco(videos: Sequence[AnnotatedVideo], folder: Path, options: FormatOptions) -> None:
    """Write `annotations/instances_default.json`, and the pictures if asked for.

    Raises:
        SourceError, DatasetError: see `pictured`.
        OSError: the system refused.
    """
    every = None if options.images is None else Every.parse(options.images)
    boxes = folder / "boxes.part"
    (folder / "annotations").mkdir()
    # Datumaro does not read the labels where there is no folder for pictures, empty or not.
    (folder / "images" / "default").mkdir(parents=True)
    with (folder / "annotations" / "instances_default.json").open("w", encoding="utf-8", newline="\n") as file:
        head = {"description": "written by tracklight"}
        file.write(f'{{\n"info": {json.dumps(head)},\n"licenses": [],\n')
        _write_list(file, "categories", _categories(videos[0].class_names))
        _write_list(file, "videos", (_video(number, video) for number, video in enumerate(videos, 1)))
        # Two lists of one pass over the videos: the second waits in a file of its own.
        with boxes.open("w+", encoding="utf-8", newline="\n") as waiting:
            _write_list(file, "images", _images(videos, every, folder / "images" / "default", waiting))
            file.write('"annotations": [')
            waiting.seek(0)
            shutil.copyfileobj(waiting, file)
        file.write("\n]\n}\n")
    boxes.unlink()


def _write_list(file: TextIO, key: str, records: Iterable[Record]) -> None:
    file.write(f'"{key}": [')
    for number, record in enumerate(records):
        file.write(_item(number, record))
    file.write("\n],\n")


def _item(number: int, record: Record) -> str:
    return f"{',' if number else ''}\n{json.dumps(record, ensure_ascii=False, separators=(',', ':'))}"


def _categories(class_names: Sequence[str]) -> Iterator[Record]:
    for number, name in enumerate(class_names, 1):
        yield {"id": number, "name": name}


def _video(number: int, video: AnnotatedVideo) -> Record:
    facts = video.facts
    return {
        "id": number,
        "name": facts.name,
        "width": facts.width_px,
        "height": facts.height_px,
        "fps": round(facts.fps, 6),
        "length": facts.n_frames,
    }


def _images(videos: Sequence[AnnotatedVideo], every: Every | None, pictures: Path, boxes: TextIO) -> Iterator[Record]:
    """The image of every frame; its annotations are written to `boxes`."""
    image_id = box_id = tracks_before = 0
    for video_id, video in enumerate(videos, 1):
        facts = video.facts
        highest = 0
        for one, file_name in _frames(video, every, pictures):
            image_id += 1
            yield {
                "id": image_id,
                "file_name": file_name,
                "width": facts.width_px,
                "height": facts.height_px,
                "video_id": video_id,
                "frame_id": one.frame,
            }
            for record in _annotations(one, image_id, video_id, tracks_before):
                boxes.write(_item(box_id, {"id": box_id + 1, **record}))
                box_id += 1
                highest = max(highest, record["video_track_id"])
        tracks_before += highest


def _frames(video: AnnotatedVideo, every: Every | None, pictures: Path) -> Iterator[tuple[FrameTracks, str]]:
    """The frames that are listed, with their file names; their pictures are written."""
    if every is None:
        for one in video.frames():
            yield one, _file_name(video, one)
        return
    for one, image in pictured(video, every):
        file_name = _file_name(video, one)
        write_picture(pictures / file_name, image)
        yield one, file_name


def _file_name(video: AnnotatedVideo, one: FrameTracks) -> str:
    return f"{video.facts.name}/frame_{one.frame:06d}.jpg"


def _annotations(one: FrameTracks, image_id: int, video_id: int, tracks_before: int) -> Iterator[Record]:
    tracks = one.tracks
    rows = zip(
        xyxy_to_ltwh(tracks.xyxy.astype(float)).tolist(),
        tracks.confidence.tolist(),
        tracks.class_id.tolist(),
        tracks.track_id.tolist(),
        tracks.detection_row.tolist(),
        strict=True,
    )
    for ltwh, confidence, class_id, track_id, row in rows:
        bbox = [round(value, 2) for value in ltwh]
        record = {
            "image_id": image_id,
            "category_id": class_id + 1,
            "bbox": bbox,
            "area": round(bbox[2] * bbox[3], 2),
            "iscrowd": 0,
            "segmentation": [],
            "video_id": video_id,
            "track_id": tracks_before + track_id,
            "video_track_id": track_id,
            "score": round(confidence, 4),
        }
        yield record if row >= 0 else {**record, "predicted": 1}
