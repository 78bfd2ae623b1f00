"""FiftyOne's layout for labelled videos (FiftyOneVideoLabelsDataset): manifest.json, data/ and labels/.

`data/` holds links to the videos, not copies. A label file is of ETA's VideoLabels form: frames by number, from 1, and
in each its objects with a box in fractions of the frame, `index` = the track's number and `confidence`. `filename` is
the video's name in the archive. Frames without objects are there too. An object whose place was only assumed has the
attribute `predicted`.

Source: FiftyOne's documentation, "Importing data", FiftyOneVideoLabelsDataset; ETA's "VideoLabels Developer's Guide".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.archive.formats.names import flat_names
from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.record import AnnotatedVideo, FrameTracks, VideoFacts
from pipeline.core.whole_file import write_whole_json

_PREDICTED = {"attrs": [{"type": "eta.core.data.BooleanAttribute", "name": "predicted", "value": True}]}


def write_fiftyone(videos: Sequence[AnnotatedVideo], folder: Path, options: FormatOptions) -> None:
    """Write the manifest, links to the videos and their labels. Raises OSError."""
    (folder / "data").mkdir()
    (folder / "labels").mkdir()
    names = flat_names([video.facts.name for video in videos])
    for video, name in zip(videos, names, strict=True):
        (folder / "data" / name).symlink_to(video.facts.path.absolute())
        with (folder / "labels" / f"{name}.json").open("w", encoding="utf-8", newline="\n") as file:
            for text in _labels(video):
                file.write(text)
    index = [{"data": f"data/{name}", "labels": f"labels/{name}.json"} for name in names]
    head = {"type": "eta.core.datasets.LabeledVideoDataset", "description": "written by tracklight"}
    write_whole_json(folder / "manifest.json", {**head, "index": index})


def _labels(video: AnnotatedVideo) -> Iterator[str]:
    yield f'{{\n"filename": {json.dumps(video.facts.name, ensure_ascii=False)},\n"frames": {{'
    separator = "\n"
    for one in video.frames():
        number = one.frame + 1
        record = {"frame_number": number, "objects": {"objects": list(_objects(one, video))}}
        yield f'{separator}"{number}": {json.dumps(record, ensure_ascii=False, separators=(",", ":"))}'
        separator = ",\n"
    yield "\n}\n}\n"


def _objects(one: FrameTracks, video: AnnotatedVideo) -> Iterator[Mapping[str, Any]]:
    tracks, facts = one.tracks, video.facts
    rows = zip(
        tracks.xyxy.tolist(),
        tracks.confidence.tolist(),
        tracks.class_id.tolist(),
        tracks.track_id.tolist(),
        tracks.detection_row.tolist(),
        strict=True,
    )
    for (left, top, right, bottom), confidence, class_id, track_id, row in rows:
        yield {
            "label": video.class_names[class_id],
            "bounding_box": {
                "top_left": _point(left, top, facts),
                "bottom_right": _point(right, bottom, facts),
            },
            "confidence": round(confidence, 4),
            "index": track_id,
            **({} if row >= 0 else {"attrs": _PREDICTED}),
        }


def _point(x: float, y: float, facts: VideoFacts) -> Mapping[str, float]:
    return {"x": round(x / facts.width_px, 7), "y": round(y / facts.height_px, 7)}
