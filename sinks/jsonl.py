"""JSON lines: one object per frame and source."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SinkError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.core.timeline import Timeline
from sinks.line_file import LineFile
from sinks.objects import object_records

_LATENCIES = (
    ("queue", "captured", "detect_begin"),
    ("detect", "detect_begin", "detect_end"),
    ("track", "detect_end", "track_end"),
    ("total", "captured", "emitted"),
)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class JsonlConfig:
    """Where the lines go."""

    path: Path = Field(description="file to write (.jsonl)")
    exist_ok: bool = Field(default=False, description="overwrite the file if it exists")
    timing: bool = Field(
        default=True, description="write when each frame was captured and emitted; without, equal runs give equal files"
    )


class JsonlSink:
    """One line per frame of every source, on disk as soon as the frame is done.

    Coordinates have 2 decimals (px), confidence 4, media time 6 (s) and latencies 3 (ms). `track_id` is null in a run
    without a tracker, `pts_s` where the source has no media time. An object whose place the tracker only assumes has
    `"predicted": true`. Where tracks were moved to make up for latency, `boxes_at_ns` says to when, and `std_px` of an
    object how sure its place is.

    Args:
        config: the file.
        class_names: names by class_id.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True
    compensated = "data"

    def __init__(self, config: JsonlConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._class_names = class_names
        self._file: LineFile | None = None

    def open(self, info: StreamInfo) -> None:
        """Create the file at the first source. Raises SinkError."""
        if self._file is None:
            self._file = LineFile(self._config.path, exist_ok=self._config.exist_ok)

    def write(self, result: FrameResult) -> None:
        """Append the frame's line. Raises SinkError."""
        if self._file is None:
            raise SinkError(f"{self._config.path}: wanted open() before write(), found the sink not open")
        self._append(self._file, self._record(result))

    def end_source(self, closing: Closing) -> None:
        """Append what analytics say at the source's end: a line with `end_s` instead of `frame`. Raises SinkError."""
        if self._file is None:
            raise SinkError(f"{self._config.path}: wanted open() before end_source(), found the sink not open")
        record = {
            "source": closing.source_id,
            "end_s": round(closing.end_s, 6),
            "events": [event.to_json() for event in closing.events],
            "summary": closing.summary,
        }
        self._append(self._file, record)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()

    @staticmethod
    def _append(file: LineFile, record: dict[str, object]) -> None:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=_plain, allow_nan=False)
        file.append(line + "\n")

    def _record(self, result: FrameResult) -> dict[str, object]:
        frame = result.frame
        return {
            "source": frame.source_id,
            "frame": frame.index,
            "pts_s": None if frame.pts_s is None else round(frame.pts_s, 6),
            **(_timing(result) if self._config.timing else {}),
            **({} if result.boxes_at_ns is None else {"boxes_at_ns": result.boxes_at_ns}),
            "dropped_before": result.dropped_before,
            "objects": object_records(result, self._class_names),
            "events": [event.to_json() for event in result.events],
        }


def _timing(result: FrameResult) -> dict[str, object]:
    return {
        "captured_ns": result.frame.captured_ns,
        "emitted_ns": result.timeline.emitted,
        "latency_ms": _latencies(result.timeline),
    }


def _latencies(timeline: Timeline) -> dict[str, float | None]:
    spans = {name: timeline.between_ms(first, last) for name, first, last in _LATENCIES}
    return {name: None if span is None else round(span, 3) for name, span in spans.items()}


def _plain(value: object) -> object:
    """NumPy scalars and arrays in event records as plain numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"wanted JSON-ready event records, found a {type(value).__name__}")
