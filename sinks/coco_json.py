"""COCO detection results, as `pycocotools` and other evaluators load them."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.boxes import xyxy_to_ltwh
from pipeline.core.errors import SinkError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.line_file import LineFile
from sinks.objects import shown_objects


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CocoJsonConfig:
    """Where the results go."""

    path: Path = Field(description="file to write (.json)")
    exist_ok: bool = Field(default=False, description="overwrite the file if it exists")


class CocoJsonSink:
    """One list of `{"image_id","category_id","bbox":[left,top,width,height],"score","track_id"}`.

    `image_id` is the frame's index, counted from 0 (of a folder of images: the number of the image in it).
    `category_id` is the class_id, counted from 0: the model knows no other numbers. `track_id` is left out in a run
    without a tracker. The list is closed after every frame, so the file is valid JSON at any moment.

    Args:
        config: the file.
        class_names: not used; every sink is made the same way.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = False

    def __init__(self, config: CocoJsonConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._file: LineFile | None = None
        self._separator = ""

    def open(self, info: StreamInfo) -> None:
        """Create the file with an empty list. Raises SinkError."""
        if self._file is None:
            self._file = LineFile(self._config.path, exist_ok=self._config.exist_ok, tail="\n]\n")
            self._file.append("[")

    def write(self, result: FrameResult) -> None:
        """Append the frame's objects. Raises SinkError."""
        if self._file is None:
            raise SinkError(f"{self._config.path}: wanted open() before write(), found the sink not open")
        lines = [json.dumps(record, separators=(",", ":")) for record in _records(result)]
        if lines:
            self._file.append(self._separator + "\n" + ",\n".join(lines))
            self._separator = ","

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()


def _records(result: FrameResult) -> list[dict[str, object]]:
    shown = shown_objects(result)
    rows = zip(shown.class_id.tolist(), xyxy_to_ltwh(shown.xyxy).tolist(), shown.confidence.tolist(), strict=True)
    records: list[dict[str, object]] = [
        {
            "image_id": result.frame.index,
            "category_id": class_id,
            "bbox": [round(value, 2) for value in ltwh],
            "score": round(confidence, 4),
        }
        for class_id, ltwh, confidence in rows
    ]
    if shown.track_id is not None:
        for record, track_id in zip(records, shown.track_id.tolist(), strict=True):
            record["track_id"] = track_id
    return records
