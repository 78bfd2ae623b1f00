"""A table with one row per object."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SinkError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.line_file import LineFile
from sinks.objects import class_name, shown_objects

COLUMNS = ("source", "frame", "pts_s", "track_id", "class_id", "class", "confidence", "x1", "y1", "x2", "y2")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CsvConfig:
    """Where the table goes."""

    path: Path = Field(description="file to write (.csv)")
    exist_ok: bool = Field(default=False, description="overwrite the file if it exists")


class CsvSink:
    """One row per object of every source, under a header. UTF-8, comma, decimal point.

    `track_id` is empty in a run without a tracker, `pts_s` where the source has no media time.

    Args:
        config: the file.
        class_names: names by class_id.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self, config: CsvConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._class_names = class_names
        self._file: LineFile | None = None

    def open(self, info: StreamInfo) -> None:
        """Create the file with its header at the first source. Raises SinkError."""
        if self._file is None:
            self._file = LineFile(self._config.path, exist_ok=self._config.exist_ok)
            self._file.append(_table([COLUMNS]))

    def write(self, result: FrameResult) -> None:
        """Append the frame's rows. Raises SinkError."""
        if self._file is None:
            raise SinkError(f"{self._config.path}: wanted open() before write(), found the sink not open")
        rows = self._rows(result)
        if rows:
            self._file.append(_table(rows))

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()

    def _rows(self, result: FrameResult) -> list[tuple[object, ...]]:
        frame, shown = result.frame, shown_objects(result)
        pts_s = "" if frame.pts_s is None else f"{frame.pts_s:.6f}"
        ids = [""] * len(shown) if shown.track_id is None else shown.track_id.tolist()
        objects = zip(ids, shown.class_id.tolist(), shown.confidence.tolist(), shown.xyxy.tolist(), strict=True)
        return [
            (
                *(frame.source_id, frame.index, pts_s, track_id, class_id, class_name(self._class_names, class_id)),
                f"{confidence:.4f}",
                *(f"{value:.2f}" for value in xyxy),
            )
            for track_id, class_id, confidence, xyxy in objects
        ]


def _table(rows: Sequence[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
